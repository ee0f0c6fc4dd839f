"""What a segment must not call: whatever answers differently for the same tables and the same `$as_of`.

A segment is a function of its inputs and `$as_of`; otherwise neither a case nor `--as-of` means
anything. The same rule keeps out what looks at the session and its settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import duckdb
from sqlglot import exp

from pipelines.errors import Problem

OF_TODAY = "age() of one time"
# Macros over functions that are not stable, or about the session: DuckDB knows no stability of these.
NAMED = frozenset({
    OF_TODAY, "ago", "getenv", "version", "current_user", "current_role", "session_user", "user",
    "current_catalog", "json_execute_serialized_sql",
})  # fmt: skip
FAMILIES = ("duckdb_", "pg_", "pragma_", "inet_", "has_", "enable_", "disable_")
# Words without brackets, which DuckDB reads as columns until it knows better.
WORDS = (
    exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.Localtimestamp, exp.Localtime,
    exp.CurrentUser, exp.SessionUser, exp.CurrentRole, exp.CurrentCatalog, exp.CurrentSchema,
)  # fmt: skip


def volatile(select: exp.Query, sql: str) -> list[Problem]:
    """A problem for every call in a query whose answer is not fixed by its inputs and `$as_of`."""
    found: dict[str, str] = {}
    for name, at in _functions(sql):
        if _is_volatile(name):
            found.setdefault(name if " " in name else f"{name}()", _line(sql, at))
    for word in (each.sql(dialect="duckdb").removesuffix("()") for each in select.find_all(*WORDS)):
        stands = re.search(rf"\b{word}\b", sql, re.IGNORECASE)
        found.setdefault(word.lower(), _line(sql, stands.start() if stands else 0))
    problems = [Problem(line, f"{name} {_told(name)}") for name, line in sorted(found.items())]
    if select.find(exp.TableSample):
        problems.append(Problem("using sample", "draws anew each time; order by a hash and limit"))
    return problems


def _told(name: str) -> str:
    is_time = any(word in name for word in ("now", "date", "time", "today", "ago"))
    return "is not the same each time; use $as_of" if is_time else "is not fixed by the tables read"


def _line(sql: str, offset: int) -> str:
    return f"line {sql.count(chr(10), 0, offset) + 1}"


def _is_volatile(name: str) -> bool:
    return name in _unstable() or name in NAMED or name.startswith(FAMILIES)


@cache
def _unstable() -> frozenset[str]:
    """The functions that DuckDB itself says may differ between queries, or within one.

    Every form of them: subtracting times with a zone differs with the session's zone, which is UTC.
    """
    rows = (
        _parser()
        .execute(
            "select function_name from duckdb_functions() where stability is not null"
            " group by function_name having bool_and(stability <> 'CONSISTENT')"
        )
        .fetchall()
    )
    return frozenset(str(row[0]) for row in rows)


def _functions(sql: str) -> Iterator[tuple[str, int]]:
    """Every function a statement calls, by the name DuckDB knows it under, and where it stands."""
    row = _parser().execute("select json_serialize_sql(?::varchar)", [sql]).fetchone()
    encoded = sql.encode()
    for name, at in _called(json.loads(row[0]) if row else {}):
        yield name, len(encoded[:at].decode(errors="ignore"))  # DuckDB counts bytes


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def _parser() -> duckdb.DuckDBPyConnection:
    # A cursor of its own for each caller: connections are not shared between threads.
    return _memory().cursor()


def _called(node: Any) -> Iterator[tuple[str, int]]:
    if isinstance(node, dict):
        if isinstance(node.get("function_name"), str):
            name = node["function_name"].lower()
            # The age of one time alone is counted from today.
            shown = OF_TODAY if name == "age" and len(node.get("arguments", [])) == 1 else name
            yield shown, int(node.get("query_location") or 0)
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _called(each)
