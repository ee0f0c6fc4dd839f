"""PostgreSQL as a reference: a cluster of our own, loaded from the lake, gone at the end.

It gets what a careful owner would give it: the same columns in fitting types, unlogged tables, indexes
(sql/postgresql/indexes.sql: on contact, kind and time, on product, and the keys), a vacuum, statistics,
and settings for a machine of 24 GB. more_indexes.sql adds one by time or kind for those of the ten queries
that would like one: what an owner gives it who knows every query before.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.segments_data import say
from pipelines.lake import Lake
from pipelines.schema import Table

SQL = Path(__file__).parent / "sql" / "postgresql"
BINARIES = Path("/usr/lib/postgresql/15/bin")
OWNER = "postgres"
LONGEST_SECONDS = 300
TYPES = {
    pl.String: "text",
    pl.Int64: "bigint",
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.Datetime: "timestamptz",
}
SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "4GB",
    "work_mem": "256MB",
    "maintenance_work_mem": "1GB",
    "effective_cache_size": "12GB",
    "max_parallel_workers_per_gather": "2",
    "max_wal_size": "4GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "30min",
    "random_page_cost": "1.1",  # everything is in memory
    "timezone": "UTC",
}


@dataclass(frozen=True)
class Timed:
    """Seconds of a query, and whether it was stopped at LONGEST_SECONDS instead of ending."""

    seconds: float
    is_stopped: bool = False


@dataclass(frozen=True)
class Server:
    """A running cluster that answers on a socket in its folder only."""

    folder: Path

    def load(self, lake: Lake, tables: Sequence[Table]) -> None:
        """Copy the tables, then index them: an index costs less to build than to keep."""
        with lake.connect([table.name for table in tables]) as connection:
            self.run("create schema core;")
            for table in tables:
                started = time.perf_counter()
                columns = ", ".join(f"{c} {_type(kind)}" for c, kind in table.schema.items())
                self.run(f"create unlogged table {table.name} ({columns});")
                command = [*self._psql(), "-c", f"copy {table.name} from stdin (format csv)"]
                with _as_owner(command, self.folder, stdin=subprocess.PIPE) as copy:
                    assert copy.stdin is not None
                    into = f"'/dev/fd/{copy.stdin.fileno()}' (format csv, header false)"
                    connection.execute(f"copy {table.name} to {into}")
                    copy.stdin.close()
                assert copy.returncode == 0, f"COPY of {table.name} failed"
                say(f"PostgreSQL: {table.name} in {time.perf_counter() - started:.0f} s")
        self.index("indexes")

    def index(self, name: str) -> None:
        started = time.perf_counter()
        self.run((SQL / f"{name}.sql").read_text(encoding="utf-8"))
        say(f"PostgreSQL: {name} and statistics in {time.perf_counter() - started:.0f} s")

    def seconds(self, name: str, parameters: Mapping[str, str]) -> Timed:
        """The better of two runs after a warming one; the last one's rows stay in table `result`."""
        query = (SQL / f"{name}.sql").read_text(encoding="utf-8")
        once = "\\timing off\ndrop table if exists result;\n\\timing on\n"
        once += f"create unlogged table result as\n{query};\n"
        script = f"set statement_timeout = '{LONGEST_SECONDS}s';\n{once * 3}"
        try:
            told = self.run(script, parameters)
        except subprocess.CalledProcessError as error:
            if "statement timeout" not in error.stderr:
                sys.stderr.write(error.stderr)
                raise
            return Timed(LONGEST_SECONDS, is_stopped=True)
        times = [float(found) / 1000 for found in re.findall(r"^Time: ([\d.]+) ms", told, re.M)]
        assert len(times) == 3, told
        return Timed(min(times[1:]))

    def members(self) -> pl.Series:
        """The contacts of the last query."""
        told = self.run("copy (select contact_id from result) to stdout;")
        return pl.Series("contact_id", told.split(), dtype=pl.String).cast(pl.Int64)

    def run(self, script: str, parameters: Mapping[str, str] | None = None) -> str:
        given = [f"--set={name}={value}" for name, value in (parameters or {}).items()]
        done = subprocess.run(
            [*self._psql(), *given], input=script, text=True, capture_output=True, check=True,
            cwd=self.folder, **_owner(),
        )  # fmt: skip
        return done.stdout

    def _psql(self) -> list[str]:
        options = ["-X", "-q", "-A", "-t", "--set=ON_ERROR_STOP=1", f"--host={self.folder}"]
        return [str(BINARIES / "psql"), *options, f"--username={OWNER}", "--dbname=postgres"]


def is_installed() -> bool:
    return (BINARIES / "postgres").exists()


@contextmanager
def server() -> Iterator[Server]:
    """A cluster in a temporary folder, stopped and removed when the block ends, however it ends."""
    folder = Path(tempfile.mkdtemp(prefix="lettermill-bench-postgresql-"))
    process = None
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, OWNER, OWNER)
        rows = folder / "rows"
        init = [str(BINARIES / "initdb"), "-D", str(rows), "-U", OWNER, "-A", "trust", "--no-sync"]
        with _as_owner([*init, "-E", "UTF8", "--locale=C"], folder, stdout=subprocess.DEVNULL):
            pass
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        command = [str(BINARIES / "postgres"), "-D", str(rows), "-k", str(folder), *settings]
        with (folder / "log").open("wb") as log:
            process = _as_owner(command, folder, stdout=log, stderr=log)
        _await_answer(folder, process)
        yield Server(folder)
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # "fast": ends sessions, then itself
            process.wait()
        shutil.rmtree(folder)


def _await_answer(folder: Path, process: subprocess.Popen[bytes]) -> None:
    asked = [str(BINARIES / "pg_isready"), "-q", f"--host={folder}"]
    while subprocess.run(asked, check=False).returncode != 0:
        assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
        time.sleep(0.1)


def _as_owner(command: list[str], folder: Path, **streams: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=folder, **_owner(), **streams)


def _owner() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    return {"user": OWNER, "group": OWNER, "extra_groups": []} if os.geteuid() == 0 else {}


def _type(kind: pl.DataType) -> str:
    return next(name for each, name in TYPES.items() if kind == each)
