"""How sure a number is: intervals for rates and their differences, and when a sample is too small.

Pure functions over counts. Knows nothing of campaigns; how a verdict is worded is wording.py's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

CONFIDENCE = 0.95
POWER = 0.8
# Below this the split itself is suspect and no comparison of the groups is worth reading. Small on
# purpose: the check runs on every report (Fabijan et al., KDD 2019, use 0.0005; 0.001 is common).
MISMATCH_P = 0.001


class Verdict(StrEnum):
    CLEAR = "clear"
    TOO_SMALL = "too small to tell"


@dataclass(frozen=True)
class Interval:
    """An estimate and the range it may lie in; rates are 0–1, differences −1–1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Rate:
    """`count` of `of`, with its interval; of nobody there is no rate."""

    count: int
    of: int
    interval: Interval | None


@dataclass(frozen=True)
class Comparison:
    """Two rates against each other: first minus second."""

    difference: Interval
    verdict: Verdict
    # The smallest difference that groups of these sizes show in 4 of 5 trials.
    detectable: float


@dataclass(frozen=True)
class SplitCheck:
    """Whether groups have the sizes they were meant to have."""

    statistic: float
    p_value: float

    @property
    def is_suspect(self) -> bool:
        return self.p_value < MISMATCH_P


def rate(count: int, of: int, *, confidence: float = CONFIDENCE) -> Rate:
    """A rate with its Wilson interval."""
    return Rate(count, of, wilson(count, of, confidence=confidence) if of else None)


def wilson(count: int, of: int, *, confidence: float = CONFIDENCE) -> Interval:
    """The score interval of a proportion (Wilson, JASA 22, 1927; method 3 of Newcombe 1998a).

    With p = count/of and z the normal quantile:
    (2np + z² ± z √(z² + 4np(1 − p))) / 2(n + z²). No continuity correction.
    """
    _check(count, of)
    z, share = _quantile(confidence), count / of
    middle = 2 * count + z * z
    spread = z * math.sqrt(z * z + 4 * count * (1 - share))
    low, high = (middle - spread) / (2 * (of + z * z)), (middle + spread) / (2 * (of + z * z))
    # Rounding may leave 1e-18 where the formula gives exactly 0 or 1.
    return Interval(share, 0.0 if count == 0 else low, 1.0 if count == of else high)


def newcombe(
    first: tuple[int, int], second: tuple[int, int], *, confidence: float = CONFIDENCE
) -> Interval:
    """The interval of a difference of two proportions, first − second.

    The square-and-add method of Wilson intervals: method 10 of Newcombe, Statistics in Medicine 17
    (1998) 873–890. Each group is (count, of).
    """
    one, two = (wilson(*group, confidence=confidence) for group in (first, second))
    difference = one.value - two.value
    below = math.hypot(one.value - one.low, two.high - two.value)
    above = math.hypot(one.high - one.value, two.value - two.low)
    return Interval(difference, max(-1.0, difference - below), min(1.0, difference + above))


def compare(
    first: tuple[int, int], second: tuple[int, int], *, comparisons: int = 1
) -> Comparison | None:
    """What two rates say about each other; None when one group is empty.

    comparisons  how many are made side by side: each is held to a stricter level (Bonferroni), so
                 that all of them together are wrong in at most 5 % of reports
    """
    if not first[1] or not second[1]:
        return None
    difference = newcombe(first, second, confidence=1 - (1 - CONFIDENCE) / comparisons)
    is_clear = difference.low > 0 or difference.high < 0
    verdict = Verdict.CLEAR if is_clear else Verdict.TOO_SMALL
    return Comparison(difference, verdict, detectable(first, second))


def detectable(first: tuple[int, int], second: tuple[int, int], *, power: float = POWER) -> float:
    """The smallest difference that groups of this size would show, with the given power at 5 %.

    (z_α/2 + z_β) √(p̄q̄ (1/n₁ + 1/n₂)), p̄ the rate of both together: it depends on how many there are and
    how many act at all, not on the difference that happened to be seen. Each group is (count, of).
    """
    of = first[1] + second[1]
    # With nobody, or everybody, acting: one more who does not is the least that could be seen.
    share = min(max(first[0] + second[0], 1), max(of - 1, 1)) / of
    reach = _quantile(CONFIDENCE) + NormalDist().inv_cdf(power)
    return reach * math.sqrt(share * (1 - share) * (1 / first[1] + 1 / second[1]))


def split_check(counts: Sequence[int], shares: Sequence[float]) -> SplitCheck | None:
    """Sample-ratio mismatch: Pearson's chi-square of sizes against intended shares.

    None when there is nothing to compare. Shares need not sum to 1.
    """
    total, whole = sum(counts), sum(shares)
    if total == 0 or len(counts) < 2 or min(shares) <= 0:
        return None
    expected = [total * share / whole for share in shares]
    statistic = sum(
        (seen - hoped) ** 2 / hoped for seen, hoped in zip(counts, expected, strict=True)
    )
    return SplitCheck(statistic, chi_square_tail(statistic, len(counts) - 1))


def chi_square_tail(statistic: float, degrees: int) -> float:
    """The chance that a chi-square variable exceeds the statistic.

    For 1 degree erfc(√(x/2)), for 2 e^(−x/2), then Q(a+1, y) = Q(a, y) + yᵃ e^(−y) / Γ(a+1), with
    a = degrees/2, y = x/2 (Abramowitz and Stegun 26.4.4–26.4.5, 6.5.21).
    """
    half = statistic / 2
    if half <= 0:
        return 1.0
    tail, reached = (math.erfc(math.sqrt(half)), 1) if degrees % 2 else (math.exp(-half), 2)
    while reached < degrees:
        a = reached / 2
        tail += math.exp(a * math.log(half) - half - math.lgamma(a + 1))
        reached += 2
    return min(1.0, tail)


def mean(total: float, squares: float, of: int) -> Interval | None:
    """A mean per person with its normal interval, from the sum and the sum of squares.

    Money per person is skewed: below a few hundred buyers the interval is a hint, not a proof.
    """
    if of < 2:
        return None
    value = total / of
    variance = max(0.0, (squares - of * value * value) / (of - 1))
    reach = _quantile(CONFIDENCE) * math.sqrt(variance / of)
    return Interval(value, value - reach, value + reach)


def mean_difference(first: Interval, second: Interval) -> Interval:
    """First mean − second, for independent groups: the variances add (Welch, large samples)."""
    difference = first.value - second.value
    reach = math.hypot(first.high - first.value, second.high - second.value)
    return Interval(difference, difference - reach, difference + reach)


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _check(count: int, of: int) -> None:
    if not 0 <= count <= of or of == 0:
        raise ValueError(f"{count} of {of} is not a rate")
