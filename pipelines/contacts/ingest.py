"""Load exports into raw tables and put what cannot be used into quarantine.

Loading the same file twice changes nothing: a load is known by the hash of its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.clock import Clock
from pipelines.contacts.mapping import Mapped, map_source
from pipelines.contacts.reading import file_hash, missing_columns, read_rows
from pipelines.contacts.source import FOLDER, Entity, Source
from pipelines.errors import Problem, SourceInvalid
from pipelines.lake import Lake
from pipelines.schema import TEXT, UTC_TIME, WHOLE, Table

Columns = dict[str, pl.DataType | type[pl.DataType]]
OWN_COLUMNS: Columns = {
    "load_id": TEXT,
    "loaded_at": UTC_TIME,
    "row_number": WHOLE,
    "malformed": TEXT,
}


@dataclass(frozen=True)
class Ingested:
    """What became of the rows of one export, over all its loads."""

    source: str
    export: str
    read: int
    accepted: int
    quarantined: int
    reasons: Mapping[str, int]
    is_new: bool

    @property
    def adds_up(self) -> bool:
        return self.read == self.accepted + self.quarantined


def ingest(
    source: Source,
    *,
    lake: Lake,
    exports_folder: Path,
    clock: Clock,
    files: Mapping[str, Path] | None = None,
) -> list[Ingested]:
    """Load every export of a source, map it, and keep its refused rows. One Ingested per export.

    files  export → another file than the source names, for this load

    Raises ExportMissing and SourceInvalid. Every file is read before the first one is kept, so that
    a load that fails leaves nothing half done.
    """
    paths = {
        export: (files or {}).get(export) or exports_folder / known.file
        for export, known in source.exports.items()
    }
    loads = {export: _new_rows(source, export, path, lake) for export, path in paths.items()}
    known = {export for export, rows in loads.items() if rows is None}
    if problems := misfits(source, known, lake):
        raise _unfit(source, "it names columns that the exports do not have", problems)
    for export, rows in loads.items():
        if rows is not None:
            _append(source.table(export), rows, lake, clock)
    raw = raw_tables(source, lake)
    mapped = map_source(source, raw)
    _quarantine(source, mapped, lake, clock)
    return [
        _ingested(source, name, raw[name], mapped, name not in known) for name in source.exports
    ]


def misfits(source: Source, exports: Iterable[str], lake: Lake) -> list[Problem]:
    """What the mappings name and the raw rows kept of these exports do not have."""
    return [
        problem
        for export in sorted(exports)
        for problem in missing_columns(
            source.exports[export],
            lake.schema(source.table(export)).names(),
            source.exports[export].file,
        )
    ]


def _new_rows(source: Source, export: str, path: Path, lake: Lake) -> pl.DataFrame | None:
    """The rows of a file with its load_id; None when this very file is in its raw table already."""
    name = source.table(export)
    load_id = file_hash(path)
    if lake.version(name) is not None:
        known = lake.read(name).filter(pl.col("load_id") == load_id).select(pl.len()).collect()
        if known.item():
            return None
    try:
        rows = read_rows(path, source.exports[export])
    except SourceInvalid as invalid:
        raise _unfit(source, invalid.what, invalid.problems) from None
    return rows.with_columns(pl.lit(load_id).alias("load_id"))


def _unfit(source: Source, why: str, problems: Iterable[Problem]) -> SourceInvalid:
    do = f"Nothing was loaded. Fix it, then run: lettermill source load {source.name}"
    what = f"{FOLDER / source.name}.yaml does not fit its exports: {why}"
    return SourceInvalid(what, problems, do=do)


def _append(name: str, rows: pl.DataFrame, lake: Lake, clock: Clock) -> None:
    rows = rows.with_columns(pl.lit(clock.now()).cast(UTC_TIME).alias("loaded_at"))
    given = [column for column in rows.columns if column not in OWN_COLUMNS]
    columns: Columns = {**OWN_COLUMNS, **dict.fromkeys(given, TEXT)}
    lake.append(Table(name, "one row per source row and load", columns, personal=True), rows)


def is_unused(source: Source, *, lake: Lake, exports_folder: Path) -> bool:
    """No file of it is here and none ever was: a source of the project that this home has not."""
    here = any((exports_folder / export.file).exists() for export in source.exports.values())
    return not here and not raw_tables(source, lake)


def raw_tables(source: Source, lake: Lake) -> dict[str, pl.DataFrame]:
    """The raw rows of every export that was ever loaded, oldest load first."""
    return {
        export: lake.read(source.table(export)).sort("loaded_at", "row_number").collect()
        for export in source.exports
        if lake.version(source.table(export)) is not None
    }


def _quarantine(source: Source, mapped: Mapped, lake: Lake, clock: Clock) -> None:
    for entity in Entity:
        name = f"quarantine.{entity}"
        rows = mapped.refused.filter(pl.col("entity") == entity.value).select(
            pl.lit(source.name).alias("source"), pl.exclude("entity")
        )
        if rows.is_empty() and lake.version(name) is None:
            continue
        if lake.version(name) is not None and _same(lake, name, source, rows):
            continue
        dated = rows.with_columns(pl.lit(clock.now()).cast(UTC_TIME).alias("quarantined_at"))
        table = Table(name, "one row per refused source row", dict(dated.schema), personal=True)
        lake.replace(table, dated, source=source.name)


def _same(lake: Lake, name: str, source: Source, rows: pl.DataFrame) -> bool:
    order = ["export", "load_id", "row_number"]
    held = lake.read(name).filter(pl.col("source") == source.name).drop("quarantined_at")
    return held.select(rows.columns).sort(order).collect().equals(rows.sort(order))


def _ingested(
    source: Source, export: str, raw: pl.DataFrame, mapped: Mapped, is_new: bool
) -> Ingested:
    refused = mapped.refused_of(export)
    at_fault = refused.select("load_id", "row_number")
    accepted = raw.join(at_fault, on=["load_id", "row_number"], how="anti").height
    counts = refused.select(pl.col("reasons").explode()).to_series().value_counts(sort=True)
    reasons = dict(counts.rows())
    return Ingested(source.name, export, raw.height, accepted, refused.height, reasons, is_new)
