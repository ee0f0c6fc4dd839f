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

from pipelines.segments import landlock, shape

MIB = 1024 * 1024
PR_SET_PDEATHSIG = 1  # linux/prctl.h
ANSWER, ROWS, SPILL = "answer.json", "rows.parquet", "spill"
EXAMPLES, PROBED_ROWS = 5, 20
# Of the addresses a process may have, Python and DuckDB take 190 MiB before a query; and a query holds
# up to 0.3 of what it may more than DuckDB counts. With more than the rest it would not spill but end.
OF_ITSELF_MIB, LEAST_MIB = 250, 64


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


class ViewFailed(Exception):
    """A file that the query stands on cannot be run: which, and what DuckDB says."""


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


def _connected() -> Any:
    """A connection that knows no job yet. It has this one thread: what shuts it in holds for threads
    started later.
    """
    import duckdb

    connection = duckdb.connect(config={"threads": 1, "async_threads": 0})
    for setting in (
        "timezone = 'UTC'",
        "python_enable_replacements = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "preserve_insertion_order = false",
        "enable_progress_bar = false",
    ):
        connection.execute(f"set {setting}")
    return connection


def _locked(connection: Any, job: dict[str, Any]) -> None:
    """Leave the connection the views, and no other file, no network, and no setting.

    Views are made behind the lock: what another file says is no more trusted than the query.
    """
    import duckdb

    folder, limits = job["folder"], job["limits"]
    memory = max(LEAST_MIB, (int(limits["memory_mib"]) - OF_ITSELF_MIB) * 7 // 10)
    connection.execute(f"set memory_limit = '{memory}MiB'")
    connection.execute(f"set threads = {int(limits['threads'])}")
    connection.execute("set temp_directory = $spill", {"spill": f"{folder}/{SPILL}"})
    connection.execute(f"set max_temp_directory_size = '{int(limits['output_mib'])}MiB'")
    files = [*job["files"], f"{folder}/{ROWS}"]
    connection.execute("set allowed_paths = $files", {"files": files})
    connection.execute("set enable_external_access = false")
    for name, text in job["views"]:
        layer, _, table = name.partition(".")
        connection.execute(f'create schema if not exists "{layer}"')
        try:
            _require_select(connection, text)
            connection.execute(f'create view "{layer}"."{table}" as {text}')
        except (duckdb.Error, ValueError) as error:
            raise ViewFailed(name, str(error)) from error
    connection.execute("set lock_configuration = true")


def _require_select(connection: Any, sql: str) -> None:
    """Raise ValueError for anything that would do more than a SELECT inside another statement."""
    import duckdb

    # The module's own function would open a connection of its own, for 15 ms.
    read = connection.extract_statements(sql)
    if len(read) != 1 or read[0].type != duckdb.StatementType.SELECT:
        raise ValueError("Parser Error: it is not one SELECT")


def _columns(connection: Any, sql: str) -> list[tuple[str, str]]:
    found = connection.execute(f"describe {sql}").fetchall()
    return [(str(row[0]), str(row[1])) for row in found]


def _rows(job: dict[str, Any], connection: Any) -> dict[str, Any]:
    """Write the rows, then run the assertions on them."""
    columns = _columns(connection, job["sql"])
    refused = shape.refusals(columns, of_contacts=job["of_contacts"])
    if refused:
        return {"refused": refused}
    path, before = f"{job['folder']}/{ROWS}", _bytes_read()
    listed = shape.kept(columns, of_contacts=job["of_contacts"])
    # The query keeps its lines, so that an error points at the line of its file.
    connection.execute(f"copy (select {listed} from ({job['sql']}\n)) to '{path}' (format parquet)")
    answer: dict[str, Any] = {"bytes_read": _bytes_read() - before}
    if job["of_contacts"]:
        connection.execute(f"create temp view members as from read_parquet('{path}')")
    answer["assertions"] = {n: _asserted(connection, sql) for n, sql in job["assertions"].items()}
    return answer


def _asserted(connection: Any, sql: str) -> dict[str, Any]:
    count = connection.execute(f"select count(*) from ({sql}\n)").fetchone()[0]
    return {"rows": count, "examples": _first(connection, sql, EXAMPLES)["rows"] if count else []}


def _first(connection: Any, sql: str, rows: int) -> dict[str, Any]:
    found = connection.execute(f"select * from ({sql}\n) limit {rows}")
    columns, kinds = zip(*((each[0], str(each[1])) for each in found.description), strict=True)
    return {"columns": columns, "kinds": kinds, "rows": found.fetchall()}


def _probed(connection: Any, sql: str) -> dict[str, Any]:
    """The first rows of a probe; nothing of one that has no such column to ask for."""
    import duckdb

    try:
        return _first(connection, sql, PROBED_ROWS)
    except duckdb.BinderException:
        return {}


def _plan(job: dict[str, Any], connection: Any) -> dict[str, Any]:
    # In brackets: at the top a CTE may be a COPY.
    found = connection.execute(f"explain (analyze, format json) from ({job['sql']}\n)").fetchall()
    return {"plan": json.loads(found[0][1])}


def _bytes_read() -> int:
    with open("/proc/self/io") as counters:  # noqa: PTH123
        return int(counters.readline().split()[1])


def _answer(connection: Any, job: dict[str, Any]) -> dict[str, Any]:
    _locked(connection, job)
    for sql in (job["sql"], *job["assertions"].values(), *(each[1] for each in job["probes"])):
        _require_select(connection, sql)
    match job["action"]:
        case "rows":
            return _rows(job, connection)
        case "columns":
            return {"columns": _columns(connection, job["sql"])}
        case "plan":
            return _plan(job, connection)
        case "probes":
            return {"probes": [[name, _probed(connection, sql)] for name, sql in job["probes"]]}
    raise ValueError(f"there is no action {job['action']}")


def _told(error: Exception, limits: dict[str, Any]) -> str:
    """What went wrong, as DuckDB words it; of a limit, which one."""
    import duckdb

    told = str(error) or type(error).__name__
    if "File too large" in told or "max_temp_directory_size" in told:
        return f"Limit Error: it writes more than its limit of {limits['output_mib']:,} MiB"
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
        return f"Limit Error: it needs more memory than its limit of {limits['memory_mib']:,} MiB"
    return told


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
        connection = _connected()
        with open(jobs, encoding="utf-8") as given:
            job = json.loads(given.readline())
        _limit(job["limits"])
        try:
            _shut_in(job)
            answer = _answer(connection, job)
        except ViewFailed as failed:
            answer = {"view": failed.args[0], "error": failed.args[1]}
        except (duckdb.Error, MemoryError, OSError, ValueError) as error:
            answer = {"error": _told(error, job["limits"])}
        path = f"{job['folder']}/{ANSWER}"
        with open(f"{path}.part", "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(answer, file, default=str)
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
