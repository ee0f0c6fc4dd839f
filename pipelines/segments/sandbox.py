"""A process that runs SQL of somebody we do not trust, on a DuckDB that reaches nothing else.

Started as `python -m pipelines.segments.sandbox` and kept ready: it holds DuckDB loaded and reads one job a
line on stdin. A child for each waits with a connection open; with its job it gets its limits, loses the
file system and the network, and ends with the query. So no query meets what another left behind, and
none waits for a start. (It may fork: it has one thread, and neither Polars nor delta-rs.) Limits are the
operating system's: DuckDB's own memory limit is none.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import shutil
import signal
import sys
import sysconfig
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from pipelines.segments import landlock, query

MIB = 1024 * 1024
PR_SET_PDEATHSIG = 1  # linux/prctl.h
ANSWER = "answer.json"
# Whoever asks reads the answer whole; rows are no part of it.
LONGEST_ANSWER = 4_000_000
# A query chooses part of what it says when it fails.
LONGEST_TOLD = 2000


@dataclass(frozen=True)
class Limits:
    """What one query may use."""

    memory_mib: int = 6_000  # address space of the process
    cpu_seconds: int = 240
    wall_seconds: float = 120.0
    output_mib: int = 2_000  # of its rows, and as much for all that it spills
    threads: int = 2


@dataclass(frozen=True)
class Job:
    """One query and what it may read.

    action      rows (write them to ROWS in the folder) | columns | plan | probes
    views       (table, SELECT) in the order they stand on each other
    of_contacts the rows are members, and have a contact_id
    assertions  name → SELECT over `members` that must return nothing
    probes      (name, SELECT), each answered by its first rows
    """

    action: str
    sql: str
    views: list[tuple[str, str]]
    files: list[str]
    folder: str
    limits: Limits
    of_contacts: bool = False
    assertions: dict[str, str] = field(default_factory=dict)
    probes: list[tuple[str, str]] = field(default_factory=list)

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


def _shut_in(job: dict[str, Any]) -> None:
    """Leave the pinned files, the job's folder, Python itself, and what says how many cores there are."""
    libraries = [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), "/lib", "/usr/lib"]
    machine = [
        "/proc/self",
        "/proc/meminfo",
        "/proc/cpuinfo",
        "/sys/fs/cgroup",
        "/sys/devices/system/cpu",
        "/usr/share/zoneinfo",
    ]
    there = {path for path in (*libraries, *machine) if os.path.exists(path)}  # noqa: PTH110
    try:
        landlock.restrict(read=[*job["files"], *there], write=[job["folder"]])
    except FileNotFoundError as error:
        told = "IO Error: a file of a version it reads is gone; its table may have been vacuumed"
        raise OSError(told) from error


def _told(error: Exception, limits: dict[str, Any]) -> str:
    """What went wrong, as DuckDB words it; of a limit, which one."""
    import duckdb

    told = str(error) or type(error).__name__
    if "File too large" in told or "max_temp_directory_size" in told:
        return f"Limit Error: it writes more than its limit of {limits['output_mib']:,} MiB"
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
        return f"Limit Error: it needs more memory than its limit of {limits['memory_mib']:,} MiB"
    return told


def _worded(answer: dict[str, Any]) -> str:
    """An answer as JSON. One that a query made long is not told: who asks would hold it whole."""
    if "error" in answer:
        answer["error"] = answer["error"][:LONGEST_TOLD]
    text = json.dumps(answer, default=str)
    if len(text) <= LONGEST_ANSWER:
        return text
    return json.dumps({"error": f"Limit Error: it tells more than {LONGEST_ANSWER:,} characters"})


def _keep_to_itself() -> None:
    """Nothing a query prints comes between the answers; the end that is kept says that it still runs."""
    os.dup(sys.stdout.fileno())
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdin, sys.stdout):
        os.dup2(null, stream.fileno())


def _child(jobs: int, told: int) -> None:
    """Wait for one job, run it, leave its answer in its folder and its peak in `told`. Never returns."""
    import duckdb

    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # ends with whoever forked it
        _keep_to_itself()
        connection = query.connected()
        with open(jobs, encoding="utf-8") as given:
            job = json.loads(given.readline())
        _limit(job["limits"])
        try:
            _shut_in(job)
            answer = query.answered(connection, job)
        except query.ViewFailed as failed:
            answer = {"view": failed.args[0], "error": failed.args[1]}
        except (duckdb.Error, MemoryError, OSError, ValueError) as error:
            answer = {"error": _told(error, job["limits"])}
        path = f"{job['folder']}/{ANSWER}"
        with open(f"{path}.part", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(_worded(answer))
        os.rename(f"{path}.part", path)  # noqa: PTH104
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        os.write(told, json.dumps({"code": 0, "peak_kib": peak}).encode() + b"\n")
        code = 0
    finally:
        os._exit(code)


@dataclass(frozen=True)
class Child:
    """A process that waits for its one job: where to write the job, and where it says that it is done."""

    pid: int
    jobs: int
    told: int


def _forked() -> Child:
    jobs_read, jobs_write = os.pipe()
    told_read, told_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(jobs_write)
        os.close(told_read)
        _child(jobs_read, told_write)
    os.close(jobs_read)
    os.close(told_write)
    return Child(pid, jobs_write, told_read)


def _given(child: Child, line: str) -> bytes:
    """Give a child its job. What it says when it ends; nothing when nobody waits for it any more."""
    with suppress(BrokenPipeError), open(child.jobs, "w", encoding="utf-8") as jobs:  # noqa: PTH123
        jobs.write(line)
    ready, _, _ = select.select([child.told, sys.stdin], [], [])
    if child.told not in ready:
        return b""
    with open(child.told, "rb", closefd=False) as told:
        if answer := told.readline():
            return answer
    ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    return json.dumps({"code": code, "peak_kib": 0}).encode() + b"\n"


def _end(child: Child) -> None:
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    os.close(child.told)


def main() -> int:
    """Serve jobs until stdin ends, which it does when whoever started this ends."""
    # Loaded here once, for every child: what DuckDB makes Python's values of.
    import datetime  # noqa: F401
    import decimal  # noqa: F401
    import zoneinfo

    import duckdb  # noqa: F401

    zoneinfo.ZoneInfo("UTC")

    folder = ""
    child = _forked()
    # One line a job, read whole: nothing of the next may lie in a buffer when a child is forked.
    for line in iter(sys.stdin.readline, ""):
        folder = json.loads(line)["folder"]
        answer = _given(child, line)
        if not answer:
            break
        try:
            # Before the child is gone: giving back the memory of a large query takes a while.
            os.write(sys.stdout.fileno(), answer)
        except BrokenPipeError:
            break
        _end(child)
        child = _forked()
    _end(child)
    # Who was killed while it asked removes nothing, and rows and spills are about people.
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
