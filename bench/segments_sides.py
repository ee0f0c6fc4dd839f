"""Ours and hand-written DuckDB: one segment, timed once, in a process that does nothing else.

Each side has a process of its own that stays, so neither pays for starting Python, and the memory of
one is not the memory of the other.
"""

from __future__ import annotations

import multiprocessing
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import polars as pl
import psutil

from bench.segments_data import AS_OF
from pipelines.lake import Lake
from pipelines.segments.project import load
from pipelines.segments.run import evaluate
from pipelines.segments.sandbox import Limits
from pipelines.settings import CHECKOUT

SQL = Path(__file__).parent / "sql" / "duckdb"
TIMES = 3
# The benchmark measures how long a query takes, not that it is stopped; memory stays as it is for users.
LIMITS = Limits(cpu_seconds=1_200, wall_seconds=1_200)
# Between two looks at the memory. Only the untimed run is watched.
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Query:
    """A segment of the repository by name, with the parameters its header declares."""

    name: str
    parameters: Mapping[str, str | int] = field(default_factory=dict)


Side = Callable[[Path, Query, Path | None], float]


def ours(root: Path, query: Query, keep: Path | None) -> float:
    """Seconds from the file's name to checked members. keep: where to write their ids."""
    lake = Lake(root)
    started = time.perf_counter()
    segment = load(CHECKOUT, query.name)
    members = evaluate(segment, lake=lake, as_of=AS_OF, limits=LIMITS, parameters=query.parameters)
    seconds = time.perf_counter() - started
    if keep:
        members.frame.select("contact_id").write_parquet(keep)
    return seconds


def by_hand(root: Path, query: Query, keep: Path | None) -> float:
    """Seconds to connect, see the tables, run the query and write its rows to one Parquet file."""
    lake = Lake(root)
    sql = (SQL / f"{query.name}.sql").read_text(encoding="utf-8")
    files = {name: lake.files(name) for name in set(re.findall(r"\bcore\.\w+", sql))}
    known = duckdb.extract_statements(sql)[0].named_parameters
    values = {k: v for k, v in {"as_of": AS_OF, **query.parameters}.items() if k in known}
    with tempfile.TemporaryDirectory(prefix="lettermill-bench-") as folder:
        target = keep or Path(folder) / "result.parquet"
        started = time.perf_counter()
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.execute(
                "set timezone = 'UTC'; set enable_progress_bar = false; create schema core"
            )
            for name, listed in files.items():
                connection.execute(f"create view {name} as from read_parquet({listed})")
            connection.execute(f"copy ({sql}) to '{target}' (format parquet)", values)
        return time.perf_counter() - started


@dataclass
class Runner:
    """One side in its process."""

    side: Side
    pool: ProcessPoolExecutor
    peak_bytes: int = 0  # of the process and all below it together, in the untimed runs

    def best(self, root: Path, query: Query, keep: Path) -> float:
        """Seconds of the best of TIMES runs, after a first one that warms the cache and keeps the ids."""
        with self._watched():
            self.pool.submit(self.side, root, query, keep).result()
        return min(self.pool.submit(self.side, root, query, None).result() for _ in range(TIMES))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,), daemon=True)
        watch.start()
        try:
            yield
        finally:
            over.set()
            watch.join()

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(LOOK_SECONDS):
            self.peak_bytes = max(self.peak_bytes, sum(map(_resident, self._processes())))

    def _processes(self) -> list[psutil.Process]:
        roots = [psutil.Process(pid) for pid in list(self.pool._processes or {})]
        return [each for root in roots for each in (root, *root.children(recursive=True))]


@contextmanager
def runner(side: Side) -> Iterator[Runner]:
    # Spawned, never forked: delta-rs and Polars break after a fork.
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    try:
        yield Runner(side, pool)
    except BaseException:
        # Who interrupts a benchmark does not want to wait for its query.
        for process in list(pool._processes.values()):
            process.kill()
        raise
    finally:
        pool.shutdown()


def ids(kept: Path) -> pl.Series:
    return pl.read_parquet(kept, columns=["contact_id"])["contact_id"].cast(pl.Int64)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
