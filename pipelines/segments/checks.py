"""What must hold of a segment's members: of the rows, of their number, and of what they were made from.

Pure: takes counts, returns outcomes. A blocking one that fails writes nothing, and the last good
members stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

import polars as pl
import polars.selectors as cs

from pipelines.errors import Problem
from pipelines.segments.audit import Audit
from pipelines.segments.header import Checks

# Of a handful, most or all may well be in a segment; of a hundred it is rather a forgotten condition.
EVERYBODY_FROM = 100
# Without a bound of its own a segment may move by this share, or four times as far as it usually does.
USUAL_GROWTH, TIMES_USUAL = 0.5, 4.0
RUNS_LOOKED_AT = 30
# Exports come once a day; a table of the day before yesterday was forgotten.
FRESH_HOURS = 36
FRESH = timedelta(hours=FRESH_HOURS)
NOT_EMPTY, GROWTH = "not_empty", "grows_within_bounds"
# What happens when it happens is not stale when nothing does.
AS_IT_HAPPENS = (
    "campaigns.",
    "segments.",
    "core.engagement_events",
    "core.suppressions",
    "core.products",
)


@dataclass(frozen=True)
class Outcome:
    """One check and how it went. `where` is what the reader should look at."""

    name: str
    passed: bool
    told: str
    blocks: bool = True
    where: str = "checks"

    @property
    def stops(self) -> bool:
        return self.blocks and not self.passed

    @property
    def problem(self) -> Problem:
        return Problem(self.where, self.told)


def described(checks: Checks) -> dict[str, tuple[str, bool]]:
    """Every check of a segment with this header: what it asks, and whether failing it blocks."""
    limits = _bounds(checks, 0, 0)
    return {
        "contact_id_is_there": ("Every row has a contact_id.", True),
        "contact_id_is_unique": ("No contact stands in it twice.", True),
        "contact_id_is_known": ("Every contact is one of core.contacts.", True),
        NOT_EMPTY: ("Somebody is in it; rows_at_least: 0 allows nobody.", True),
        "not_everybody": ("Not every contact is in it; share_at_most: 1 allows it.", True),
        **{outcome.name: (outcome.told.split(";")[0] + ".", True) for outcome in limits},
        **{name: (f"sql/checks/{name}.sql returns no row.", True) for name in checks.no_rows},
        "grows_within_bounds": (
            f"Its size moved no further than {_per_cent(checks.growth_at_most)} since the last run."
            if checks.growth_at_most
            else "Its size moved no further than it usually does.",
            checks.growth_at_most is not None,
        ),
        "inputs_are_fresh": (f"What it reads was written in the last {FRESH_HOURS} hours.", False),
    }


def of_rows(audit: Audit) -> list[Outcome]:
    """That contact_id is there, unique and known."""
    empty, twice, unknown = audit.empty, audit.twice, audit.unknown
    some_twice = ", ".join(map(str, audit.some_twice))
    some_unknown = ", ".join(map(str, audit.some_unknown))
    rows = (
        ("contact_id_is_there", empty, f"is empty in {empty:,} rows"),
        (
            "contact_id_is_unique",
            twice,
            f"stands more than once for {twice:,} contacts, such as {some_twice}; add distinct or group by",
        ),
        (
            "contact_id_is_known",
            unknown,
            f"names {unknown:,} contacts the lake does not know, such as {some_unknown}",
        ),
    )
    return [
        Outcome(name, count == 0, told if count else "holds", where="contact_id")
        for name, count, told in rows
    ]


def of_times(rows: pl.DataFrame) -> list[Problem]:
    """A problem for each column with a time that no calendar has, such as infinity."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    strange = rows.select(
        ~cs.date().is_between(date.min, date.max), ~cs.datetime("us", "*").is_between(first, last)
    )
    told = "holds a time that no calendar has, such as infinity"
    return [Problem(column.name, told) for column in strange if column.any()]


def of_size(size: int, contacts: int, checks: Checks) -> list[Outcome]:
    """That neither nobody nor everybody is in it, and what the header says of its size."""
    may_be_empty = checks.rows_at_least == 0
    may_be_all = checks.share_at_most == 1 or contacts < EVERYBODY_FROM
    share = f"{size:,} of {contacts:,} contacts"
    return [
        Outcome(
            NOT_EMPTY,
            bool(size) or may_be_empty,
            share
            if size or may_be_empty
            else "nobody is in it; if that may be, say rows_at_least: 0 under checks",
        ),
        Outcome(
            "not_everybody",
            size < contacts or may_be_all,
            share
            if size < contacts or may_be_all
            else f"all {contacts:,} contacts are in it; if that is meant, say share_at_most: 1 under checks",
        ),
        *_bounds(checks, size, contacts),
    ]


def _bounds(checks: Checks, size: int, contacts: int) -> list[Outcome]:
    least, most, share = checks.rows_at_least, checks.rows_at_most, checks.share_at_most
    found = []
    if least:
        told = f"At least {least:,} contacts are in it; there are {size:,}"
        found.append(Outcome("rows_at_least", size >= least, told))
    if most is not None:
        told = f"At most {most:,} contacts are in it; there are {size:,}"
        found.append(Outcome("rows_at_most", size <= most, told))
    if share is not None and share < 1:
        is_within = size <= share * contacts or contacts < EVERYBODY_FROM
        has = f"{size / contacts:.1%}" if contacts else "none"
        told = f"At most {_per_cent(share)} of all contacts are in it; there are {has}"
        found.append(Outcome("share_at_most", is_within, told))
    return found


def of_assertions(found: Mapping[str, Mapping[str, Any]]) -> list[Outcome]:
    """That the shared assertions of sql/checks/ returned no row."""
    return [
        Outcome(
            name,
            not answer["rows"],
            f"returned {answer['rows']:,} rows, such as {_some(answer['examples'])}"
            if answer["rows"]
            else "returned no row",
            where=f"sql/checks/{name}.sql",
        )
        for name, answer in found.items()
    ]


def of_growth(size: int, before: Sequence[int], checks: Checks) -> Outcome:
    """That its size is near the last run's. before: sizes of earlier runs, oldest first."""
    earlier = before[-RUNS_LOOKED_AT:]
    blocks = checks.growth_at_most is not None
    if not earlier:
        return Outcome(GROWTH, True, "no run to compare with", blocks)
    if not earlier[-1]:
        return Outcome(GROWTH, True, "nobody was in it at the last run", blocks)
    moves = [abs(b - a) / a for a, b in pairwise(earlier) if a]
    usual = max(USUAL_GROWTH, TIMES_USUAL * median(moves)) if moves else USUAL_GROWTH
    bound = checks.growth_at_most or usual
    moved = (size - earlier[-1]) / earlier[-1]
    told = f"{moved:+.1%} since the last run ({earlier[-1]:,} → {size:,})"
    told += f"; up to ±{_per_cent(bound)} is usual"
    if blocks:
        told += "; to keep it all the same: lettermill segment run NAME --accept-growth"
    return Outcome(GROWTH, abs(moved) <= bound, told, blocks)


def of_inputs(changed: Mapping[str, datetime | None], now: datetime) -> Outcome:
    """That what it reads is not old. changed: table → when it was last written."""
    old = [
        f"{table} {'was never written' if at is None else f'has not changed for {age(now - at)}'}"
        for table, at in sorted(changed.items())
        if not table.startswith(AS_IT_HAPPENS) and (at is None or now - at > FRESH)
    ]
    return Outcome("inputs_are_fresh", not old, "; ".join(old) or "all are fresh", blocks=False)


def stopping(outcomes: Iterable[Outcome], *, but: Iterable[str] = ()) -> list[Problem]:
    """The problem of each blocking outcome that failed."""
    return [each.problem for each in outcomes if each.stops and each.name not in set(but)]


def age(since: timedelta) -> str:
    """`3 days`, `5 h`, `12 min`: how old something is, in one unit."""
    seconds = since.total_seconds()
    if seconds >= 2 * 86_400:
        return f"{seconds / 86_400:.0f} days"
    return f"{seconds / 3600:.0f} h" if seconds >= 7200 else f"{max(0, seconds) / 60:.0f} min"


def _per_cent(share: float) -> str:
    return f"{share * 100:.4g}%"


def _some(rows: Sequence[Sequence[object]]) -> str:
    """The first column of some rows: ids and other numbers; of what may be personal a letter."""
    firsts = [row[0] for row in rows]
    return ", ".join(str(v) if isinstance(v, int | float) else f"{str(v)[:1]}•••" for v in firsts)
