"""What is known of every segment and mart, gathered for the catalogue: files, runs, checks, uses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from pipelines.campaigns.uses import campaigns_using
from pipelines.errors import LettermillError
from pipelines.schema import SEGMENT_RUNS, TABLES
from pipelines.segments.cases import case_files
from pipelines.segments.checks import described
from pipelines.segments.project import SqlFiles, sql_files
from pipelines.segments.segment import Assertion, Segment, SqlFile
from pipelines.workspace import Workspace

DAYS_SHOWN = 365


@dataclass(frozen=True)
class Check:
    """One check of a segment; `passed` is None until it was run."""

    name: str
    asks: str
    passed: bool | None
    told: str
    blocks: bool


@dataclass(frozen=True)
class Run:
    """One run of a segment."""

    at: datetime
    size: int
    contacts: int
    joined: int
    left: int


@dataclass(frozen=True)
class Entry:
    """One file and all that is known of it; `problem` says why it cannot be read."""

    layer: str
    name: str
    file: SqlFile | None
    problem: str = ""
    reads: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()
    campaigns: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    cases: int = 0
    runs: tuple[Run, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def table(self) -> str:
        return f"{self.layer}.{self.name}"

    @property
    def status(self) -> str:
        return self.file.header.status.value if self.file else "unreadable"

    @property
    def failed(self) -> list[Check]:
        return [each for each in self.checks if each.passed is False]


@dataclass(frozen=True)
class Catalogue:
    """Every segment, then every mart; rows of core.contacts when it was made."""

    segments: list[Entry]
    marts: list[Entry]
    contacts: int
    made_at: datetime
    shown_tables: Mapping[str, str] = field(default_factory=dict)


def gather(workspace: Workspace) -> Catalogue:
    """The catalogue of a project, with what its home knows of runs."""
    files = sql_files(workspace.project)
    runs = pl.DataFrame(workspace.lake.read(SEGMENT_RUNS.name).sort("ran_at").collect())
    uses = campaigns_using(workspace.project)
    entries = [
        _entry(table, entry, files, runs, uses, workspace)
        for table, entry in files.by_table.items()
        if not table.startswith(f"{Assertion.layer}.")
    ]
    return Catalogue(
        [each for each in entries if each.layer == Segment.layer],
        [each for each in entries if each.layer != Segment.layer],
        workspace.lake.count("core.contacts"),
        workspace.clock.now(),
        {name: table.grain for name, table in TABLES.items()},
    )


def _entry(
    table: str,
    entry: SqlFile | LettermillError,
    files: SqlFiles,
    runs: pl.DataFrame,
    uses: Mapping[str, list[str]],
    workspace: Workspace,
) -> Entry:
    layer, _, name = table.partition(".")
    is_segment = layer == Segment.layer
    used = tuple(each.table for each in files.read_by(table))
    campaigns = tuple(uses.get(name, ())) if is_segment else ()
    if isinstance(entry, LettermillError):
        return Entry(layer, name, None, str(entry), used_by=used, campaigns=campaigns)
    own = runs.filter(pl.col("segment") == name) if is_segment else runs.clear()
    return Entry(
        layer,
        name,
        entry,
        reads=entry.inputs,
        used_by=used,
        campaigns=campaigns,
        columns=_columns(table, workspace),
        cases=len(case_files(workspace.project, entry)),
        runs=tuple(
            Run(row["as_of"], row["size"], row["contacts"], row["joined"], row["left"])
            for row in _one_a_day(own.filter(pl.col("is_kept").fill_null(True))).iter_rows(
                named=True
            )
        ),
        checks=_checks(entry, own) if is_segment else (),
    )


def _one_a_day(runs: pl.DataFrame) -> pl.DataFrame:
    """The last run of each day, of a year: more would be drawn over each other."""
    days = runs.group_by(pl.col("as_of").dt.date().alias("day"), maintain_order=True).last()
    return days.tail(DAYS_SHOWN) if days.height > DAYS_SHOWN else runs.tail(DAYS_SHOWN)


def _columns(table: str, workspace: Workspace) -> tuple[str, ...]:
    """The columns it adds, once it has been run."""
    if workspace.lake.version(table) is None:
        return ()
    names = workspace.lake.schema(table).names()
    return tuple(name for name in names if name not in ("contact_id", "as_of"))


def _checks(file: SqlFile, runs: pl.DataFrame) -> tuple[Check, ...]:
    last: list[dict[str, Any]] = json.loads(runs["checks"][-1]) if runs.height else []
    found = {each["name"]: each for each in last}
    return tuple(
        Check(
            name,
            asks,
            found[name]["passed"] if name in found else None,
            found[name]["told"] if name in found else "not run yet",
            blocks,
        )
        for name, (asks, blocks) in described(file.header.checks).items()
    )
