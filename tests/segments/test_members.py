"""Who is in a segment now, and since when: stays open and close, and never run backwards."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.clock import FrozenClock
from pipelines.errors import SegmentFailed
from pipelines.lake import Lake
from pipelines.schema import CONTACTS
from pipelines.segments.members import Change, write
from pipelines.segments.run import Members
from pipelines.segments.segment import Segment, parse

HEADER = "/*\ndescription: Whoever the test says\nowner: team:analytics\n*/\n"
TEXT = f"{HEADER}select contact_id from core.contacts"


@pytest.fixture
def segment(lake: Lake) -> Segment:
    rows = pl.DataFrame({"contact_id": range(10)})
    missing = [pl.lit(None).cast(kind).alias(name) for name, kind in CONTACTS.schema.items()]
    lake.append(CONTACTS, rows.with_columns(missing[1:]))
    return parse("some", TEXT, Path("sql/segments/some.sql"))


def run(segment: Segment, lake: Lake, at: datetime, *ids: int) -> Change:
    frame = pl.DataFrame({"contact_id": list(ids)}, schema={"contact_id": pl.Int64})
    return write(segment, Members(frame, lake.pin(["core.contacts"]), at, 0.0, 10), lake)


def stays(lake: Lake) -> list[tuple[int, datetime, datetime | None]]:
    rows = lake.read("segments.history").sort("contact_id", "joined_at").collect()
    return rows.select("contact_id", "joined_at", "left_at").rows()


def test_who_comes_and_goes_is_counted_and_has_a_stay_with_both_ends(
    segment: Segment, lake: Lake, clock: FrozenClock
):
    first, second, third = (clock.now() + timedelta(days=day) for day in range(3))

    run(segment, lake, first, 1, 2)
    change = run(segment, lake, second, 2, 3)
    run(segment, lake, third, 1, 2, 3)

    assert change == Change(size=2, joined=1, left=1, share=0.2, since=first)
    assert stays(lake) == [
        (1, first, second),
        (1, third, None),
        (2, first, None),
        (3, second, None),
    ]


def test_the_same_members_again_change_no_stay(segment: Segment, lake: Lake, clock: FrozenClock):
    run(segment, lake, clock.now(), 1, 2)
    before = stays(lake)

    run(segment, lake, clock.now() + timedelta(days=1), 1, 2)

    assert stays(lake) == before


def test_an_earlier_time_than_the_last_run_s_is_refused_and_nothing_is_written(
    segment: Segment, lake: Lake, clock: FrozenClock
):
    run(segment, lake, clock.now(), 1, 2)
    before = (stays(lake), lake.version("segments.some"))

    with pytest.raises(SegmentFailed, match="set back in time"):
        run(segment, lake, clock.now() - timedelta(days=1), 3)

    assert (stays(lake), lake.version("segments.some")) == before
