"""What a segment must not do, as DuckDB reads it: call what is not fixed, or read what nobody saw.

A segment is a function of its inputs and `$as_of`; otherwise neither a case nor `--as-of` means
anything. The same rule keeps out what looks at the session and its settings. And where sqlglot, which
names the tables, can be led astray, DuckDB's own reading of the text is what counts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from functools import cache, lru_cache
from typing import Any

import duckdb
from sqlglot import exp

from pipelines.errors import Problem

OF_TODAY = "age() of one time"
# Macros over functions that are not stable, or about the session: DuckDB knows no stability of these.
NAMED = frozenset({
    OF_TODAY, "ago", "getenv", "version", "current_user", "current_role", "session_user", "user",
    "current_catalog", "json_execute_serialized_sql", "json_serialize_plan",
})  # fmt: skip
FAMILIES = ("duckdb_", "pg_", "pragma_", "inet_", "has_", "enable_", "disable_")
# Words without brackets, quoted or not: columns for DuckDB, until there is no such column.
WORDS = frozenset({
    "current_timestamp", "current_date", "current_time", "localtimestamp", "localtime", "current_user",
    "session_user", "user", "current_role", "current_catalog", "current_schema",
})  # fmt: skip
# What a SELECT is made of. A CTE may also be an INSERT, UPDATE, DELETE or COPY.
QUERIES = ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE")


def volatile(select: exp.Query, sql: str) -> list[Problem]:
    """A problem for every call in a query whose answer is not fixed by its inputs and `$as_of`."""
    found: dict[str, str] = {}
    for name, node in _called(sql):
        if name in WORDS or _is_volatile(name.removesuffix("()")):
            found.setdefault(name, _line(sql, node))
    problems = [Problem(line, f"{name} {_told(name)}") for name, line in sorted(found.items())]
    if select.find(exp.TableSample):
        problems.append(Problem("using sample", "draws anew each time; order by a hash and limit"))
    return problems


def unseen(sql: str, seen: Collection[str]) -> list[Problem]:
    """What DuckDB would read or do besides reading these tables and CTEs (names in small letters)."""
    if "statements" not in _tree(sql):
        return [Problem("SQL", "DuckDB does not tell what it reads there; write it plainer")]
    found: dict[str, str] = {}
    for node in _nodes(_tree(sql)):
        if told := _beside(node, seen):
            found.setdefault(told, _line(sql, node))
    return [Problem(line, told) for told, line in found.items()]


def _beside(node: dict[str, Any], seen: Collection[str]) -> str | None:
    """What a node of DuckDB's tree reads or does that is not in `seen`."""
    of_rows = None
    match node:
        case {"type": "BASE_TABLE", "qualified_name": {"path": path}}:
            name = ".".join(path)
            if name.lower() not in seen:
                return f"'{name}' is not a table that can be read here"
        case {"type": "TABLE_FUNCTION", "function": {"function_name": str(name)}}:
            of_rows = name.lower()
        case {"function_name": str(name)} if name.lower() in _of_tables():
            of_rows = name.lower()
        case {"type": "SHOW_REF"}:
            return "shows or summarises tables; read their rows"
        case {"type": str(kind)} if kind.endswith("_NODE") and kind not in QUERIES:
            return f"holds {kind.split('_')[0]}; a file holds exactly one SELECT"
    if of_rows and of_rows != "unnest":
        return f"{of_rows}() is a table function; only tables of the lake are read"
    return None


def parameters(sql: str) -> list[tuple[int, str]]:
    """Where each parameter stands, and its name."""
    found = (node for node in _nodes(_tree(sql)) if node.get("class") == "PARAMETER")
    return sorted((_offset(sql, node), str(node["identifier"])) for node in found)


@cache
def own_views() -> frozenset[str]:
    """The names that DuckDB reads without a schema though nobody made them, such as sqlite_master."""
    rows = _parser().execute("select view_name from duckdb_views() where internal").fetchall()
    return frozenset(str(row[0]) for row in rows)


def _told(name: str) -> str:
    is_time = any(word in name for word in ("now", "date", "time", "today", "ago"))
    return "is not the same each time; use $as_of" if is_time else "is not fixed by the tables read"


def _line(sql: str, node: Any) -> str:
    return f"line {sql.count(chr(10), 0, _offset(sql, node)) + 1}"


def _offset(sql: str, node: Any) -> int:
    encoded = sql.encode()  # DuckDB counts bytes
    at = int(node.get("query_location", len(encoded)))
    if at >= len(encoded):  # of what has no place: the first word
        return len(sql) - len(sql.lstrip())
    return len(encoded[:at].decode(errors="ignore"))


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


@cache
def _of_tables() -> frozenset[str]:
    """The functions that give rows, and no value."""
    rows = (
        _parser()
        .execute(
            "select function_name from duckdb_functions() group by function_name"
            " having bool_and(function_type in ('table', 'table_macro', 'pragma'))"
        )
        .fetchall()
    )
    return frozenset(str(row[0]) for row in rows)


@lru_cache(maxsize=4)
def _tree(sql: str) -> dict[str, Any]:
    """The statement as DuckDB parsed it; without `statements` when it cannot say."""
    row = _parser().execute("select json_serialize_sql(?::varchar)", [sql]).fetchone()
    return dict(json.loads(row[0])) if row else {}


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def _parser() -> duckdb.DuckDBPyConnection:
    # A cursor of its own for each caller: connections are not shared between threads.
    return _memory().cursor()


def _called(sql: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every function a statement calls, by the name DuckDB knows it under, and every word that is one."""
    for node in _nodes(_tree(sql)):
        match node:
            # The age of one time alone is counted from today.
            case {"function_name": str(name), "arguments": [_]} if name.lower() == "age":
                yield OF_TODAY, node
            case {"function_name": str(name)}:
                yield f"{name.lower()}()", node
            case {"class": "COLUMN_REF", "column_names": [str(name)]} if name.lower() in WORDS:
                yield name.lower(), node


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for each in tree:
            yield from _nodes(each)
