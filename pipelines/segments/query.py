"""What a job asks, answered on a connection that reaches nothing but what the job may read.

Runs in the sandbox's child: nothing here limits or shuts in the process, see sandbox.py.
"""

from __future__ import annotations

import json
from typing import Any

from pipelines.segments import shape

ROWS, SPILL = "rows.parquet", "spill"
EXAMPLES, PROBED_ROWS = 5, 20
# Of the addresses a process may have, Python and DuckDB take 190 MiB before a query; and a query holds
# up to 0.3 of what it may more than DuckDB counts. With more than the rest it would not spill but end.
OF_ITSELF_MIB, LEAST_MIB = 250, 64


class ViewFailed(Exception):
    """A file that the query stands on cannot be run: which, and what DuckDB says."""


def connected() -> Any:
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


def lock(connection: Any, job: dict[str, Any]) -> None:
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


def answered(connection: Any, job: dict[str, Any]) -> dict[str, Any]:
    lock(connection, job)
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
