"""Who is in a segment now, and since when: stays open and close, and never run backwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier

import polars as pl
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.clock import FrozenClock
from pipelines.errors import SegmentFailed
from pipelines.lake import Lake
from pipelines.schema import CONTACTS, SEGMENT_HISTORY, SEGMENT_RUNS
from pipelines.segments.checks import Outcome
from pipelines.segments.history import sizes
from pipelines.segments.members import Change, compare, judged, movers, write
from pipelines.segments.run import Members
from pipelines.segments.segment import Segment, parse

HEADER = "/*\ndescription: Whoever the test says\nowner: team:analytics\n{}*/\n"
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ROUNDS = 4


def named(name: str, checks: str = "") -> Segment:
    text = HEADER.format(checks) + "select contact_id from core.contacts"
    return parse(name, text, Path(f"sql/segments/{name}.sql"))


@pytest.fixture
def segment(lake: Lake) -> Segment:
    rows = pl.DataFrame({"contact_id": range(10)})
    lake.append(CONTACTS, pl.concat([CONTACTS.empty(), rows], how="diagonal"))
    return named("some")


def members(lake: Lake, at: datetime, *ids: int) -> Members:
    frame = pl.DataFrame({"contact_id": list(ids)}, schema={"contact_id": pl.Int64})
    return Members(frame, lake.pin(["core.contacts"]), at, 0.5, 10)


def run(segment: Segment, lake: Lake, at: datetime, *ids: int) -> Change:
    return write(segment, members(lake, at, *ids), lake)


def stays(lake: Lake, segment: str = "some") -> list[tuple[int, datetime, datetime | None]]:
    rows = lake.read("segments.history").filter(segment=segment).sort("contact_id", "joined_at")
    return rows.select("contact_id", "joined_at", "left_at").collect().rows()


def versions(lake: Lake) -> list[int | None]:
    return [lake.version(f"segments.{name}") for name in ("some", "history", "runs")]


def history_files(lake: Lake, segment: str) -> set[str]:
    return {path for path in lake.files("segments.history") if f"segment={segment}/" in path}


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
    before = (stays(lake), versions(lake))

    with pytest.raises(SegmentFailed, match="set back in time"):
        run(segment, lake, clock.now() - timedelta(days=1), 3)

    assert (stays(lake), versions(lake)) == before


def test_members_are_kept_with_their_columns_and_the_time_they_were_asked_for(
    segment: Segment, lake: Lake
):
    frame = pl.DataFrame({"contact_id": [2, 1], "city": ["Paris", None], "orders": [3, 4]})
    found = Members(frame, {}, NOON, 0.5, 10)

    write(segment, found, lake)

    kept = lake.read("segments.some").sort("contact_id").collect()
    assert kept.rows() == [(1, None, 4, NOON), (2, "Paris", 3, NOON)]


def test_each_run_leaves_a_row_of_what_it_read_found_and_checked(segment: Segment, lake: Lake):
    run(segment, lake, NOON, 1, 2)
    run(segment, lake, NOON + DAY, 2, 3, 4)

    first, second = lake.read(SEGMENT_RUNS.name).sort("as_of").collect().to_dicts()

    assert (first["size"], first["joined"], first["left"]) == (2, 2, 0)
    assert (second["size"], second["joined"], second["left"]) == (3, 2, 1)
    assert (second["segment"], second["as_of"], second["contacts"]) == ("some", NOON + DAY, 10)
    assert json.loads(second["read_versions"]) == {"core.contacts": 0}
    assert first["code_version"] == second["code_version"]
    told = {each["name"]: each["passed"] for each in json.loads(second["checks"])}
    assert told == {"grows_within_bounds": True, "inputs_are_fresh": True}


def test_a_check_that_blocks_keeps_the_last_good_members(segment: Segment, lake: Lake):
    run(segment, lake, NOON, 1, 2)
    before = (stays(lake), versions(lake))
    outcomes = [Outcome("sane", passed=False, told="returned 3 rows", where="sql/checks/sane.sql")]

    with pytest.raises(SegmentFailed, match="returned what a segment must not") as refused:
        write(segment, members(lake, NOON + DAY, 3), lake, outcomes=outcomes)

    assert [each.what for each in refused.value.problems] == ["returned 3 rows"]
    assert (stays(lake), versions(lake)[:2]) == (before[0], before[1][:2])


def test_a_run_that_its_checks_refuse_is_noted_and_is_no_run_to_compare_with(
    segment: Segment, lake: Lake
):
    run(segment, lake, NOON, 1, 2)
    outcomes = [Outcome("sane", passed=False, told="returned 3 rows", where="sql/checks/sane.sql")]

    with pytest.raises(SegmentFailed):
        write(segment, members(lake, NOON + DAY, 3), lake, outcomes=outcomes)

    noted = lake.read("segments.runs").sort("as_of").collect()
    assert noted.select("size", "is_kept").rows() == [(2, True), (1, False)]
    assert sizes("some", lake) == [2]


def test_a_header_that_bounds_growth_stops_what_leaps_and_others_only_warn(
    segment: Segment, lake: Lake
):
    bounded = named("some", "checks: {growth_at_most: 0.5}\n")
    run(segment, lake, NOON, 1, 2)

    with pytest.raises(SegmentFailed, match=r"\+100\.0% since the last run"):
        run(bounded, lake, NOON + DAY, 1, 2, 3, 4)
    change = run(segment, lake, NOON + DAY, 1, 2, 3, 4)

    assert change.size == 4


def test_a_segment_is_compared_with_its_own_runs_only(segment: Segment, lake: Lake):
    for day in range(3):
        run(named("other"), lake, NOON + day * DAY, *range(9))

    growth, _ = judged(segment, members(lake, NOON, 1), lake, now=NOON)

    assert growth.told == "no run to compare with"


def test_inputs_are_as_fresh_as_they_were_last_written(segment: Segment, lake: Lake):
    later = datetime.now(UTC) + timedelta(days=3)

    _, inputs = judged(segment, members(lake, NOON, 1), lake, now=later)

    assert (inputs.passed, inputs.told) == (False, "core.contacts has not changed for 3 days")


def test_comparing_writes_nothing(segment: Segment, lake: Lake):
    run(segment, lake, NOON, 1, 2)
    before = (stays(lake), versions(lake))

    change = compare(segment, members(lake, NOON + DAY, 2, 3, 4), lake)

    assert change == Change(size=3, joined=2, left=1, share=0.3, since=NOON)
    assert (stays(lake), versions(lake)) == before


def test_before_its_first_run_everybody_is_new(segment: Segment, lake: Lake):
    change = compare(segment, members(lake, NOON, 1, 2), lake)

    assert change == Change(size=2, joined=2, left=0, share=0.2, since=None)


def test_who_moved_since_a_time_is_told_by_the_run_of_then(segment: Segment, lake: Lake):
    run(segment, lake, NOON, 1, 2)
    run(segment, lake, NOON + 2 * DAY, 2, 3)
    now = members(lake, NOON + 4 * DAY, 3, 4, 5)

    def moved_since(moment: datetime) -> list[list[int]] | None:
        moved = movers(segment, now, lake, moment)
        return moved and [each["contact_id"].to_list() for each in moved]

    assert moved_since(NOON + DAY) == [[3, 4, 5], [1, 2]]
    assert moved_since(NOON + 3 * DAY) == [[4, 5], [2]]
    assert moved_since(NOON - DAY) is None


def test_a_run_that_died_between_history_and_members_is_made_good_by_the_next(
    segment: Segment, lake: Lake
):
    run(segment, lake, NOON, 1, 2)
    died = [("some", 1, NOON, NOON + DAY), ("some", 2, NOON, None), ("some", 3, NOON + DAY, None)]
    rows = pl.DataFrame(died, schema=SEGMENT_HISTORY.schema, orient="row")
    lake.replace(SEGMENT_HISTORY, rows, segment="some")

    run(segment, lake, NOON + 2 * DAY, 2, 3)

    assert stays(lake) == [(1, NOON, NOON + DAY), (2, NOON, None), (3, NOON + DAY, None)]


def test_replacing_the_stays_of_one_segment_leaves_the_files_of_the_others_alone(
    segment: Segment, lake: Lake
):
    run(segment, lake, NOON, 1, 2)
    run(named("other"), lake, NOON, 7, 8)
    before = history_files(lake, "other")

    run(segment, lake, NOON + DAY, 2, 3)

    assert history_files(lake, "other") == before != set()
    assert stays(lake, "other") == [(7, NOON, None), (8, NOON, None)]


def test_a_history_of_an_earlier_release_is_cut_by_segment_without_loss(
    segment: Segment, lake: Lake
):
    rows = [("some", 1, NOON - DAY, None), ("other", 7, NOON - DAY, NOON), ("other", 8, NOON, None)]
    before = pl.DataFrame(rows, schema=SEGMENT_HISTORY.schema, orient="row")
    write_deltalake(lake.path("segments.history"), before)

    run(segment, lake, NOON, 2)

    assert lake.snapshot("segments.history").partitioned == ("segment",)
    assert stays(lake) == [(1, NOON - DAY, NOON), (2, NOON, None)]
    assert stays(lake, "other") == [(7, NOON - DAY, NOON), (8, NOON, None)]


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sets=st.lists(st.frozensets(st.integers(0, 6), min_size=1), min_size=1, max_size=5))
def test_whoever_comes_and_goes_stays_add_up_to_every_run(
    tmp_path_factory: pytest.TempPathFactory, sets: list[frozenset[int]]
):
    lake = Lake(tmp_path_factory.mktemp("stays"))

    for number, ids in enumerate(sets):
        run(named("some"), lake, NOON + number * DAY, *ids)

    known = stays(lake)
    assert consistent(known)
    for number, ids in enumerate(sets):
        at = NOON + number * DAY
        inside = [who for who, came, gone in known if came <= at and (gone is None or gone > at)]
        assert sorted(inside) == sorted(ids)


def consistent(known: Sequence[tuple[int, datetime, datetime | None]]) -> bool:
    """Whether nobody's next stay begins before the last one ended."""
    return all(
        gone is not None and gone <= came
        for (who, _, gone), (same, came, _) in pairwise(known)
        if who == same
    )


def keep_running(root: Path, name: str, first: int, together: Barrier) -> None:
    """Run a segment again and again, each time with other members; for a process of its own."""
    lake, rounds = Lake(root), ROUNDS
    together.wait()
    while rounds:
        ids = {(first + 3 * rounds + number) % 10 for number in range(4)}
        try:
            run(named(name), lake, datetime.now(UTC), *ids)
        except SegmentFailed:  # the other one was quicker, with a later time
            continue
        rounds -= 1


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake in which two processes ran one segment and a third ran another, all for the first time."""
    lake, spawned = Lake(tmp_path_factory.mktemp("raced")), get_context("spawn")
    calls = (("some", 0), ("some", 5), ("other", 0))
    together = spawned.Barrier(len(calls))
    running = [
        spawned.Process(target=keep_running, args=(lake.root, name, first, together))
        for name, first in calls
    ]
    for each in running:
        each.start()
    for each in running:
        each.join()
    assert [each.exitcode for each in running] == [0] * len(calls)
    return lake


@pytest.mark.slow
@pytest.mark.parametrize(("name", "runs"), [("some", 2), ("other", 1)])
def test_processes_that_run_segments_at_once_leave_a_consistent_history(
    raced: Lake, name: str, runs: int
):
    told = raced.read(SEGMENT_RUNS.name).filter(segment=name).sort("ran_at").collect()
    known = stays(raced, name)

    sizes = [0, *told["size"]]
    moved = zip(sizes, told["joined"], told["left"], strict=False)
    assert told.height == runs * ROUNDS
    assert [before + joined - left for before, joined, left in moved] == sizes[1:]
    inside = sorted(who for who, _, gone in known if gone is None)
    assert inside == sorted(raced.read(f"segments.{name}").collect()["contact_id"])
    assert {came for _, came, _ in known} <= set(told["as_of"])
    assert told["as_of"][0] in {came for _, came, _ in known}
    assert consistent(known)
