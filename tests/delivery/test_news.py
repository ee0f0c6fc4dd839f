"""What a send tells while it is under way: how fast, how far, by which relay, to whom, what went wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from pipelines.campaigns.bundle import load_current
from pipelines.clock import FrozenClock
from pipelines.delivery.news import News
from pipelines.delivery.relay import Relay
from pipelines.delivery.routes import Routes, Way
from pipelines.delivery.states import State
from pipelines.delivery.worker import Told
from pipelines.delivery.workers import SendOrder, Tally
from pipelines.demo.prepare import Demo


@pytest.fixture
def heard() -> list[News]:
    return []


@pytest.fixture
def tally(demo: Demo, clock: FrozenClock, heard: list[News]) -> Tally:
    """Of a run over 1,000 recipients, 100 of whom were settled before it."""
    bundle = load_current(demo.campaign, demo.home.approvals)
    assert bundle is not None
    space = replace(demo.workspace, clock=clock)
    routes = Routes((Way("main", Relay("127.0.0.1", 25)),))
    return Tally(SendOrder(bundle, space, routes, progress=heard.append), 1_000, 100)


def told(**states: int) -> Told:
    return Told(Counter({(State(name), "google"): count for name, count in states.items()}), "")


def test_what_several_workers_tell_is_added_up_by_relay_destination_and_state(
    tally: Tally, clock: FrozenClock, heard: list[News]
):
    clock.sleep(1)
    tally.add(told(accepted=30, deferred=2), "main")
    tally.add(Told(Counter({(State.REJECTED, "other"): 4}), "to google: 5 a second"), "spare")

    news = heard[-1]
    assert (news.settled, news.done, news.per_second, news.seconds_left) == (36, 136, 36, 24)
    assert news.relays == {"main": 32, "spare": 4}
    assert news.by_destination() == [
        ("google", 32, {"accepted": 30, "deferred": 2}),
        ("other", 4, {"rejected": 4}),
    ]
    assert str(news) == (
        "136 of 1,000, 36 a second, 24 s left, limited by to google: 5 a second; 4 rejected; 2 deferred"
    )


def test_the_speed_is_that_of_the_last_seconds_and_not_of_the_whole_run(
    tally: Tally, clock: FrozenClock, heard: list[News]
):
    clock.sleep(1)
    tally.add(told(accepted=500), "main")
    for _ in range(12):
        clock.sleep(1)
        tally.add(told(accepted=2), "main")

    assert heard[-1].per_second == 2
