"""Read an export as text: every row untouched, and every line that is no row.

Knows file formats; knows nothing of what the columns mean.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from pipelines.contacts.formats import CsvFormat, FixedWidthFormat, NdjsonFormat
from pipelines.contacts.source import Export
from pipelines.errors import ExportMissing, Problem, SourceInvalid, did_you_mean

# Our own columns in a raw table; an export cannot have one of these.
OWN = ("load_id", "loaded_at", "row_number", "malformed")

LONGEST_FIELD = 100  # lines; a note of more is no note


def file_hash(path: Path) -> str:
    """SHA-256 of the file: which load a row came with."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ExportMissing(
            f"the export {path.name} cannot be read",
            [Problem(str(path), error.strerror or type(error).__name__)],
            do="Put the file there, or name it: lettermill source load NAME --file PATH",
        ) from None


def read_rows(path: Path, export: Export) -> pl.DataFrame:
    """row_number, malformed (a line that is no row, else null), and the columns as text.

    Rows are in the order of the file and counted from 1, malformed ones too. Raises SourceInvalid
    when the file has not the columns the mappings name.
    """
    try:
        rows = _read(path, export)
    except (pa.ArrowInvalid, UnicodeDecodeError, pl.exceptions.PolarsError, LookupError) as error:
        said = str(error).splitlines()[0]
        raise SourceInvalid(
            f"{path.name} cannot be read as {export.format.kind}", [Problem("format", said)]
        ) from None
    if problems := missing_columns(export, rows.columns, path.name):
        what = f"the source names {len(problems)} columns that the export does not have"
        raise SourceInvalid(what, problems, do="Fix the names in the source file")
    ours = [name for name in rows.columns if name not in OWN]
    return rows.select("row_number", "malformed", *ours)


def _read(path: Path, export: Export) -> pl.DataFrame:
    match export.format:
        case CsvFormat() as dialect:
            return _read_csv(path, dialect)
        case FixedWidthFormat() as dialect:
            return _read_fixed(path, dialect)
        case NdjsonFormat():
            return _read_ndjson(path)
        case _:
            return _numbered(pl.read_parquet(path).select(pl.all().cast(pl.String)))


def _read_csv(path: Path, dialect: CsvFormat) -> pl.DataFrame:
    """Arrow's reader: the only one that keeps "" apart from nothing and tells every bad line."""
    names = _header(path, dialect)
    malformed: list[tuple[int, str]] = []

    def refuse(row: arrow_csv.InvalidRow) -> str:
        malformed.append((row.number - 1, row.text))
        return "skip"

    table = arrow_csv.read_csv(
        path,
        # One thread: only then does the reader know the number of a bad line.
        read_options=arrow_csv.ReadOptions(use_threads=False, encoding=dialect.encoding),
        parse_options=arrow_csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote,
            newlines_in_values=True,
            invalid_row_handler=refuse,
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    good = pl.DataFrame(pl.from_arrow(table))
    _closed_quotes(path, good)
    bad = pl.DataFrame(
        malformed, schema={"row_number": pl.Int64, "malformed": pl.String}, orient="row"
    )
    numbers = pl.int_range(1, good.height + bad.height + 1, eager=True, dtype=pl.Int64)
    taken = numbers.filter(~numbers.is_in(bad["row_number"].implode()))
    rows = good.with_columns(taken.alias("row_number"), pl.lit(None, pl.String).alias("malformed"))
    return pl.concat([rows, bad], how="diagonal").sort("row_number")


def _closed_quotes(path: Path, rows: pl.DataFrame) -> None:
    """Refuse a file in which one field swallows many lines: a quote that nobody closed."""
    texts = [name for name, kind in rows.schema.items() if kind == pl.String]
    if not texts or rows.is_empty():
        return
    longest = rows.select(pl.col(texts).str.count_matches("\n", literal=True).max()).row(0)
    for name, lines in zip(texts, longest, strict=True):
        if (lines or 0) > LONGEST_FIELD:
            what = f"has a field of {lines:,} lines; a quote before it is probably not closed"
            raise SourceInvalid(
                f"{path.name} cannot be read whole",
                [Problem(name, what)],
                do="Mend the file and load it again; nothing of it was kept",
            )


def _header(path: Path, dialect: CsvFormat) -> list[str]:
    encoding = "utf-8-sig" if dialect.encoding.lower() in ("utf-8", "utf8") else dialect.encoding
    with path.open(encoding=encoding, newline="") as file:
        lines = csv.reader(file, delimiter=dialect.delimiter, quotechar=dialect.quote)
        names = next(lines, [])
    twice = {name for name in names if names.count(name) > 1 or name in OWN}
    if twice:
        problems = [Problem(name, "is there twice, or is a name we use") for name in sorted(twice)]
        raise SourceInvalid(f"{path.name} has columns that cannot be told apart", problems)
    return names


def _read_fixed(path: Path, dialect: FixedWidthFormat) -> pl.DataFrame:
    text = path.read_text(encoding=dialect.encoding)
    lines = pl.Series("line", text.split("\n")[dialect.header_lines :], dtype=pl.String)
    lines = lines.str.strip_chars_end("\r\n\x1a")
    lines = lines.filter(lines.str.strip_chars() != "")
    width = sum(column.width for column in dialect.columns)
    starts = [sum(c.width for c in dialect.columns[:i]) for i in range(len(dialect.columns))]
    last = starts[-1]
    fits = (pl.col("line").str.len_chars() > last) & (pl.col("line").str.len_chars() <= width)
    cut = [
        pl.when(fits).then(pl.col("line").str.slice(start, column.width)).alias(column.name)
        for start, column in zip(starts, dialect.columns, strict=True)
    ]
    frame = pl.DataFrame({"line": lines}).with_columns(
        pl.when(~fits).then(pl.col("line")).alias("malformed"), *cut
    )
    return _numbered(frame.drop("line"))


def _read_ndjson(path: Path) -> pl.DataFrame:
    text = pl.Series("line", path.read_text(encoding="utf-8").split("\n"), dtype=pl.String)
    text = text.filter(text.str.strip_chars() != "")
    malformed = ~_is_object(text)
    good = text.filter(~malformed)
    table = (
        pl.read_ndjson("\n".join(good).encode(), infer_schema_length=None) if len(good) else None
    )
    frame = (
        pl.DataFrame()
        if table is None
        else table.select(_as_text(table, name) for name in table.columns)
    )
    numbers = pl.int_range(1, len(text) + 1, eager=True, dtype=pl.Int64)
    rows = frame.with_columns(
        numbers.filter(~malformed).alias("row_number"), pl.lit(None, pl.String).alias("malformed")
    )
    bad = pl.DataFrame(
        {"row_number": numbers.filter(malformed), "malformed": text.filter(malformed)}
    )
    return pl.concat([rows, bad], how="diagonal").sort("row_number")


def _is_object(lines: pl.Series) -> pl.Series:
    held = pl.DataFrame({"n": range(len(lines)), "line": lines})
    connection = duckdb.connect()
    connection.register("held", held.to_arrow())
    query = "select json_valid(line) and ltrim(line)[1] = '{' from held order by n"
    found = connection.execute(query).fetchall()
    connection.close()
    return pl.Series([row[0] for row in found], dtype=pl.Boolean)


def _as_text(table: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name)
    nested = isinstance(table.schema[name], pl.Struct)
    return column.struct.json_encode() if nested else column.cast(pl.String)


def _numbered(rows: pl.DataFrame) -> pl.DataFrame:
    numbers = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row_number")
    if "malformed" not in rows.columns:
        rows = rows.with_columns(pl.lit(None, pl.String).alias("malformed"))
    return rows.with_columns(numbers)


def missing_columns(export: Export, columns: Collection[str], where: str) -> list[Problem]:
    """A problem for each column the mappings name that is not among these."""
    return [
        Problem(name, f"is not a column of {where}.{did_you_mean(name, columns)}")
        for name in sorted(export.columns() - set(columns))
    ]
