"""A process of its own that runs one SELECT of somebody we do not trust.

Started as `python -m pipelines.segments.sandbox`. Reads one job (JSON) on stdin, runs it on a
DuckDB that can reach nothing but the pinned files, writes the rows to an Arrow file and one JSON answer to
stdout. Limits are the operating system's: DuckDB's own memory limit is none.
"""

from __future__ import annotations

import ctypes
import json
import resource
import signal
import sys
from dataclasses import asdict, dataclass
from typing import Any

MIB = 1024 * 1024
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Limits:
    """What one query may use."""

    memory_mib: int = 6_000  # address space of the process
    cpu_seconds: int = 120
    wall_seconds: float = 120.0
    output_mib: int = 2_000


@dataclass(frozen=True)
class Job:
    """One query: its SQL, a SELECT per view, the files they read, the time it asks about."""

    sql: str
    views: dict[str, str]
    files: list[str]
    as_of: str | None
    output: str
    limits: Limits

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def _limit(limits: dict[str, Any]) -> None:
    memory = int(limits["memory_mib"]) * MIB
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    cpu = int(limits["cpu_seconds"])
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    size = int(limits["output_mib"]) * MIB
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The query ends with whoever asked for it, however they end.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _locked(job: dict[str, Any]) -> Any:
    """A connection with the views, that can open no other file, no network, and no setting."""
    import duckdb

    memory = f"{int(job['limits']['memory_mib']) * 2 // 3}MiB"
    connection = duckdb.connect(config={"memory_limit": memory, "threads": 2})
    connection.execute("set timezone = 'UTC'; set python_enable_replacements = false")
    connection.execute(
        "set autoinstall_known_extensions = false; set autoload_known_extensions = false"
    )
    for name, select in job["views"].items():
        layer, _, table = name.partition(".")
        connection.execute(f'create schema if not exists "{layer}"')
        connection.execute(f'create view "{layer}"."{table}" as {select}')
    connection.execute("set allowed_paths = $files", {"files": job["files"]})
    connection.execute("set enable_external_access = false; set lock_configuration = true")
    return connection


def _run(job: dict[str, Any]) -> dict[str, Any]:
    from datetime import datetime

    import pyarrow as pa

    connection = _locked(job)
    parameters = {"as_of": datetime.fromisoformat(job["as_of"])} if job["as_of"] else None
    reader = connection.execute(job["sql"], parameters).to_arrow_reader(100_000)
    rows = 0
    with pa.OSFile(job["output"], "wb") as sink, pa.ipc.new_file(sink, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return {"rows": rows}


def main() -> int:
    job = json.load(sys.stdin)
    _limit(job["limits"])
    import duckdb

    try:
        answer = _run(job)
    except (duckdb.Error, MemoryError, OSError, ValueError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
