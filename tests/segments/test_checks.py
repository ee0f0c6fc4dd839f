"""Every check of a segment's members: where it begins to fail, and what it then says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import Problem
from pipelines.segments import checks
from pipelines.segments.audit import Audit
from pipelines.segments.checks import Outcome
from pipelines.segments.header import ALWAYS, Checks

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
CLEAN = Audit(rows=3, empty=0, twice=0, unknown=0)


def failed(outcomes: list[Outcome]) -> list[str]:
    return [each.name for each in outcomes if not each.passed]


def sized(size: int, contacts: int = 1_000, **header: Any) -> list[str]:
    return failed(checks.of_size(size, contacts, Checks(**header)))


def grown(size: int, *before: int, **header: Any) -> Outcome:
    return checks.of_growth(size, before, Checks(**header))


def test_members_that_are_there_once_and_known_pass():
    outcomes = checks.of_rows(CLEAN)

    assert [(each.passed, each.told) for each in outcomes] == [(True, "holds")] * 3


@pytest.mark.parametrize(
    ("audit", "name", "told"),
    [
        ({"empty": 1_200}, "contact_id_is_there", "is empty in 1,200 rows"),
        (
            {"twice": 2, "some_twice": (3, 5)},
            "contact_id_is_unique",
            "stands more than once for 2 contacts, such as 3, 5; add distinct or group by",
        ),
        (
            {"unknown": 1, "some_unknown": (9,)},
            "contact_id_is_known",
            "names 1 contacts the lake does not know, such as 9",
        ),
    ],
    ids=["empty", "twice", "unknown"],
)
def test_rows_that_are_no_members_are_told_with_examples(
    audit: dict[str, Any], name: str, told: str
):
    [wrong] = [each for each in checks.of_rows(replace(CLEAN, **audit)) if not each.passed]

    assert (wrong.name, wrong.told, wrong.where) == (name, told, "contact_id")
    assert wrong.stops


def test_nobody_is_in_it_only_where_the_header_allows_it():
    assert sized(0) == ["not_empty"]
    assert sized(0, rows_at_least=0) == []
    assert sized(1) == []


def test_everybody_of_a_hundred_and_more_is_in_it_only_where_the_header_allows_it():
    assert sized(100, contacts=100) == ["not_everybody"]
    assert sized(100, contacts=100, share_at_most=1) == []
    assert sized(99, contacts=99) == []
    assert sized(99, contacts=100) == []


@pytest.mark.parametrize(
    ("header", "within", "beyond"),
    [
        ({"rows_at_least": 10}, 10, 9),
        ({"rows_at_most": 10}, 10, 11),
        ({"share_at_most": 0.25}, 250, 251),
    ],
    ids=["at least", "at most", "a share"],
)
def test_a_bound_of_the_header_holds_up_to_its_last_contact(
    header: dict[str, float], within: int, beyond: int
):
    assert sized(within, **header) == []
    assert sized(beyond, **header) == list(header)


def test_a_bound_says_what_it_asks_and_what_there_is():
    header = Checks(rows_at_least=10, rows_at_most=1_000, share_at_most=0.2)

    told = [each.told for each in checks.of_size(1_500, 3_000, header)][2:]

    assert told == [
        "At least 10 contacts are in it; there are 1,500",
        "At most 1,000 contacts are in it; there are 1,500",
        "At most 20% of all contacts are in it; there are 50.0%",
    ]


@pytest.mark.parametrize(
    ("share", "told"), [(0.005, "0.5%"), (0.125, "12.5%"), (0.29, "29%"), (0.3, "30%")]
)
def test_a_small_share_is_told_as_it_is(share: float, told: str):
    header = Checks(share_at_most=share, growth_at_most=share)

    described = checks.described(header)
    assert described["share_at_most"][0] == f"At most {told} of all contacts are in it."
    assert described["grows_within_bounds"][0].endswith(
        f"no further than {told} since the last run."
    )


def test_no_share_of_no_contacts_is_too_much():
    assert sized(0, contacts=0, share_at_most=0.1, rows_at_least=0) == []


def test_an_assertion_that_returns_rows_is_told_with_its_file_and_examples():
    found = {
        "sane": {"rows": 0, "examples": []},
        "sober": {"rows": 1_234, "examples": [[7, "x"], [8, "y"]]},
    }

    sane, sober = checks.of_assertions(found)

    assert sane.passed
    assert sober.problem == Problem("sql/checks/sober.sql", "returned 1,234 rows, such as 7, 8")
    assert sober.stops


def test_of_rows_that_may_be_personal_an_assertion_tells_no_more_than_a_letter():
    found = {"sane": {"rows": 3, "examples": [["ada@shop.example"], ["1990-04-03"], [None]]}}

    [outcome] = checks.of_assertions(found)

    assert outcome.told == "returned 3 rows, such as a•••, 1•••, N•••"


def test_the_first_run_has_nothing_to_compare_with():
    assert grown(1_000_000).passed
    assert grown(1_000_000, 0, 0).passed


@pytest.mark.parametrize(
    ("size", "passes"), [(150, True), (151, False), (50, True), (49, False), (0, False)]
)
def test_without_a_bound_a_size_moves_by_half_and_more_is_a_warning(size: int, *, passes: bool):
    outcome = grown(size, 100)

    assert outcome.passed is passes
    assert not outcome.stops


@pytest.mark.parametrize(("size", "passes"), [(110, True), (111, False), (90, True), (89, False)])
def test_a_bound_of_the_header_on_growth_stops_the_run(size: int, *, passes: bool):
    outcome = grown(size, 100, growth_at_most=0.1)

    assert outcome.passed is passes
    assert outcome.stops is not passes


@pytest.mark.parametrize(("size", "passes"), [(180, True), (181, False), (20, True), (19, False)])
def test_a_segment_that_always_moves_may_move_four_times_as_far_as_it_usually_does(
    size: int, *, passes: bool
):
    # It moved by a fifth each time, so by the median too.
    assert grown(size, 100, 120, 96, 80, 100).passed is passes


def test_a_single_leap_of_the_past_does_not_make_leaps_usual():
    assert not grown(200, 100, 101, 1_000, 101, 100, 101, 100).passed


def test_growth_is_told_with_both_sizes_and_what_is_usual():
    assert (
        grown(1_500, 1_000).told == "+50.0% since the last run (1,000 → 1,500); up to ±50% is usual"
    )


def test_inputs_are_fresh_for_a_day_and_a_half():
    just, late = NOW - timedelta(hours=36), NOW - timedelta(hours=36, seconds=1)

    assert checks.of_inputs({"core.orders": just}, NOW).passed
    assert not checks.of_inputs({"core.orders": late}, NOW).passed


def test_old_inputs_are_told_with_their_age_and_stop_nothing():
    outcome = checks.of_inputs(
        {"core.orders": NOW - timedelta(days=5), "core.contacts": NOW, "core.activities": None}, NOW
    )

    assert (
        outcome.told == "core.activities was never written; core.orders has not changed for 5 days"
    )
    assert not outcome.passed
    assert not outcome.stops


@pytest.mark.parametrize(
    ("column", "passes"),
    [
        ([date.min, date.max, None], True),
        ([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)], True),
        (pl.Series([2**31 - 1], dtype=pl.Int32).cast(pl.Date), False),
        (pl.Series([2**63 - 1]).cast(pl.Datetime("us", "UTC")), False),
    ],
    ids=["all of the calendar's days", "all of its moments", "an endless day", "an endless moment"],
)
def test_a_time_that_no_calendar_has_is_told(column: Any, *, passes: bool):
    rows = pl.DataFrame({"contact_id": range(len(column)), "seen": column})

    assert [each.where for each in checks.of_times(rows)] == ([] if passes else ["seen"])


def test_only_blocking_checks_that_failed_stop_a_run():
    outcomes = [
        Outcome("one", passed=False, told="first"),
        Outcome("two", passed=True, told="second"),
        Outcome("three", passed=False, told="third", blocks=False),
        Outcome("four", passed=False, told="fourth", where="line 3"),
    ]

    assert checks.stopping(outcomes) == [Problem("checks", "first"), Problem("line 3", "fourth")]
    assert checks.stopping(outcomes, but=["one"]) == [Problem("line 3", "fourth")]


@given(
    header=st.builds(
        Checks,
        rows_at_least=st.none() | st.integers(0, 5),
        rows_at_most=st.none() | st.integers(5, 20),
        share_at_most=st.none() | st.sampled_from([0.01, 0.5, 1]),
        growth_at_most=st.none() | st.sampled_from([0.1, 2.0]),
        no_rows=st.lists(st.sampled_from(["sane", "sober"]), unique=True),
    ),
    size=st.integers(0, 30),
    contacts=st.integers(0, 200),
    before=st.lists(st.integers(0, 30)),
)
def test_whatever_the_header_says_each_described_check_has_one_outcome(
    header: Checks, size: int, contacts: int, before: list[int]
):
    outcomes = [
        *checks.of_rows(CLEAN),
        *checks.of_size(size, contacts, header),
        *checks.of_assertions({name: {"rows": 0, "examples": []} for name in header.no_rows}),
        checks.of_growth(size, before, header),
        checks.of_inputs({}, NOW),
    ]

    described = checks.described(header)
    assert [each.name for each in outcomes] == list(described)
    assert [each.blocks for each in outcomes] == [blocks for _, blocks in described.values()]
    assert all(told.endswith(".") and ".." not in told for told, _ in described.values())


def test_the_names_that_no_shared_check_may_have_are_those_every_segment_has():
    assert set(checks.described(Checks())) == set(ALWAYS)


@pytest.mark.parametrize(
    ("since", "told"),
    [
        (timedelta(seconds=-5), "0 min"),
        (timedelta(minutes=90), "90 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=47), "47 h"),
        (timedelta(days=2), "2 days"),
        (timedelta(days=400), "400 days"),
    ],
)
def test_an_age_is_told_in_one_unit(since: timedelta, told: str):
    assert checks.age(since) == told
