"""The lake: Delta tables in folders, written by delta-rs, read by Polars and through DuckDB.

Knows versions, files and schemas; knows nothing of what a table means. Many processes may read
and append while another replaces or compacts: every read is of one pinned version. Processes that
use it are spawned, never forked (delta-rs and Polars break after a fork).
"""

from __future__ import annotations

import fcntl
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import unquote

import duckdb
import polars as pl
from deltalake import (
    CommitProperties,
    DeltaTable,
    Transaction,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from pipelines.clock import Clock, SystemClock
from pipelines.errors import Problem, TableMissing, did_you_mean
from pipelines.layout import in_order, parquet, written_as
from pipelines.schema import TABLES, Table
from pipelines.snapshot import Snapshot

ATTEMPTS = 10
Pins = Mapping[str, int]


@dataclass(frozen=True)
class Lake:
    """The tables under one folder, named `layer.table`.

    A declared table that was never written reads as an empty one.
    """

    root: Path
    clock: Clock = field(default_factory=SystemClock)

    def path(self, name: str) -> Path:
        layer, _, table = name.partition(".")
        return self.root / layer / table

    def names(self) -> list[str]:
        """Every table there is: those written, and those declared."""
        written = (log.parent for log in self.root.glob("*/*/_delta_log"))
        return sorted({*TABLES, *(f"{path.parent.name}.{path.name}" for path in written)})

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Keep every other process out of the same `alone` while the block runs; waits for its turn."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f".{what}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def version(self, name: str) -> int | None:
        """The newest version, or None when nothing was ever written."""
        delta = self._open(name, None)
        return None if delta is None else int(delta.version())

    def touched_ns(self, name: str) -> int:
        """When something was last written to a table, in ns since 1970; 0 when nothing ever was.

        Costs a system call where `version` costs milliseconds: while it stays the same, and lies some time
        back, so does the version.
        """
        try:
            return (self.path(name) / "_delta_log").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def pin(self, names: Iterable[str]) -> dict[str, int]:
        """The newest version of each table that has one: what a run records that it read."""
        versions = {name: self.version(name) for name in names}
        return {name: version for name, version in versions.items() if version is not None}

    def version_at(self, name: str, at: datetime) -> int | None:
        """The version that was current at a time; None when younger or already forgotten."""
        delta = self._open(name, None)
        if delta is None:
            return None
        moment = at.timestamp() * 1000
        known = [entry for entry in delta.history() if entry["timestamp"] <= moment]
        return int(known[0]["version"]) if known else None

    def snapshot(self, name: str, version: int | None = None) -> Snapshot:
        """One version of a table, the newest if None. Raises TableMissing when there is no such table.

        A column that was declared after it was written is null.
        """
        delta = self._open(name, version)
        if delta is not None:
            schema = pl.Schema(delta.schema().to_arrow())
            declared = TABLES[name].schema if name in TABLES else {}
            return Snapshot(
                name,
                int(delta.version()),
                pl.Schema({**schema, **{c: k for c, k in declared.items() if c not in schema}}),
                tuple(self._paths(delta)),
                tuple(delta.metadata().partition_columns),
            )
        if name in TABLES:
            return Snapshot(name, None, TABLES[name].schema)
        do = "See what there is: lettermill tables"
        raise TableMissing(f"there is no table {name}.{did_you_mean(name, self.names())}", do=do)

    def schema(self, name: str, version: int | None = None) -> pl.Schema:
        return self.snapshot(name, version).schema

    def files(self, name: str, version: int | None = None) -> list[str]:
        """The Parquet files of one version; none for a table that is declared only."""
        delta = self._open(name, version)
        return [] if delta is None else self._paths(delta)

    def count(self, name: str, version: int | None = None) -> int:
        """Rows in one version, from the files' footers."""
        delta = self._open(name, version)
        return 0 if delta is None else int(delta.count())

    def size(self, name: str, version: int | None = None) -> int:
        """Bytes of one version's files."""
        delta = self._open(name, version)
        if delta is None:
            return 0
        return int(pl.DataFrame(delta.get_add_actions(flatten=True))["size_bytes"].sum())

    def changed_at(self, name: str, version: int | None = None) -> datetime | None:
        """When a version, the newest if None, was written; None when nothing was."""
        delta = self._open(name, version)
        if delta is None:
            return None
        return datetime.fromtimestamp(delta.history(1)[0]["timestamp"] / 1000, UTC)

    def read(self, name: str, version: int | None = None) -> pl.LazyFrame:
        return self.snapshot(name, version).scan()

    def connect(
        self,
        names: Iterable[str],
        pins: Pins | None = None,
        *,
        memory: str = "4GB",
        threads: int = 2,
    ) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection in UTC with one view per name, over the pinned versions' files."""
        connection = duckdb.connect(config={"memory_limit": memory, "threads": threads})
        connection.execute("set timezone = 'UTC'; set enable_progress_bar = false")
        for name in names:
            layer, _, table = name.partition(".")
            connection.execute(f'create schema if not exists "{layer}"')
            body = self.select(name, (pins or {}).get(name))
            connection.execute(f'create view "{layer}"."{table}" as {body}')
        return connection

    def select(self, name: str, version: int | None = None) -> str:
        """The SELECT that reads one version, with every column and type as Delta has them."""
        return self.snapshot(name, version).select()

    def append(
        self, table: Table, frame: pl.DataFrame, *, transactions: Mapping[str, int] | None = None
    ) -> int:
        """Add rows; returns the new version.

        transactions  Delta application transactions to record with them, name → version
        """
        return self._write(table, frame, mode="append", transactions=transactions)

    def replace(self, table: Table, frame: pl.DataFrame, **where: str) -> int:
        """Put these rows in place of all, or of those where `column = value`; returns the version."""
        if where and self.version(table.name) is None:
            # Of two that replace their own part of a table not there yet, one would replace the other's.
            with self.alone(table.name):
                if self.version(table.name) is None:
                    self.append(table, table.empty())
        predicate = " and ".join(
            f"{column} = '{_quoted(value)}'" for column, value in where.items()
        )
        return self._write(table, frame, mode="overwrite", predicate=predicate or None)

    def merge(self, table: Table, frame: pl.DataFrame, *, on: tuple[str, ...]) -> int:
        """Add the rows whose key is not there yet, leave the others alone; returns how many came."""
        for _ in range(ATTEMPTS):
            pinned = self.version(table.name)
            known = self.read(table.name, pinned).select(on)
            unknown = frame.lazy().join(known, on=list(on), how="anti", nulls_equal=True)
            unique = unknown.unique(subset=list(on), keep="first", maintain_order=True)
            fresh = pl.DataFrame(unique.collect())
            if fresh.is_empty() and pinned is not None:
                return 0
            if pinned == self.version(table.name):
                self.append(table, fresh)
                return fresh.height
        raise TableMissing(
            f"{table.name} kept changing while rows were merged into it", do="Try again"
        )

    def transaction(self, name: str, application: str) -> int | None:
        """The version an application recorded with its last append."""
        delta = self._open(name, None)
        return None if delta is None else delta.transaction_version(application)

    def compact(self, name: str) -> dict[str, int]:
        """Join small files; readers of older versions keep theirs. Returns files added and removed."""
        delta = self._open(name, None)
        if delta is None:
            return {"files_added": 0, "files_removed": 0}
        table = TABLES.get(name)
        metrics = delta.optimize.compact(writer_properties=parquet(table) if table else None)
        return {
            "files_added": metrics["numFilesAdded"],
            "files_removed": metrics["numFilesRemoved"],
        }

    def _paths(self, delta: DeltaTable) -> list[str]:
        """Its files as paths. The folder's part of a URI is escaped, that of a partition is its name."""
        root = delta.table_uri.removeprefix("file://").rstrip("/")
        files = (uri.removeprefix("file://").removeprefix(root) for uri in delta.file_uris())
        return [f"{unquote(root)}{file}" for file in files]

    def _open(self, name: str, version: int | None) -> DeltaTable | None:
        try:
            return DeltaTable(self.path(name), version=version)
        except TableNotFoundError:
            if version is None:
                return None
            raise TableMissing(f"{name} has no version {version}") from None
        except DeltaError as error:
            raise TableMissing(
                f"{name} cannot be read{'' if version is None else f' at version {version}'}",
                [Problem(str(self.path(name)), str(error).splitlines()[0])],
                do="Versions are kept for 30 days, for 14 where a table holds personal data",
            ) from error

    def _lay_out(self, table: Table) -> None:
        """Give a table that was written before it was partitioned its files anew."""
        if not table.partitioned or self._is_laid_out(table):
            return
        with self.alone(f"{table.name}-layout"):
            if not self._is_laid_out(table):
                rows = pl.DataFrame(self.read(table.name).collect())
                write_deltalake(
                    self.path(table.name),
                    rows,
                    mode="overwrite",
                    schema_mode="overwrite",
                    **written_as(table),
                )

    def _is_laid_out(self, table: Table) -> bool:
        delta = self._open(table.name, None)
        return delta is None or tuple(delta.metadata().partition_columns) == table.partitioned

    def _write(
        self,
        table: Table,
        frame: pl.DataFrame,
        *,
        mode: Literal["append", "overwrite"],
        predicate: str | None = None,
        transactions: Mapping[str, int] | None = None,
    ) -> int:
        rows = in_order(table, frame.select(table.schema.names()).cast(table.schema))
        self._lay_out(table)
        marks = [
            Transaction(app_id=app, version=version)
            for app, version in (transactions or {}).items()
        ]
        for attempt in range(ATTEMPTS):
            try:
                # The stubs know no predicate together with a mode chosen at run time.
                cast("Any", write_deltalake)(
                    self.path(table.name),
                    rows,
                    mode=mode,
                    predicate=predicate if self.version(table.name) is not None else None,
                    schema_mode="merge" if mode == "append" or predicate else "overwrite",
                    **written_as(table),
                    commit_properties=CommitProperties(app_transactions=marks or None),
                )
                break
            except CommitFailedError:
                # Somebody else committed first. Waiting a little, unevenly, lets one of us through.
                if attempt == ATTEMPTS - 1:
                    raise
                self.clock.sleep(random.uniform(0.01, 0.05) * (attempt + 1))  # noqa: S311
        return int(DeltaTable(self.path(table.name)).version())


def _quoted(value: str) -> str:
    return value.replace("'", "''")
