"""How DuckDB ran a query, in plain words: its costly steps, most costly first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.lake import Lake
from pipelines.segments import pool
from pipelines.segments.project import SqlFiles
from pipelines.segments.run import ask, question
from pipelines.segments.segment import SqlFile

SHOWN = 8
# Steps of less than this share of the time cost nothing worth knowing.
WORTH_SHOWING = 0.005
# Columns by number, and types that are no news.
NOTHING_TO_A_READER = re.compile(
    r"::TIMESTAMP WITH TIME ZONE| FILTER \(WHERE #\d+\)| Filter: #\d+|\((#\d+(, )?)+\)"
)
LONGEST = 90
JOINS = {
    "INNER": "joins", "LEFT": "joins (keeping rows without a match)", "SEMI": "keeps rows that have a match",
    "RIGHT_SEMI": "keeps rows that have a match", "ANTI": "keeps rows that have no match",
    "RIGHT_ANTI": "keeps rows that have no match", "MARK": "marks rows that have a match",
}  # fmt: skip


EVERY_WITH_EVERY = ("CROSS_PRODUCT", "NESTED_LOOP_JOIN", "BLOCKWISE_NL_JOIN")
PLAIN = {
    "RESULT_COLLECTOR": "", "EXPLAIN_ANALYZE": "", "PROJECTION": "computes columns",
    "CTE": "keeps the rows of a CTE for later", "CTE_SCAN": "reads a CTE's rows again",
    "UNION": "puts rows together", "EMPTY_RESULT": "knows beforehand that there is no row",
}  # fmt: skip


@dataclass(frozen=True)
class Input:
    """A table of the lake that is read: its version, when that was written, its rows and bytes."""

    table: str
    version: int | None
    changed_at: datetime | None
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Step:
    """One step of the plan: what it does, the rows it gives, and its seconds of processor time."""

    what: str
    rows: int
    seconds: float


@dataclass(frozen=True)
class Explained:
    """What a file reads, the files it stands on, and what running it costs."""

    inputs: list[Input]
    stands_on: list[str]
    steps: list[Step]
    seconds: float
    bytes_read: int
    peak_mib: float


def explain(
    file: SqlFile,
    *,
    lake: Lake,
    as_of: datetime,
    files: SqlFiles,
    pins: Mapping[str, int] | None = None,
) -> Explained:
    """Run a file once and tell what it cost. Raises SegmentFailed."""
    asked = question(file, lake=lake, as_of=as_of, files=files, pins=pins)
    with pool.job_folder() as folder:
        answer = ask(asked, "plan", folder)
    plan = answer.content["plan"]
    found = [_step(node, lake) for node in _nodes(plan["operator"])]
    seconds = sum(each.seconds for each in found)
    worth = [each for each in found if each.what and each.seconds >= WORTH_SHOWING * seconds]
    costly = sorted(worth, key=lambda each: -each.seconds)
    inputs = [
        Input(
            name,
            s.version,
            lake.changed_at(name, s.version),
            lake.count(name, s.version),
            lake.size(name, s.version),
        )
        for name, s in asked.snapshots.items()
        if name in files.tables((file, *files.behind(file)))
    ]
    return Explained(
        inputs,
        [each.table for each in files.behind(file)],
        costly[:SHOWN],
        seconds,
        int(plan["io"]["total_bytes_read"]),
        answer.peak_mib,
    )


def _nodes(operators: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for node in operators:
        yield node
        yield from _nodes(node.get("children", []))


def _step(node: Mapping[str, Any], lake: Lake) -> Step:
    about = {name: _flat(value) for name, value in node.get("extra_info", {}).items()}
    return Step(
        _words(str(node["name"]), about, lake),
        int(node["intermediate_rows"]),
        float(node["timing"]),
    )


def _words(name: str, about: Mapping[str, str], lake: Lake) -> str:
    """What a step does; empty for those that do nothing a reader could change."""
    if "PARQUET" in name or "PARQUET" in about.get("Function", ""):
        return _scan(about, lake)
    if name.endswith("GROUP_BY"):
        return "groups rows" + (
            f" and computes {about['Aggregates']}" if about.get("Aggregates") else ""
        )
    if name in EVERY_WITH_EVERY:
        return "compares every row with every other: add a condition of equality"
    if name.endswith("JOIN"):
        how = JOINS.get(about.get("Join Type", ""), f"joins ({about.get('Join Type', '').lower()})")
        return f"{how} on {about['Conditions']}" if about.get("Conditions") else how
    if name in ("WINDOW", "STREAMING_WINDOW"):
        return f"ranks or numbers rows: {about.get('Projections', '')}"
    if name in ("ORDER_BY", "TOP_N"):
        return f"sorts rows by {about.get('Order By', '')}"
    if name == "FILTER":
        return _where(about.get("Expression", ""))
    if name in PLAIN:
        return PLAIN[name]
    return name.lower().replace("_", " ")


def _where(expression: str) -> str:
    # A column by its number says nothing to a reader.
    return "keeps some rows" if "#" in expression else f"keeps rows where {expression}"


def _scan(about: Mapping[str, str], lake: Lake) -> str:
    root = re.escape(str(lake.root))
    found = re.search(rf"{root}/(\w+)/(\w+)/", about.get("Filename(s)", ""))
    table = f"{found[1]}.{found[2]}" if found else "tables"
    columns = about.get("Projections", "")
    filters = about.get("Filters", "")
    only = f", only where {_short(filters)}" if filters else ""
    return f"reads {table} ({_short(columns) or 'no column'}){only}"


def _flat(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if "/" in text else _short(text)


def _short(text: str) -> str:
    plain = NOTHING_TO_A_READER.sub("", text)
    if plain.startswith("(") and plain.endswith(")"):
        plain = plain[1:-1]
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…"
