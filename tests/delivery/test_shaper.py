"""One worker's slots: as fast as it may, to each destination, and no faster."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.clock import FrozenClock
from pipelines.delivery.pace import AHEAD_SECONDS, LEASED_SECONDS, Limit, Pace
from pipelines.delivery.relay import Relay
from pipelines.delivery.routes import Routes, Way
from pipelines.delivery.shaper import Shaper

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def still() -> FrozenClock:
    return FrozenClock(NOON)


@pytest.fixture
def shaper(tmp_path: Path, still: FrozenClock):
    def make(
        rate: float | None = None,
        relay: Limit | None = None,
        *,
        is_urgent: bool = False,
        **limits: Limit,
    ) -> Shaper:
        way = Way("main", Relay("127.0.0.1", 25), relay or Limit())
        routes = Routes((way,), Limit(rate), limits)
        pace = Pace(tmp_path / "pace.sqlite", still)
        return Shaper(pace, routes, "main", still, is_urgent=is_urgent)

    return make


def sent(shaper: Shaper, clock: FrozenClock, seconds: float, *destinations: str) -> dict[str, int]:
    """How many go out when each of these always has somebody waiting."""
    counts = dict.fromkeys(destinations, 0)
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        waits = []
        for name in destinations:
            wait = shaper.seconds_to(name, waiting=500)
            counts[name] += wait == 0
            waits.append(wait)
        if min(waits) > 0:
            clock.sleep(min(waits))
        else:
            clock.sleep(0.0001)
    return counts


def test_where_nothing_is_limited_nothing_waits(shaper, still):
    free = shaper()

    assert [free.seconds_to("google") for _ in range(1_000)] == [0.0] * 1_000
    assert free.limited_by == ""


@pytest.mark.parametrize("rate", [5, 50, 800])
def test_the_set_rate_is_reached_over_all_destinations_together(shaper, still, rate):
    counts = sent(shaper(rate), still, 20.0, "google", "yahoo", "other")

    assert 0.98 * 20 * rate - 1 <= sum(counts.values()) <= 20 * rate + 1


def test_a_slow_destination_does_not_hold_the_others_up(shaper, still):
    counts = sent(shaper(500, google=Limit(10)), still, 10.0, "google", "other")

    assert counts["google"] == pytest.approx(100, abs=2)
    assert 0.96 * 4_900 <= counts["other"] <= 4_901


def test_a_relay_has_a_rate_of_its_own_below_that_of_all(shaper, still):
    counts = sent(shaper(1_000, relay=Limit(20)), still, 10.0, "other")

    assert counts["other"] == pytest.approx(200, abs=4)


def test_a_destination_that_asked_for_less_gets_less_and_the_others_do_not(shaper, still):
    used = shaper(None)
    sent(used, still, 2.0, "google", "other")
    used.slow("google")

    counts = sent(used, still, 2.0, "google", "other")

    assert counts["google"] < 0.6 * counts["other"]


def test_a_relay_that_asked_for_less_before_anybody_was_named_gets_less_of_everything(
    shaper, still
):
    used, beside = shaper(None), shaper(None)
    before = sent(used, still, 2.0, "google", "other")
    used.slow_relay()

    counts = sent(used, still, 2.0, "google", "other")
    others = sent(beside, still, 2.0, "google")

    # By whichever worker it is sent: half of what there was, and coming back.
    assert sum(counts.values()) == pytest.approx(sum(before.values()) / 2, rel=0.05)
    assert others["google"] == pytest.approx(sum(before.values()) / 2, rel=0.05)
    still.sleep(600)
    assert sum(sent(used, still, 2.0, "google", "other").values()) == sum(before.values())


@pytest.mark.parametrize("rate", [0.5, 4, 300])
def test_an_urgent_message_waits_behind_no_campaign(shaper, still, rate):
    campaign, urgent = shaper(rate), shaper(rate, is_urgent=True)
    step = 0.1 / rate
    for _ in range(100):
        campaign.seconds_to("other", waiting=500)
        still.sleep(step)
    started, before = still.monotonic(), 0

    while urgent.seconds_to("google") > 0:
        before += campaign.seconds_to("other", waiting=500) == 0
        still.sleep(step)

    # What the campaign had leased already, and the one slot that it begins meanwhile at most.
    assert before <= max(1, rate * (LEASED_SECONDS + AHEAD_SECONDS)) + 1
    assert still.monotonic() - started <= 2 / rate + AHEAD_SECONDS


def test_a_worker_that_ends_gives_back_what_it_leased_of_a_cap(shaper, still):
    first = shaper(None, relay=Limit(daily=100))
    assert [first.seconds_to("other", waiting=80) for _ in range(30)] == [0.0] * 30
    first.close()

    second = shaper(None, relay=Limit(daily=100))
    assert [second.seconds_to("other", waiting=70) for _ in range(70)] == [0.0] * 70
    assert second.seconds_to("other") > 3_600
    assert second.limited_by == "relay main: 100 a day"


def test_it_says_what_limits_it_while_it_does_and_no_longer(shaper, still):
    slow = shaper(5)
    sent(slow, still, 2.0, "other")
    assert slow.limited_by == "the rate over all"

    for _ in range(4):
        still.sleep(1.5)
        assert slow.seconds_to("other") == 0.0
    assert slow.limited_by == ""
