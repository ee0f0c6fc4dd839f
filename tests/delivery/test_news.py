"""What a send tells while it is under way: how fast, how far, by which relay, to whom, what went wrong."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from pipelines.campaigns.bundle import load_current
from pipelines.clock import FrozenClock
from pipelines.delivery import approval
from pipelines.delivery.ledger import Ledger, micros
from pipelines.delivery.news import News
from pipelines.delivery.relay import Relay
from pipelines.delivery.routes import Routes, Way
from pipelines.delivery.states import State
from pipelines.delivery.worker import Told
from pipelines.delivery.workers import SendOrder, Tally
from pipelines.demo.prepare import Demo
from pipelines.schema import AUDIENCE


@pytest.fixture
def clock(demo: Demo) -> FrozenClock:
    """After everybody in the shop was due."""
    return FrozenClock(demo.workspace.clock.now())


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
    assert (news.settled, news.done, news.per_second, news.seconds_left) == (34, 134, 36, 24)
    assert news.relays == {"main": 32, "spare": 4}
    assert news.by_destination() == [
        ("google", 32, {"accepted": 30, "deferred": 2}),
        ("other", 4, {"rejected": 4}),
    ]
    assert str(news) == (
        "134 of 1,000 (2 later), 36 a second, 24 s left, limited by to google: 5 a second"
        "; 4 rejected; 2 deferred"
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


def test_who_is_due_later_or_was_put_off_is_not_settled_and_takes_none_of_the_time_left(
    demo: Demo, clock: FrozenClock, heard: list[News]
):
    key, space = demo.campaign, replace(demo.workspace, clock=clock)
    tomorrow = clock.now() + timedelta(days=1)
    frozen = approval.frozen(key, space)
    is_later = (pl.col("decision") == "mail") & (pl.col("recipient") < 7)
    send_at = pl.when(is_later).then(tomorrow).otherwise(pl.col("send_at"))
    dtype = frozen.schema["send_at"]
    space.lake.replace(AUDIENCE, frozen.with_columns(send_at=send_at.cast(dtype)), campaign=key)
    with closing(Ledger(demo.home.ledgers / f"{key}.sqlite")) as ledger, ledger.transaction() as db:
        row = (
            "insert into sends (contact_id, address_hash, recipient, state, next_at, epoch, worker)"
        )
        for number, at in ((7, tomorrow), (8, clock.now())):
            values = (number, f"h{number}", number, "deferred", micros(at))
            db.execute(f"{row} values (?, ?, ?, ?, ?, 1, 0)", values)
    bundle = approval.approved(key, space)
    order = SendOrder(
        bundle, space, Routes((Way("main", Relay("127.0.0.1", 25)),)), progress=heard.append
    )

    counted = Tally(order, 40, 10)
    clock.sleep(1)
    counted.add(told(accepted=4, deferred=1), "main")

    # 7 due tomorrow, 1 put off until then, 1 put off just now; whose time has come again is tried.
    assert (heard[-1].done, heard[-1].later, heard[-1].seconds_left) == (14, 9, 17 / 5)
