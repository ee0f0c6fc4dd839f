"""What is measured of each arm of a campaign, and among whom."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.reporting import statistics
from pipelines.reporting.statistics import Interval, Rate
from pipelines.reporting.tally import Arm

# What is measured of each arm → among whom: fields of Arm. An open or a click can only be seen of
# people who agreed to it, so they alone are the measure.
AMONG: Mapping[str, str] = {
    "sent": "people",
    "bounced": "sent",
    "delivered": "sent",
    "opened": "tracked",
    "clicked": "tracked",
    "unsubscribed": "delivered",
    "complained": "delivered",
    "ordered": "people",
}


def measured(arm: Arm, measure: str) -> Rate:
    """One measure of one arm, with its interval."""
    return statistics.rate(getattr(arm, measure), getattr(arm, AMONG[measure]))


def money_per_person(arm: Arm | None) -> Interval | None:
    """Revenue per person in minor units; None for nobody."""
    if arm is None:
        return None
    return statistics.mean(arm.revenue_minor, arm.revenue_squares, arm.people)
