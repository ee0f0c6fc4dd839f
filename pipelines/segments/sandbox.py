"""A process that runs SQL of somebody we do not trust, on a DuckDB that reaches nothing else.

Started as `python -m pipelines.segments.sandbox` and kept ready: it holds DuckDB loaded, reads one job a
line on stdin, and forks a child for each that gets its limits, loses the file system and the network, and
ends with the query. So no query meets what another left behind, and none waits for a start. (It may
fork: it has one thread, and neither Polars nor delta-rs.) Limits are the operating system's: DuckDB's own
memory limit is none.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import sysconfig
from dataclasses import asdict, dataclass, field
from typing import Any

from pipelines.segments import landlock, shape

MIB = 1024 * 1024
PR_SET_PDEATHSIG = 1  # linux/prctl.h
ANSWER, ROWS, SPILL = "answer.json", "rows.parquet", "spill"
EXAMPLES, PROBED_ROWS = 5, 20


@dataclass(frozen=True)
class Limits:
    """What one query may use."""

    memory_mib: int = 6_000  # address space of the process
    cpu_seconds: int = 240
    wall_seconds: float = 120.0
    output_mib: int = 4_000  # of one file, its rows or what it spills
    threads: int = 2


@dataclass(frozen=True)
class Job:
    """One query and what it may read.

    action      rows (write them to ROWS in the folder) | columns | plan | probes
    views       (table, SELECT) in the order they stand on each other
    of_contacts the rows are members: checked against `core.contacts`
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
    landlock.restrict(read=[*job["files"], *there], write=[job["folder"]])


def _locked(job: dict[str, Any]) -> Any:
    """A connection with the views, that can open no other file, no network, and no setting."""
    import duckdb

    folder, limits = job["folder"], job["limits"]
    memory = f"{int(limits['memory_mib']) * 2 // 3}MiB"
    connection = duckdb.connect(config={"memory_limit": memory, "threads": int(limits["threads"])})
    for setting in (
        "timezone = 'UTC'",
        "python_enable_replacements = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "preserve_insertion_order = false",
        "enable_progress_bar = false",
    ):
        connection.execute(f"set {setting}")
    connection.execute("set temp_directory = $spill", {"spill": f"{folder}/{SPILL}"})
    for name, text in job["views"]:
        layer, _, table = name.partition(".")
        connection.execute(f'create schema if not exists "{layer}"')
        try:
            connection.execute(f'create view "{layer}"."{table}" as {text}')
        except duckdb.Error as error:
            raise ViewFailed(name, str(error)) from error
    files = [*job["files"], f"{folder}/{ROWS}"]
    connection.execute("set allowed_paths = $files", {"files": files})
    connection.execute("set enable_external_access = false; set lock_configuration = true")
    return connection


def _columns(connection: Any, sql: str) -> list[tuple[str, str]]:
    found = connection.execute(f"describe {sql}").fetchall()
    return [(str(row[0]), str(row[1])) for row in found]


def _rows(job: dict[str, Any], connection: Any) -> dict[str, Any]:
    """Write the rows, then count what is wrong with them."""
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
        answer["audit"] = _audit(connection)
    answer["assertions"] = {n: _asserted(connection, sql) for n, sql in job["assertions"].items()}
    return answer


def _audit(connection: Any) -> dict[str, Any]:
    """Counts of members without an id, more than once, and unknown, with examples of the last two."""
    one = "select count(*), count(contact_id), count(distinct contact_id) from members"
    rows, filled, distinct = connection.execute(one).fetchone()
    audit = {"rows": rows, "empty": rows - filled, "twice": [], "unknown": [], "unknown_count": 0}
    if distinct < filled:
        many = "select contact_id from members group by contact_id having count(contact_id) > 1"
        audit["twice"] = _some(connection, many)
        audit["twice_count"] = connection.execute(f"select count(*) from ({many})").fetchone()[0]
    strange = (
        "select distinct contact_id from members as m anti join core.contacts as c"
        " on m.contact_id = c.contact_id where m.contact_id is not null"
    )
    known = "select count(*) from members semi join core.contacts using (contact_id)"
    if connection.execute(known).fetchone()[0] < filled:
        audit["unknown"] = _some(connection, strange)
        audit["unknown_count"] = connection.execute(f"select count(*) from ({strange})").fetchone()[
            0
        ]
    return audit


def _some(connection: Any, sql: str) -> list[int]:
    found = connection.execute(f"{sql} order by all limit {EXAMPLES}").fetchall()
    return [int(row[0]) for row in found]


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
    found = connection.execute(f"explain (analyze, format json) {job['sql']}").fetchall()
    return {"plan": json.loads(found[0][1])}


def _bytes_read() -> int:
    with open("/proc/self/io") as counters:  # noqa: PTH123
        return int(counters.readline().split()[1])


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    connection = _locked(job)
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


def _child(text: str) -> None:
    """Run one job and leave its answer in its folder. Never returns."""
    import duckdb

    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # ends with whoever forked it
        job = json.loads(text)
        _limit(job["limits"])
        _shut_in(job)
        try:
            answer = _answer(job)
        except ViewFailed as failed:
            answer = {"view": failed.args[0], "error": failed.args[1]}
        except (duckdb.Error, MemoryError, OSError, ValueError) as error:
            answer = {"error": str(error) or type(error).__name__}
        path = f"{job['folder']}/{ANSWER}"
        with open(f"{path}.part", "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(answer, file, default=str)
        os.rename(f"{path}.part", path)  # noqa: PTH104
        code = 0
    finally:
        os._exit(code)


def _wait(child: int) -> tuple[int, int] | None:
    """How the child ended and its peak of memory in KiB; None when nobody waits for it any more."""
    handle = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([handle, sys.stdin], [], [])
        if sys.stdin in ready and handle not in ready:
            os.kill(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
    finally:
        os.close(handle)
    return (os.waitstatus_to_exitcode(status), used.ru_maxrss) if handle in ready else None


def main() -> int:
    """Serve jobs until stdin ends, which it does when whoever started this ends."""
    # Loaded here once, for every child: what DuckDB makes Python's values of.
    import datetime  # noqa: F401
    import decimal  # noqa: F401
    import zoneinfo

    import duckdb  # noqa: F401

    zoneinfo.ZoneInfo("UTC")

    # One line a job, read whole: nothing of the next may lie in a buffer when a child is forked.
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if child == 0:
            _child(line)
        ended = _wait(child)
        if ended is None:
            return 0
        sys.stdout.write(json.dumps({"code": ended[0], "peak_kib": ended[1]}) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
