"""A worker's connections: one that is refused leaves its work to the others, and nobody is missed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from pipelines.campaigns.bundle import load_current
from pipelines.clock import FrozenClock
from pipelines.delivery.budget import FEWEST_SLOW
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.marks import Mark, Marks
from pipelines.delivery.pace import HALVE_SECONDS, Pace
from pipelines.delivery.pausing import paused
from pipelines.delivery.routes import Routes, Way
from pipelines.delivery.states import State
from pipelines.delivery.worker import Task, Worker
from pipelines.demo.prepare import Demo

BUSY = b"421 4.7.0 too many connections"
LINES = 4


@pytest.fixture
def send(demo: Demo, speaking: Any) -> Iterator[Callable[..., tuple[Worker, Any, int]]]:
    """Run one worker of the shop's campaign against a server with these replies, in this process."""
    key, home, space = demo.campaign, demo.home, demo.workspace
    bundle = load_current(key, home.approvals)
    assert bundle is not None
    size = space.lake.read("campaigns.audience").filter(decision="mail").collect().height
    ledger = Ledger(home.ledgers / f"{key}.sqlite")
    epoch = ledger.begin_epoch(
        marks=Marks(home.ledgers / f"{key}.marks", size), at=space.clock.now()
    )
    ours, theirs = multiprocessing.Pipe()

    async def run(
        lines: int, limit: int | None, to_one: dict[str, int], replies: Any
    ) -> tuple[Worker, Any, int]:
        async with speaking(**replies) as server:
            relay = replace(server.relay, per_connection=limit)
            pins = space.lake.pin(("campaigns.audience", "core.contacts"))
            worker = Worker(
                Task(
                    key=key,
                    bundle_hash=bundle.content_hash,
                    settings=demo.settings,
                    relay=relay,
                    routes=Routes((Way("scripted", relay),), per_connection=to_one),
                    way="scripted",
                    epoch=epoch,
                    size=size,
                    shard=0,
                    workers=1,
                    pins=pins,
                    lock=None,  # type: ignore[arg-type]  # nobody else is here
                ),
                theirs,
            )
            await worker.team.run(lines)
            worker.desk.close()
            return worker, server, size

    yield lambda lines=LINES, per_connection=None, to_one=None, **replies: asyncio.run(
        run(lines, per_connection, to_one or {}, replies)
    )
    ledger.close()
    ours.close()
    theirs.close()


def test_connections_the_relay_does_not_take_leave_everybody_to_the_one_it_took(send: Any):
    worker, server, size = send(
        connect=lambda count: b"220 scripted" if count == 1 else BUSY,
    )

    assert worker.team.broken is None
    assert worker.ledger.counts() == {"accepted": size}
    assert len(server.bodies) == size


def test_a_relay_that_takes_no_connection_at_all_ends_the_send_and_claims_nobody(send: Any):
    worker, _, _ = send(connect=BUSY)

    assert "too many connections" in str(worker.team.broken)
    assert not worker.team.is_refused
    assert worker.ledger.counts() == {}


def test_a_server_with_a_limit_of_messages_for_each_connection_gets_them_all(send: Any):
    # Each fifth is one too many for its connection.
    enough = b"421 4.7.0 enough"
    worker, server, size = send(lines=1, mail=lambda count: enough if count % 5 == 0 else b"250 ok")

    assert worker.ledger.counts() == {"accepted": size}
    assert len(server.bodies) == size


def test_a_denial_stops_every_line_and_frees_whoever_was_not_begun(send: Any):
    worker, server, size = send(dot=b"554 5.7.1 Relay access denied")

    counts = worker.ledger.counts()
    assert worker.team.is_refused
    assert set(counts) == {"deferred"}
    assert counts["deferred"] <= LINES
    assert len(server.bodies) < size


def test_whoever_is_dropped_at_the_dot_is_in_doubt_and_whoever_is_behind_is_sent(send: Any):
    worker, server, size = send(dot=lambda count: None if count % 7 == 0 else b"250 kept")

    doubted = worker.ledger.rows(State.IN_DOUBT)
    assert worker.ledger.counts() == {"accepted": size - len(doubted), "in_doubt": len(doubted)}
    assert len(doubted) == size // 7
    assert {worker.marks[row["recipient"]] for row in doubted} == {Mark.DOT}
    assert len(server.bodies) == size


@pytest.mark.parametrize(
    ("stage", "slowed"), [("mail", "relay scripted"), ("rcpt", "to other")], ids=["mail", "rcpt"]
)
def test_too_fast_is_said_of_the_relay_before_anybody_is_named_and_of_a_destination_after(
    send: Any, stage: str, slowed: str
):
    worker, _, size = send(
        **{stage: lambda count: b"451 4.7.500 server busy" if count == 100 else b"250 ok"}
    )

    assert list(worker.pace.factors()) == [slowed]
    assert worker.ledger.counts() == {"accepted": size - 1, "deferred": 1}


def test_a_send_that_spent_its_error_budget_pauses_itself_and_says_why(send: Any, demo: Demo):
    worker, server, size = send(rcpt=b"550 5.7.1 blocked using zen.spamhaus.org")

    found = paused(demo.home.ledgers, demo.campaign)
    assert found is not None
    assert "taken for spam or listed" in found.why
    assert worker.ledger.counts()["rejected"] < size
    assert set(server.bodies) <= {b".\r\n"}


def test_a_send_whose_relay_says_too_fast_however_slow_it_is_pauses_itself(send: Any, demo: Demo):
    clock = FrozenClock(demo.workspace.clock.now())
    with closing(Pace(demo.home.pace, clock)) as pace:
        for _ in range(4):
            # Before: a message each hundredth of a second at the slowest.
            pace.slow("relay scripted", observed=1_600)
            clock.sleep(HALVE_SECONDS)
        pace.slow("relay scripted", observed=1_600)

    worker, _, size = send(mail=b"451 4.7.500 server busy")

    found = paused(demo.home.ledgers, demo.campaign)
    assert found is not None
    assert "too much at once" in found.why
    assert FEWEST_SLOW <= worker.ledger.counts()["deferred"] < size


def test_a_pause_that_cannot_be_kept_cuts_no_line_off(send: Any, demo: Demo):
    # As on a full disk: its file cannot be written.
    (demo.home.ledgers / f"{demo.campaign}.paused.{os.getpid()}.part").mkdir()

    worker, server, size = send(dot=b"550 5.7.1 blocked using zen.spamhaus.org")

    assert isinstance(worker.unkept, OSError)
    assert worker.ledger.counts() == {"rejected": len(server.bodies)}
    assert len(server.bodies) < size


def test_a_relay_s_limit_for_a_connection_is_kept_and_nobody_is_missed(send: Any):
    worker, server, size = send(lines=1, per_connection=5)

    greetings = sum(command.startswith(b"EHLO") for command in server.commands)
    assert worker.ledger.counts() == {"accepted": size}
    assert greetings == -(-size // 5)


def test_a_destination_s_limit_for_a_connection_is_kept_and_is_no_other_s(send: Any):
    worker, server, size = send(lines=1, to_one={"other": 5, "google": 1})

    greetings = sum(command.startswith(b"EHLO") for command in server.commands)
    assert worker.ledger.counts() == {"accepted": size}
    assert greetings == -(-size // 5)
