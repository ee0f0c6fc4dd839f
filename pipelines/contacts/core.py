"""The core tables of contacts and what they did: made from every source, checked, then written.

Nothing is written unless the candidate contacts pass. Making them again from the same raw rows
changes nothing, not even a version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipelines.clock import Clock
from pipelines.contacts import deeds
from pipelines.contacts.identity import assign
from pipelines.contacts.ingest import Ingested, ingest, misfits, raw_tables
from pipelines.contacts.mapping import map_source
from pipelines.contacts.source import Entity, Source, discover, find
from pipelines.errors import ExpectationsFailed, Problem, SourceInvalid
from pipelines.lake import Lake
from pipelines.schema import (
    ACTIVITIES,
    CONSENTS,
    CONTACTS,
    IDENTITIES,
    ORDER_LINES,
    ORDERS,
    PRODUCTS,
    Table,
)
from pipelines.settings import Home

# In the order they are written: of a merge, the withdrawal is there before the contact is.
TABLES = (IDENTITIES, CONSENTS, CONTACTS, ORDERS, ORDER_LINES, PRODUCTS, ACTIVITIES)
KEYS = {
    IDENTITIES.name: ["source", "external_id"],
    CONTACTS.name: ["contact_id"],
    CONSENTS.name: ["consent_id"],
    ORDERS.name: ["order_id"],
    ORDER_LINES.name: ["order_id", "line_number"],
    PRODUCTS.name: ["product_id"],
    ACTIVITIES.name: ["activity_id"],
}
Accepted = Mapping[Entity, pl.DataFrame]


@dataclass(frozen=True)
class LoadReport:
    """What a load did, over all loads of the sources it was asked for."""

    exports: Sequence[Ingested]
    contacts: int
    failed: Mapping[str, SourceInvalid] = field(default_factory=dict)

    @property
    def read(self) -> int:
        return sum(each.read for each in self.exports)

    @property
    def accepted(self) -> int:
        return sum(each.accepted for each in self.exports)

    @property
    def quarantined(self) -> int:
        return sum(each.quarantined for each in self.exports)


def load_all(
    project: Path,
    home: Home,
    lake: Lake,
    clock: Clock,
    sources: list[str] | None = None,
    *,
    files: Mapping[str, Path] | None = None,
) -> LoadReport:
    """Load the named sources (every usable one if None) and make the core tables anew.

    Raises SourceInvalid, ExportMissing, and ExpectationsFailed when the candidate contacts fail.
    """
    found = discover(project)
    chosen = (
        [find(project, name) for name in sources]
        if sources is not None
        else [source for source in found.values() if isinstance(source, Source)]
    )
    exports = [
        each
        for source in chosen
        for each in ingest(source, lake=lake, exports_folder=home.exports, clock=clock, files=files)
    ]
    with lake.alone("core"):
        candidate = build([s for s in found.values() if isinstance(s, Source)], lake)
        require(candidate)
        write(candidate, lake)
    failed = {name: each for name, each in found.items() if isinstance(each, SourceInvalid)}
    return LoadReport(exports, candidate[CONTACTS.name].height, failed)


def require(candidate: Mapping[str, pl.DataFrame]) -> None:
    """Raises ExpectationsFailed when a blocking expectation does not hold."""
    # Great Expectations takes seconds to import, so only who checks pays for it.
    from pipelines.contacts.expectations import check

    failed = [each for each in check(candidate[CONTACTS.name]) if each.blocks]
    if failed:
        problems = [
            Problem(each.name, f"{each.failing} rows fail: {each.observed}") for each in failed
        ]
        what = "the contacts were not written; the last good table stays"
        raise ExpectationsFailed(
            what, problems, do="Mend the export or the source file, load again"
        )


def build(sources: Sequence[Source], lake: Lake) -> dict[str, pl.DataFrame]:
    """The candidate of every core table, by name.

    Rows are carried over from sources not given, and from one whose mapping no longer fits its raw
    rows: loading that one says so, and keeps no other from being loaded. Call it and `write` under
    `lake.alone("core")`: two loads at once would give one id to two people.
    """
    raw = {source.name: raw_tables(source, lake) for source in sources}
    loaded = [s for s in sources if raw[s.name] and not misfits(s, raw[s.name], lake)]
    accepted = {s.name: map_source(s, raw[s.name]).accepted for s in loaded}
    known = lake.read(IDENTITIES.name).collect()
    everybody = _stack(accepted, Entity.CONTACTS)
    if not everybody.is_empty():
        # Identity and contact must agree on which row is the newest, whatever the source is called.
        everybody = everybody.sort("loaded_at", "row_number", maintain_order=True)
    identities = known if everybody.is_empty() else assign(everybody, known)
    names = [source.name for source in loaded]
    fresh = {IDENTITIES.name: identities}
    if not everybody.is_empty():
        fresh |= _tables(loaded, accepted, everybody, identities)
    return {table.name: _carried(table, fresh, names, lake) for table in TABLES}


def write(candidate: Mapping[str, pl.DataFrame], lake: Lake) -> list[str]:
    """Replace the tables that differ; returns their names. Identities first: ids must last."""
    changed = []
    for table in TABLES:
        rows = candidate[table.name]
        held = lake.read(table.name).sort(KEYS[table.name]).collect()
        if lake.version(table.name) is None or not held.equals(rows):
            lake.replace(table, rows)
            changed.append(table.name)
    return changed


def _carried(
    table: Table, fresh: Mapping[str, pl.DataFrame], sources: Sequence[str], lake: Lake
) -> pl.DataFrame:
    rows = fresh.get(table.name, table.empty())
    key = KEYS[table.name]
    origin = (
        pl.col("source")
        if "source" in table.columns
        else pl.col("order_id").str.extract("^([^:]*):")
    )
    held = lake.read(table.name).filter(~origin.is_in(list(sources))).collect()
    others = held.join(rows, on=key, how="anti")
    if table is not CONTACTS and "contact_id" in table.columns and table is not IDENTITIES:
        merged = fresh[IDENTITIES.name].filter(pl.col("source") == "merged")
        ids = dict(merged.select(pl.col("external_id").cast(pl.Int64), "contact_id").rows())
        others = others.with_columns(pl.col("contact_id").replace(ids)) if ids else others
    if table is CONTACTS:
        alive = fresh[IDENTITIES.name]["contact_id"].unique()
        others = others.filter(pl.col("contact_id").is_in(alive.implode()))
    return pl.concat([rows.select(table.schema.names()).cast(table.schema), others]).sort(key)


def _stack(accepted: Mapping[str, Accepted], entity: Entity) -> pl.DataFrame:
    frames = [
        parts[entity].with_columns(pl.lit(name).alias("source"))
        for name, parts in accepted.items()
        if entity in parts
    ]
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()


def _tables(
    sources: Sequence[Source],
    accepted: Mapping[str, Accepted],
    everybody: pl.DataFrame,
    identities: pl.DataFrame,
) -> dict[str, pl.DataFrame]:
    by_key = identities.rename({"external_id": "key"})
    made: dict[str, list[pl.DataFrame]] = {}
    for source in sources:
        parts = deeds.of_source(source, accepted[source.name], by_key)
        for name, rows in parts.items():
            made.setdefault(name, []).append(rows)
    tables = {name: pl.concat(rows).unique(KEYS[name], keep="last", maintain_order=True)
              for name, rows in made.items()}  # fmt: skip
    tables[CONTACTS.name] = _contacts(everybody, by_key)
    return tables


def _contacts(everybody: pl.DataFrame, by_key: pl.DataFrame) -> pl.DataFrame:
    """The newest row of each contact; a value it lacks comes from the newest row that has it."""
    rows = everybody.join(by_key, on=["source", "key"], how="inner", maintain_order="left")
    rows = rows.sort("loaded_at", "row_number", maintain_order=True)
    missing = [name for name in CONTACTS.columns if name not in rows.columns]
    rows = rows.with_columns(
        pl.lit(None).cast(CONTACTS.schema[name]).alias(name) for name in missing
    )
    whole = ["address", "address_normalised", "attributes", "source"]
    filled = [name for name in CONTACTS.columns if name not in (*whole, "contact_id", "created_at")]
    return (
        rows.group_by("contact_id", maintain_order=True)
        .agg(
            *(pl.col(name).last() for name in whole),
            *(pl.col(name).drop_nulls().last() for name in filled),
            pl.col("created_at").min(),
        )
        .select(CONTACTS.schema.names())
        .cast(CONTACTS.schema)
    )
