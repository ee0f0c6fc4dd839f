"""No second holds more mail than it should, whoever sends it, and hardly less."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.clock import FrozenClock, SystemClock
from pipelines.delivery.pace import AHEAD_SECONDS, Lease, Limit, Pace, Wait

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def still() -> FrozenClock:
    return FrozenClock(NOON)


@pytest.fixture
def pace(tmp_path: Path, still: FrozenClock) -> Pace:
    return Pace(tmp_path / "pace.sqlite", still)


def slots(lease: Lease) -> list[float]:
    return [lease.slot(number) for number in range(lease.count)]


def run(pace: Pace, clock: FrozenClock, limits: dict[str, Limit], seconds: float) -> list[float]:
    """The slots a sender gets that asks for more whenever it has none left."""
    found: list[float] = []
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        got = pace.lease(limits, 1_000)
        if isinstance(got, Wait):
            clock.sleep(min(got.seconds, 0.05) + 0.001)
        else:
            found += slots(got)
            clock.sleep(max(0.0, found[-1] - AHEAD_SECONDS / 2 - clock.monotonic()))
    return [slot for slot in found if slot < end]


@pytest.mark.parametrize("rate", [0.5, 1, 7, 333, 5_000])
def test_a_rate_is_reached_within_2_percent_and_never_exceeded(pace, still, rate):
    seconds = 20.0
    found = run(pace, still, {"relay": Limit(rate)}, seconds)

    assert seconds * rate * 0.98 - 1 <= len(found) <= seconds * rate + 1
    nearest = min(later - earlier for earlier, later in pairwise(found))
    assert nearest >= 1 / rate - 1e-6


@settings(max_examples=20, deadline=None)
@given(
    rates=st.tuples(st.floats(1, 2_000), st.floats(1, 2_000)),
    asks=st.lists(
        st.tuples(st.sampled_from(["google", "yahoo"]), st.integers(1, 300), st.floats(0, 0.3)),
        min_size=5,
        max_size=60,
    ),
)
def test_no_way_gets_more_than_its_rate_whoever_asks_in_whatever_order(
    tmp_path_factory, rates, asks
):
    clock = FrozenClock(NOON)
    pace = Pace(tmp_path_factory.mktemp("pace") / "pace.sqlite", clock)
    limits = {"relay": Limit(rates[0]), "google": Limit(rates[1]), "yahoo": Limit()}
    used: dict[str, list[float]] = {name: [] for name in limits}

    for group, wanted, passes in asks:
        ways = {"relay": limits["relay"], group: limits[group]}
        got = pace.lease(ways, wanted)
        if isinstance(got, Lease):
            assert got.count <= wanted
            for name in ways:
                used[name] += slots(got)
        clock.sleep(passes)

    for name, rate in (("relay", rates[0]), ("google", rates[1])):
        times = sorted(used[name])
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert min(gaps, default=1.0) >= 1 / rate - 1e-6


def test_two_senders_at_once_share_one_timeline(tmp_path: Path):
    found: list[float] = []

    def ask() -> None:
        own = Pace(tmp_path / "pace.sqlite", SystemClock())
        for _ in range(40):
            got = own.lease({"relay": Limit(100_000)}, 50)
            if isinstance(got, Lease):
                found.extend(slots(got))
        own.close()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == len(set(found)) >= 1_000


def test_an_hour_and_a_day_hold_no_more_than_their_caps_over_a_restart_too(tmp_path, still):
    path, limit = tmp_path / "pace.sqlite", {"relay": Limit(hourly=30, daily=50)}
    first = Pace(path, still)
    assert sum(len(slots(first.lease(limit, 20))) for _ in range(1)) == 20
    first.close()

    again = Pace(path, still)
    got = again.lease(limit, 20)

    assert got.count == 10
    assert again.lease(limit, 1) == Wait(3600.0, "relay: 30 an hour")
    still.sleep(3600)
    assert again.lease(limit, 100).count == 20
    assert again.lease(limit, 1).why == "relay: 50 a day"


def test_slots_that_were_not_used_count_towards_no_cap(pace):
    limit = {"relay": Limit(hourly=30)}
    pace.lease(limit, 30)

    pace.give_back(limit, 10)

    assert pace.lease(limit, 30).count == 10


def test_too_fast_halves_once_and_comes_back(pace, still):
    limit = {"google": Limit(100)}
    for _ in range(5):
        assert pace.slow("google", observed=100) == 0.5

    assert pace.factors() == {"google": 0.5}
    assert len(run(pace, still, limit, 9.0)) == pytest.approx(450, abs=20)
    still.sleep(300)
    assert pace.factors() == {}


def test_a_way_without_a_rate_is_slowed_to_half_of_what_it_had(pace, still):
    pace.slow("google", observed=80)

    assert len(run(pace, still, {"google": Limit()}, 5.0)) == pytest.approx(200, abs=12)


def test_an_urgent_message_gets_the_next_slot(pace, still):
    limit = {"relay": Limit(1)}
    pace.lease(limit, 1)

    urgent = pace.lease(limit, 1, is_urgent=True)
    assert isinstance(urgent, Wait)
    still.sleep(urgent.seconds + 0.001)
    assert isinstance(pace.lease(limit, 1), Wait)
    assert isinstance(pace.lease(limit, 1, is_urgent=True), Lease)
    assert isinstance(pace.lease(limit, 1), Wait)


def test_slots_of_another_start_of_the_machine_mean_nothing(tmp_path, still, monkeypatch):
    path, limit = tmp_path / "pace.sqlite", {"relay": Limit(1)}
    first = Pace(path, still)
    first.lease(limit, 1)
    first.close()
    monkeypatch.setattr("pipelines.delivery.pace.boot_id", lambda: "another boot")
    still.at -= timedelta(days=3)

    assert isinstance(Pace(path, still).lease(limit, 1), Lease)
