"""Which other segments the members of one are in."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.lake import Lake
from pipelines.schema import SEGMENT_HISTORY, SEGMENT_RUNS, Table
from pipelines.segments.overlap import SHOWN, Overlap, overlaps


def keep(lake: Lake, name: str, *members: int) -> None:
    table = Table(f"segments.{name}", "one row per contact", {"contact_id": pl.Int64})
    lake.replace(table, ids(*members))


def ids(*members: int) -> pl.DataFrame:
    return pl.DataFrame({"contact_id": list(members)}, schema={"contact_id": pl.Int64})


@pytest.fixture
def kept(lake: Lake) -> Lake:
    keep(lake, "itself", 1, 2, 3)
    keep(lake, "most", 1, 2, 9, 10)
    keep(lake, "one", 3)
    keep(lake, "none", 7, 8)
    keep(lake, "nobody")
    return lake


def test_those_that_share_most_come_first_and_those_that_share_nobody_are_left_out(kept: Lake):
    found = overlaps(ids(1, 2, 3), kept, but="itself")

    assert found == [Overlap("most", shared=2, size=4), Overlap("one", shared=1, size=1)]


def test_a_segment_is_compared_by_its_last_run(kept: Lake):
    keep(kept, "most", 10)

    assert [each.segment for each in overlaps(ids(1, 2, 3), kept, but="itself")] == ["one"]


def test_nobody_overlaps_with_nobody(kept: Lake):
    assert overlaps(ids(), kept, but="itself") == []


def test_ids_that_nobody_can_have_are_in_no_other_segment(kept: Lake):
    wrong = pl.DataFrame({"contact_id": [None, -1, 2**62, 1]})

    assert overlaps(wrong, kept, but="itself") == [Overlap("most", shared=1, size=4)]


def test_what_the_runs_of_all_segments_left_is_no_segment(lake: Lake):
    lake.append(SEGMENT_RUNS, SEGMENT_RUNS.empty())
    lake.append(SEGMENT_HISTORY, SEGMENT_HISTORY.empty())

    assert overlaps(ids(1), lake, but="itself") == []


def test_only_the_first_few_of_many_are_told(lake: Lake):
    for number in range(SHOWN + 2):
        keep(lake, f"s{number}", *range(number + 1))

    found = overlaps(ids(*range(20)), lake, but="itself")

    assert [each.shared for each in found] == [7, 6, 5, 4, 3]
