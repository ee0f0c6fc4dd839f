"""Bring the suppressions of an export into the people store, each load of it once.

Once, because people come back: a list imported in spring must not undo what they decided in summer.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from pipelines.contacts.address import hash_series
from pipelines.contacts.ingest import raw_tables
from pipelines.contacts.mapping import map_source
from pipelines.contacts.source import Entity, Source, discover
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.workspace import Workspace

_REASONS = frozenset(Reason)


def suppress_imported(workspace: Workspace) -> int:
    """Suppress whom loaded exports name; returns how many decisions were new."""
    store = PeopleStore(workspace.home.people)
    new = 0
    for source in discover(workspace.project).values():
        if isinstance(source, Source):
            new += sum(
                store.suppress(_decisions(rows, source, workspace), imported=name)
                for name, rows in _loads(source, workspace).items()
                if not store.is_imported(name)
            )
    return new


def _loads(source: Source, workspace: Workspace) -> dict[str, pl.DataFrame]:
    """Accepted suppressions by load: `source/load id`."""
    listed = {name for name, export in source.exports.items() if export.suppressions is not None}
    if not listed:
        return {}
    raw = raw_tables(source, workspace.lake)
    mapped = map_source(source, {name: rows for name, rows in raw.items() if name in listed})
    rows = mapped.accepted.get(Entity.SUPPRESSIONS)
    if rows is None:
        return {}
    parts = rows.partition_by("load_id", as_dict=True)
    return {f"{source.name}/{load}": part for (load,), part in parts.items()}


def _scope(row: dict[str, Any]) -> Scope:
    """As far as the row says; a scope that is unknown, or names nothing, is all: never too little."""
    is_named = row["scope"] in (Scope.TOPIC, Scope.BRAND) and row["scope_key"]
    return Scope(row["scope"]) if is_named else Scope.ALL


def _decisions(rows: pl.DataFrame, source: Source, workspace: Workspace) -> list[Suppression]:
    key = workspace.home.key("addresses")
    missing = [name for name in ("since_at", "scope_key") if name not in rows.columns]
    known = rows.with_columns(
        *(pl.lit(None).alias(name) for name in missing),
        hash_series(rows["address_normalised"], key).alias("address_hash"),
    ).with_columns(pl.coalesce("since_at", "loaded_at").alias("since_at"))
    return [
        Suppression(
            address_hash=row["address_hash"],
            contact_id=None,
            scope=_scope(row),
            scope_key=row["scope_key"] or "",
            reason=Reason(row["reason"]) if row["reason"] in _REASONS else Reason.IMPORTED,
            since_at=row["since_at"],
            origin=source.name,
        )
        for row in known.iter_rows(named=True)
    ]
