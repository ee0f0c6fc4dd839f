"""The one SELECT of a SQL file: what it reads, which parameters it uses, and what is wrong with it.

sqlglot finds the tables and tells where; DuckDB, which will run it, must agree that it is one SELECT
of these tables, with parameters in the same places. Nothing is run here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from pipelines.errors import Problem, did_you_mean
from pipelines.schema import TABLES
from pipelines.segments.header import Value
from pipelines.segments.volatile import own_views, parameters, unseen, volatile

AS_OF = "as_of"
# Schemas whose tables may be read. The raw rows and what was refused are not for segmenting.
LAYERS = ("core", "segments", "marts", "campaigns")
# Read from the project's own files; what they name is known when the project is.
FILES = ("segments", "marts")
# DuckDB takes time and memory with the square of the open brackets: 540 MB for 2,000.
MOST_BRACKETS, LONGEST = 2_000, 200_000


@dataclass(frozen=True)
class Statement:
    """One SELECT. `sql` has as many lines before it as it has in its file, so that lines agree."""

    sql: str
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    code_hash: str
    warnings: tuple[Problem, ...] = ()


def read_statement(
    text: str,
    start: int,
    declared: Collection[str] | None,
    problems: list[Problem],
    *,
    passing: Collection[str] = (),
) -> Statement | None:
    """The SELECT that begins at `start` of a file's text. Adds everything wrong to problems.

    declared  the parameters the header declares; None when that is not known
    passing   tables without a schema that will be there when it runs
    """
    body = "\n" * text[:start].count("\n") + text[start:]
    tokens = _tokens(body, problems)
    if tokens is None:
        return None
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        body, tokens = body[: tokens[-1].start], tokens[:-1]
    try:
        select = _select(body, tokens, problems)
        if select is None:
            return None
        inputs = _inputs(select, body, passing, problems)
        used = _parameters(body, tokens, declared, problems)
        problems += volatile(select, body)
        normal = select.sql(dialect="duckdb", comments=False, normalize=True)
    except RecursionError:
        told = "is nested too deeply to be read; give inner parts a name in a WITH"
        problems.append(Problem(line_at(body, tokens[0].start), told))
        return None
    code_hash = hashlib.sha256(normal.encode()).hexdigest()[:16]
    return Statement(body.rstrip(), inputs, used, code_hash, tuple(_unknown_opens(select)))


def bind(sql: str, values: Mapping[str, Value | datetime]) -> str:
    """The statement with a literal in place of every parameter; lines stay where they are.

    A view has no parameters, and a segment that another one reads is a view.
    """
    tokens = sqlglot.tokenize(sql, read="duckdb")
    parts, last = [], 0
    for at, name in _uses(tokens):
        parts += [sql[last:at], literal(values[name])]
        last = at + 1 + len(name)
    bound = "".join([*parts, sql[last:]])
    # Where the two parsers see different strings, a value might end one: then nothing is run.
    statements = duckdb.extract_statements(bound)
    if len(statements) != 1 or statements[0].named_parameters:
        raise ValueError("a parameter stands where its value cannot be put")
    return bound


def literal(value: Value | datetime) -> str:
    """The value as DuckDB writes one of its type."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"({value!r})"
        case datetime():
            return f"timestamptz '{value.isoformat()}'"
        case date():
            return f"date '{value.isoformat()}'"
    return "'" + value.replace("'", "''") + "'"


def line_at(text: str, offset: int) -> str:
    """`line 12`. sqlglot's own count goes wrong behind a `$`."""
    return f"line {text.count(chr(10), 0, offset) + 1}"


def _tokens(body: str, problems: list[Problem]) -> list[Token] | None:
    if body.count("(") > MOST_BRACKETS or len(body) > LONGEST:
        told = f"has more than {MOST_BRACKETS:,} brackets or {LONGEST:,} letters; keep lists in a table"
        problems.append(Problem("SQL", told))
        return None
    if "{#" in body:  # a comment of Jinja's for sqlglot, the beginning of a map for DuckDB
        where = line_at(body, body.index("{#"))
        problems.append(Problem(where, "'{#' is read in two ways; put a space between"))
        return None
    try:
        return list(sqlglot.tokenize(body, read="duckdb"))
    except SqlglotError as error:
        told = f"cannot be read: {str(error).splitlines()[0]}"
        problems.append(_refused_by_duckdb(body) or Problem("SQL", told))
        return None


def _select(body: str, tokens: list[Token], problems: list[Problem]) -> exp.Query | None:
    """The one SELECT. sqlglot and DuckDB must agree that it is one."""
    where = line_at(body, tokens[0].start if tokens else len(body))
    only = "a file holds exactly one SELECT"
    try:
        statements = [each for each in sqlglot.parse(body, dialect="duckdb") if each is not None]
    except SqlglotError as error:
        problems.append(_refused_by_duckdb(body) or _syntax(error, body))
        return None
    if len(statements) != 1:
        told = "holds no statement" if not statements else f"holds {len(statements)} statements"
        problems.append(Problem(where, f"{told}; {only}"))
        return None
    if not isinstance(statements[0], exp.Query):
        word = tokens[0].text.upper()
        told = (
            f"is {type(statements[0]).__name__.upper() if word == 'WITH' else word}, not a SELECT"
        )
        problems.append(Problem(where, f"{told}; {only}"))
        return None
    if refused := _refused_by_duckdb(body):
        problems.append(refused)
        return None
    seen = duckdb.extract_statements(body)
    if len(seen) != 1 or seen[0].type != duckdb.StatementType.SELECT:
        problems.append(Problem(where, f"DuckDB does not read it as one SELECT; {only}"))
        return None
    return statements[0]


def _refused_by_duckdb(body: str) -> Problem | None:
    try:
        duckdb.extract_statements(body)
    except duckdb.Error as error:
        return said_by_duckdb(str(error))
    return None


def _syntax(error: SqlglotError, body: str) -> Problem:
    found = (getattr(error, "errors", None) or [{}])[0]
    word, context = str(found.get("highlight") or ""), str(found.get("start_context") or "")
    at = body.find(context + word) + len(context) if context + word else 0
    told = str(found.get("description") or "is not SQL").rstrip(".")
    return Problem(line_at(body, max(at, 0)), f"{told}, near '{word}'" if word else told)


def said_by_duckdb(message: str) -> Problem:
    """DuckDB's error as one problem: its first line with the near names, and the line it points at."""
    told, candidates, line = "", "", "SQL"
    for each in message.strip().splitlines():
        if found := re.match(r"LINE (\d+):", each):
            line = f"line {found[1]}"
            break
        if each.startswith(("Candidate bindings", "Did you mean")):
            candidates = ". " + each.replace("Candidate bindings", "There are")
        elif each and not told:
            told = re.sub(r"^(\w+ ){1,3}Error: ", "", each)
    return Problem(line, told.rstrip("!.") + candidates)


def _inputs(
    select: exp.Query, body: str, passing: Collection[str], problems: list[Problem]
) -> tuple[str, ...]:
    """The tables it reads, without its own CTEs; anything else that is read from is a problem."""
    own = {*passing, *(cte.alias_or_name.lower() for cte in select.find_all(exp.CTE))}
    before, names = len(problems), set[str]()
    # Outside its WITH such a name means something else: a file, or a view of DuckDB's own.
    for name in sorted(n for n in own if not re.fullmatch(r"[\w ]+", n) or n in own_views()):
        problems.append(
            Problem(f"with {name}", "means something else to DuckDB; name it otherwise")
        )
    for table in select.find_all(exp.Table):
        where = _place(table, body)
        if isinstance(table.this, exp.Func) or not isinstance(table.this, exp.Identifier):
            told = f"{table.sql(dialect='duckdb')} is a table function; only tables of the lake are read"
            problems.append(Problem(where, told))
            continue
        full = ".".join(part for part in (table.catalog, table.db, table.name) if part)
        if not table.db and table.name.lower() in own:
            continue
        is_file = table.db in FILES and re.fullmatch(r"\w+", table.name)
        if not table.catalog and (full in TABLES or is_file) and table.db in LAYERS:
            names.add(full)
            continue
        known = sorted(name for name in TABLES if name.startswith(LAYERS))
        told = f"'{full}' is not a table that can be read here.{did_you_mean(full, known)}"
        problems.append(Problem(where, told))
    if len(problems) == before:
        problems += unseen(body, own | names)
    return tuple(sorted(names))


def _place(table: exp.Table, body: str) -> str:
    start = table.this.meta.get("start") if isinstance(table.this, exp.Expression) else None
    found = next((n.meta["start"] for n in table.walk() if "start" in n.meta), None)
    return line_at(body, start if start is not None else found or 0)


def _uses(tokens: list[Token]) -> list[tuple[int, str]]:
    """Where each parameter stands: the offset of its `$`, and its name."""
    return [
        (token.start, after.text)
        for token, after in pairwise(tokens)
        if token.token_type is TokenType.PARAMETER and token.end + 1 == after.start
    ]


def _parameters(
    body: str, tokens: list[Token], declared: Collection[str] | None, problems: list[Problem]
) -> tuple[str, ...]:
    uses = _uses(tokens)
    seen = {name for _, name in uses}
    if strange := set(uses) ^ set(parameters(body)):
        where = line_at(body, min(strange)[0])
        problems.append(Problem(where, "a parameter stands where it cannot be one, or has no name"))
    if declared is None:
        return tuple(sorted(seen))
    known = [AS_OF, *declared]
    there = ", ".join(f"${each}" for each in known)
    for at, name in uses:
        if name not in known:
            told = f"${name} is not declared in the header; there is {there}"
            problems.append(Problem(line_at(body, at), f"{told}.{did_you_mean(name, known)}"))
    unused = [name for name in declared if name not in seen]
    problems += [Problem(f"parameter {name}", "is declared and not used") for name in unused]
    return tuple(sorted(seen))


def _unknown_opens(select: exp.Query) -> list[Problem]:
    """An open is unknown, not false, for whoever was never sent a tracked message."""
    columns = {column.name for column in select.find_all(exp.Column)}
    words = {each.name for each in select.find_all(exp.Literal) if each.is_string}
    asks = any(name.startswith(("opened", "last_opened")) for name in columns) or "open" in words
    if not asks or any("tracked" in name for name in columns):
        return []
    told = (
        "asks who opened and not who could be seen to: without a tracked message in the window an open"
        " is unknown, not false; require one, such as core.engagement.last_tracked_sent_at"
    )
    return [Problem("opens", told)]
