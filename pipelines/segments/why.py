"""Why one contact is in a segment or not: where they are present on the way through its query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlglot
from sqlglot.tokenizer_core import Token, TokenType

from pipelines.lake import Lake
from pipelines.segments import pool
from pipelines.segments.project import SqlFiles
from pipelines.segments.run import ask, question
from pipelines.segments.segment import Segment


@dataclass(frozen=True)
class Stage:
    """One table, file, CTE or the final SELECT, and this contact's rows in it.

    kind   table | file | cte | result
    rows   the first of them; None where there is no contact_id to look for
    """

    kind: str
    name: str
    columns: list[str]
    rows: list[list[Any]] | None


def why(
    segment: Segment,
    contact_id: int,
    *,
    lake: Lake,
    as_of: datetime,
    files: SqlFiles,
    pins: Mapping[str, int] | None = None,
) -> list[Stage]:
    """The way of one contact through a segment, from its tables to its result. Raises SegmentFailed."""
    asked = question(segment, lake=lake, as_of=as_of, files=files, pins=pins)
    head, names = ctes(asked.sql)
    this = f"where try_cast(contact_id as bigint) = {int(contact_id)}"
    wanted: list[tuple[str, str, str]] = []
    for name in segment.inputs:
        kind = "table" if name in asked.snapshots else "file"
        wanted.append((kind, name, f"select * from {name} {this}"))
    wanted += [("cte", name, f'{head} select * from "{name}" {this}') for name in names]
    wanted.append(("result", segment.name, f"select * from ({asked.sql}\n) {this}"))
    with pool.job_folder() as folder:
        probes = [(str(number), sql) for number, (_, _, sql) in enumerate(wanted)]
        answer = ask(asked, "probes", folder, probes=probes)
    return [
        Stage(kind, name, found.get("columns", []), _typed(found))
        for (kind, name, _), (_, found) in zip(wanted, answer.content["probes"], strict=True)
    ]


def _typed(found: dict[str, Any]) -> list[list[Any]] | None:
    """Rows whose times and dates, which crossed as texts, are times and dates again."""
    if "rows" not in found:
        return None
    kinds = found["kinds"]
    return [[_value(v, kind) for v, kind in zip(row, kinds, strict=True)] for row in found["rows"]]


def _value(value: Any, kind: str) -> Any:
    if value is None or kind.endswith("]") or not kind.startswith(("TIMESTAMP", "DATE")):
        return value
    return (datetime if kind.startswith("TIMESTAMP") else date).fromisoformat(value)


def lost_at(stages: list[Stage]) -> Stage | None:
    """The first CTE, or the result, from which on this contact is nowhere; None when they are in it.

    Not being in a table is no loss: it may be what the query asks for.
    """
    if stages[-1].rows:
        return None
    last = max((at for at, each in enumerate(stages) if each.rows), default=-1)
    after = stages[last + 1 :]
    return next(each for each in after if each.kind in ("cte", "result") and each.rows == [])


def ctes(sql: str) -> tuple[str, list[str]]:
    """A query's WITH clause up to its own SELECT, and the names it defines, in order."""
    tokens = list(sqlglot.tokenize(sql, read="duckdb"))
    if not tokens or tokens[0].token_type is not TokenType.WITH:
        return "", []
    names, end = [], 0
    for name, end in _definitions(tokens):  # noqa: B007 - the last one's end is where they end
        names.append(name)
    return sql[: end + 1], names


def _definitions(tokens: list[Token]) -> Iterator[tuple[str, int]]:
    """Each name a WITH clause defines, and where its definition ends."""
    at = 1
    if tokens[at].token_type is TokenType.RECURSIVE:
        at += 1
    while at < len(tokens):
        name = tokens[at].text
        while tokens[at].token_type is not TokenType.ALIAS:  # over `name (columns)`, to its AS
            at += 1
        while tokens[at].token_type is not TokenType.L_PAREN:  # over `not materialized`
            at += 1
        at = _closing(tokens, at)
        yield name, tokens[at].end
        if at + 1 >= len(tokens) or tokens[at + 1].token_type is not TokenType.COMMA:
            return
        at += 2


def _closing(tokens: list[Token], at: int) -> int:
    """Where the bracket that opens at a token closes."""
    depth = 0
    for index in range(at, len(tokens)):
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(tokens[index].token_type, 0)
        if depth == 0:
            return index
    return len(tokens) - 1
