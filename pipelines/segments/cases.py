"""Cases of a segment or mart: given these rows and this time, these contacts or rows come out.

tests/sql/<segments|marts>/<name>/<case>.yaml. A case runs the project's own file on real tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pipelines.errors import LettermillError, Problem, SegmentInvalid, did_you_mean
from pipelines.lake import Lake
from pipelines.schema import CONTACTS, TABLES, Table
from pipelines.segments.header import Value
from pipelines.segments.project import SqlFiles
from pipelines.segments.run import require, run
from pipelines.segments.segment import SqlFile
from pipelines.snapshot import duckdb_type

FOLDER = Path("tests/sql")
OF_ROWS = ("contact_id_is_there", "contact_id_is_unique", "contact_id_is_known")
Row = dict[str, Any]
MUST: Mapping[str, str] = {
    "case": "must be lines of `field: value`",
    "description": "must say in a sentence what it is about",
    "as_of": "must be a time with its zone, such as 2026-11-01T08:00:00Z",
    "given": "must be tables with lists of rows, such as {contact_id: 1}",
    "expect": "must be a list of contact ids, or of rows",
    "parameters": "must be values by the parameter's name",
}


class Case(BaseModel):
    """One case. `given` holds only the columns that matter; the others are null.

    expect  contact ids, or rows: then the columns given are compared
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    as_of: AwareDatetime
    given: dict[str, list[Row]]
    expect: list[int] | list[Row]
    parameters: dict[str, Value] = {}


def case_files(project: Path, file: SqlFile | str) -> list[Path]:
    """The case files of a segment or mart; of a segment when only its name is given."""
    layer, name = ("segments", file) if isinstance(file, str) else (file.layer, file.name)
    return sorted((project / FOLDER / layer / name).glob("*.yaml"))


def read_case(path: Path) -> Case:
    do = "Cases are described in docs/segments.md"
    try:
        case = Case.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise SegmentInvalid(
            f"{path.name} is not YAML", [Problem(path.name, str(error))], do=do
        ) from None
    except ValidationError as invalid:
        problems = dict.fromkeys(_problem(dict(each)) for each in invalid.errors())
        raise SegmentInvalid(f"{path.name} is not a case", problems, do=do) from None
    unknown = [
        n for n in case.given if n not in TABLES and not n.startswith(("segments.", "marts."))
    ]
    if unknown:
        told = [Problem(n, f"is not a table.{did_you_mean(n, TABLES)}") for n in unknown]
        raise SegmentInvalid(f"{path.name} gives rows of tables there are not", told, do=do)
    return case


def _problem(error: Mapping[str, Any]) -> Problem:
    field, *_ = (*map(str, error["loc"]), "case")
    if error["type"] == "extra_forbidden":
        return Problem(field, f"is not known.{did_you_mean(field, Case.model_fields)}")
    return Problem(
        field, f"is missing; it {MUST[field]}" if error["type"] == "missing" else MUST[field]
    )


def outcome(file: SqlFile, files: SqlFiles, case: Case, folder: Path) -> str | None:
    """None when the file returns what the case expects, else what differs; `folder` becomes a lake."""
    try:
        found = rows_of(file, files, case, folder)
    except LettermillError as error:
        return str(error)
    wanted = [each if isinstance(each, dict) else {"contact_id": each} for each in case.expect]
    columns = sorted({column for row in wanted for column in row}) or found.columns[:1]
    missing = [column for column in columns if column not in found.columns]
    if missing:
        return f"it returns no column {', '.join(missing)}; there are {', '.join(found.columns)}"
    left = [_plain({column: row.get(column) for column in columns}) for row in wanted]
    more = []
    for row in map(_plain, found.select(columns).to_dicts()):
        if row in left:
            left.remove(row)
        else:
            more.append(row)
    return f"missing {_shown(left)}, not expected {_shown(more)}" if left or more else None


def rows_of(file: SqlFile, files: SqlFiles, case: Case, folder: Path) -> pl.DataFrame:
    """What a file returns for the rows of a case; `folder` becomes a lake."""
    lake = Lake(folder)
    known = {*TABLES, *files.by_table}
    if strange := [name for name in case.given if name not in known]:
        problems = [Problem(n, f"is no file of sql/.{did_you_mean(n, known)}") for n in strange]
        raise SegmentInvalid("a case gives rows of a file there is not", problems)
    for name, rows in case.given.items():
        lake.append(_table(name, rows), _frame(_table(name, rows), rows))
    _make_known(case, lake)
    given = replace(files, stored=frozenset(case.given) - set(TABLES))
    members = run(file, lake=lake, as_of=case.as_of, files=given, parameters=case.parameters)
    # A case is a handful of people: only what each row must be is asked of it.
    require(file, [each for each in members.outcomes if each.name in OF_ROWS])
    return members.frame


def _table(name: str, rows: Sequence[Row]) -> Table:
    """A declared table, or one of the columns that a case gives a segment or mart."""
    if name in TABLES:
        return TABLES[name]
    # Of no rows the columns are not known; this one every segment has.
    columns = dict(pl.DataFrame(rows).schema) or {"contact_id": pl.Int64()}
    return Table(name, "as a case gives it", columns)


def _make_known(case: Case, lake: Lake) -> None:
    """A case need not list contacts to speak of them."""
    rows = [row for rows in case.given.values() for row in rows]
    ids = {row["contact_id"] for row in rows if row.get("contact_id") is not None}
    listed = {row["contact_id"] for row in case.given.get(CONTACTS.name, [])}
    lake.append(CONTACTS, _frame(CONTACTS, [{"contact_id": each} for each in sorted(ids - listed)]))


def _frame(table: Table, rows: Sequence[Row]) -> pl.DataFrame:
    strange = {column for row in rows for column in row} - set(table.columns)
    if strange:
        problems = [
            Problem(c, f"is not a column.{did_you_mean(c, table.columns)}") for c in sorted(strange)
        ]
        raise SegmentInvalid(f"a case gives columns that {table.name} does not have", problems)
    return pl.DataFrame([_column(table, column, rows) for column in table.columns])


def _column(table: Table, column: str, rows: Sequence[Row]) -> pl.Series:
    values = [_value(row, column) for row in rows]
    try:
        return pl.Series(column, values, dtype=table.schema[column])
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        kinds = {type(value).__name__ for value in values if value is not None}
        wanted = duckdb_type(table.schema[column])
        told = f"is {wanted} in {table.name}, not {' and '.join(sorted(kinds))}"
        raise SegmentInvalid(
            "a case gives a value of another type", [Problem(column, told)]
        ) from None


def _value(row: Mapping[str, Any], column: str) -> Any:
    value = row.get(column)
    if isinstance(value, datetime) and value.tzinfo is None:
        told = f"{value} has no time zone; write it like {value.isoformat()}Z"
        raise SegmentInvalid("a case gives a time without a zone", [Problem(column, told)])
    return value


def _plain(row: Row) -> Row:
    """Comparable values: numbers by value, times and dates as text, six digits of a fraction."""
    return {name: _comparable(value) for name, value in row.items()}


def _comparable(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return round(value, 6)
    return value


def _shown(rows: Sequence[Row]) -> str:
    if all(set(row) == {"contact_id"} for row in rows):
        return str([row["contact_id"] for row in rows])
    return ", ".join(str(row) for row in rows) or "[]"
