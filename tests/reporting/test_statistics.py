"""Intervals and verdicts: the published examples, and what must hold for any counts."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipelines.reporting import statistics
from pipelines.reporting.statistics import Verdict


@st.composite
def groups(draw: st.DrawFn) -> tuple[int, int]:
    of = draw(st.integers(1, 1_000_000))
    return draw(st.integers(0, of)), of


# Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
    ids=str,
)
def test_wilson_gives_the_published_intervals(count: int, of: int, low: float, high: float) -> None:
    interval = statistics.wilson(count, of)

    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


# Newcombe, Statistics in Medicine 17 (1998) 873-890, table II, method 10.
@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
    ids=str,
)
def test_newcombe_gives_the_published_intervals(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    interval = statistics.newcombe(first, second)

    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("statistic", "degrees", "tail"),
    [(3.841, 1, 0.05), (5.991, 2, 0.05), (7.815, 3, 0.05), (13.277, 4, 0.01), (15.086, 5, 0.01)],
)
def test_chi_square_tail_gives_the_tabled_values(
    statistic: float, degrees: int, tail: float
) -> None:
    assert statistics.chi_square_tail(statistic, degrees) == pytest.approx(tail, rel=1e-3)


# Lehr's rule of thumb (Statistics in Medicine 11, 1992): 16 p(1 − p)/d² per group show d with power
# 0.8. With 356 in each of two groups around 65 %, d is about a tenth.
def test_what_groups_of_a_size_show_agrees_with_lehrs_rule() -> None:
    shown = statistics.detectable((214, 356), (249, 356))

    assert shown == pytest.approx((16 * 0.65 * 0.35 / 356) ** 0.5, rel=0.02)


@given(groups(), groups())
def test_larger_groups_show_smaller_differences(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    assume(0 < first[0] + second[0] < first[1] + second[1])
    larger = [(4 * count, 4 * of) for count, of in (first, second)]

    shown = statistics.detectable(first, second)

    assert statistics.detectable(*larger) == pytest.approx(shown / 2)


@given(groups())
def test_a_rate_lies_within_its_interval_and_the_interval_within_0_and_1(
    group: tuple[int, int],
) -> None:
    interval = statistics.wilson(*group)

    assert 0 <= interval.low <= interval.value <= interval.high <= 1


@given(groups(), groups())
def test_swapping_the_groups_mirrors_the_difference(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    one, other = statistics.newcombe(first, second), statistics.newcombe(second, first)

    assert one.low <= one.value <= one.high
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@given(groups(), st.integers(1, 20))
def test_a_group_never_differs_clearly_from_itself(
    group: tuple[int, int], comparisons: int
) -> None:
    comparison = statistics.compare(group, group, comparisons=comparisons)

    assert comparison is not None
    assert comparison.verdict is Verdict.TOO_SMALL


def test_a_small_trial_is_called_too_small_and_says_what_it_could_have_shown() -> None:
    comparison = statistics.compare((12, 40), (9, 40))

    assert comparison is not None
    assert comparison.verdict is Verdict.TOO_SMALL
    assert comparison.detectable > 0.2


def test_the_same_rates_among_enough_people_are_clear() -> None:
    comparison = statistics.compare((1200, 4000), (900, 4000))

    assert comparison is not None
    assert comparison.verdict is Verdict.CLEAR


def test_an_empty_group_is_compared_with_nothing() -> None:
    assert statistics.compare((0, 0), (3, 9)) is None


# The worked example of sample-ratio mismatch: 821,588 against 815,482 of an even split.
# Kohavi, Tang, Xu, Trustworthy Online Controlled Experiments (2020), chapter 21: p = 1.8e-6.
def test_the_published_uneven_split_is_suspect() -> None:
    check = statistics.split_check([821_588, 815_482], [0.5, 0.5])

    assert check is not None
    assert check.is_suspect
    assert check.p_value == pytest.approx(1.8e-6, rel=0.05)


@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=8))
def test_a_split_as_it_was_meant_is_never_suspect(counts: list[int]) -> None:
    check = statistics.split_check(counts, [float(count) for count in counts])

    assert check is not None
    assert check.p_value == pytest.approx(1)


@given(st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=50))
def test_a_mean_lies_within_its_interval(amounts: list[int]) -> None:
    interval = statistics.mean(sum(amounts), sum(a * a for a in amounts), len(amounts))

    assert interval is not None
    assert interval.low <= interval.value <= interval.high
    assert interval.value == pytest.approx(sum(amounts) / len(amounts))
