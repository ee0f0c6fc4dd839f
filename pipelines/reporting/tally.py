"""Count one campaign in the lake: people by arm and fate, events, links, time.

Knows the queries of sql/reports and the shape of their rows. Draws no conclusion from them:
that is campaign_report.py's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb

from pipelines.lake import Lake, Pins
from pipelines.settings import CHECKOUT

QUERIES = CHECKOUT / "sql" / "reports"
TABLES = (
    "campaigns.audience",
    "campaigns.sends",
    "core.engagement_events",
    "core.orders",
    "core.suppressions",
)
# Longest reach of the events in seconds → width of a step: about 20 to 100 bars in a chart.
STEPS = ((60, 1), (600, 10), (3 * 3600, 300), (4 * 86400, 3600))
DAY_SECONDS = 86400


@dataclass(frozen=True)
class Arm:
    """The people of one variant, of the hold-out, or all to be mailed ('all')."""

    arm: str
    people: int = 0
    sent: int = 0
    bounced: int = 0
    delivered: int = 0
    tracked: int = 0  # delivered, and the person agreed that opens and clicks are seen
    opened: int = 0
    clicked: int = 0
    unsubscribed: int = 0
    complained: int = 0
    suppressed: int = 0
    ordered: int = 0
    revenue_minor: int = 0
    revenue_squares: float = 0.0
    currency: str | None = None


@dataclass(frozen=True)
class Events:
    """Events of one kind, with and without machines."""

    kind: str
    events: int
    human_events: int
    people: int
    human_people: int


@dataclass(frozen=True)
class Link:
    """One link of the message and who clicked it."""

    url: str
    clicks: int
    people: int
    machine_clicks: int


@dataclass(frozen=True)
class Timeline:
    """Human opens and clicks by time since the first send; steps without any are left out."""

    step_seconds: int
    # (step 0, 1, 2 …, open | click, how many)
    counts: tuple[tuple[int, str, int], ...]


@dataclass(frozen=True)
class Tally:
    """Everything counted for one campaign, at the pinned versions of the tables."""

    arms: Mapping[str, Arm]
    # (decision, reason, state) → people
    fates: Mapping[tuple[str, str | None, str | None], int]
    # Rows of the sends table that say something, and how many are second rows of a contact.
    settled: int
    repeated: int
    # Who was sent a second copy though they may have the first.
    resent: int
    first_sent_at: datetime | None
    events: Mapping[str, Events]
    links: tuple[Link, ...]
    timeline: Timeline
    window: tuple[datetime, datetime] | None

    def people(self, decision: str, *states: str) -> int:
        """How many got a decision; of those in one of the states, when any is named."""
        return sum(
            count
            for (decided, _, state), count in self.fates.items()
            if decided == decision and (not states or state in states)
        )


@dataclass(frozen=True)
class Question:
    """Which campaign to count, and what its approval says of it."""

    campaign: str
    as_of: datetime | None
    conversion_days: int
    links: tuple[str, ...]


def tally(question: Question, *, lake: Lake, pins: Pins) -> Tally:
    """Count a campaign. An audience that was never planned gives zeros."""
    named = {"campaign": question.campaign}
    with _opened(lake, pins) as connection:
        sends = _rows(connection, "sends", named)[0]
        first: datetime | None = sends["first_sent_at"]
        window = _window(question, first)
        start_at, end_at = window or (None, None)
        bounds = {**named, "start_at": start_at, "end_at": end_at, "first_sent_at": first}
        connection.execute(f"create temp table people as {_query('people')}", bounds)
        fates = _rows(connection, "fates", {})
        return Tally(
            arms={row["arm"]: Arm(**row) for row in _rows(connection, "arms", {})},
            fates={(row["decision"], row["reason"], row["state"]): row["people"] for row in fates},
            settled=sends["settled"],
            repeated=sends["repeated"],
            resent=sends["resent"],
            first_sent_at=first,
            events={row["kind"]: Events(**row) for row in _rows(connection, "events", named)},
            links=_links(question, _rows(connection, "links", named)),
            timeline=_timeline(connection, question.campaign, first),
            window=window,
        )


def _window(question: Question, first: datetime | None) -> tuple[datetime, datetime] | None:
    start = question.as_of or first
    if start is None:
        return None
    return start, start + timedelta(days=question.conversion_days)


def _links(question: Question, rows: list[dict[str, Any]]) -> tuple[Link, ...]:
    return tuple(
        Link(question.links[row["link"]], row["clicks"], row["people"], row["machine_clicks"])
        for row in rows
        if 0 <= row["link"] < len(question.links)
    )


def _timeline(
    connection: duckdb.DuckDBPyConnection, campaign: str, first: datetime | None
) -> Timeline:
    asked = {"campaign": campaign, "first_sent_at": first}
    reach = _rows(connection, "reach", asked)[0]["seconds"] or 0
    step = next((step for longest, step in STEPS if reach <= longest), DAY_SECONDS)
    rows = _rows(connection, "timeline", {**asked, "step_seconds": step})
    return Timeline(step, tuple((row["step"], row["kind"], row["events"]) for row in rows))


@contextmanager
def _opened(lake: Lake, pins: Pins) -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(lake.connect(TABLES, pins)) as connection:
        yield connection


def _query(name: str) -> str:
    return (QUERIES / f"{name}.sql").read_text(encoding="utf-8")


def _rows(
    connection: duckdb.DuckDBPyConnection, name: str, parameters: Mapping[str, object]
) -> list[dict[str, Any]]:
    found = connection.execute(_query(name), dict(parameters) or None)
    columns = [column[0] for column in found.description or []]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]
