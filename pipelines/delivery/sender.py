"""Send a campaign: the parent of the workers.

Takes the campaign's ledger in hand, starts the workers and ends with them. Whether it is the one this home
knows is holding.py's; who may be mailed was decided before; how it is said on the wire is the worker's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from pipelines.delivery.berths import berths_at
from pipelines.delivery.holding import held
from pipelines.delivery.pausing import Paused, paused
from pipelines.delivery.relay import probe
from pipelines.delivery.resolving import resend_after_its_time
from pipelines.delivery.routes import Routes, Way
from pipelines.delivery.states import FINAL, State
from pipelines.delivery.workers import SendOrder, Tally, send_by
from pipelines.errors import RelayUnavailable
from pipelines.workspace import Workspace


@dataclass(frozen=True)
class SendResult:
    """What a run did: recipients by state in the whole ledger, and what this run added."""

    counts: dict[str, int]
    audience: int
    sent_this_run: int
    epoch: int
    seconds: float
    paused: Paused | None = None

    @property
    def unclaimed(self) -> int:
        return self.audience - sum(self.counts.values())


def send(order: SendOrder) -> SendResult:
    """Send to everybody who is due and has not got it, until it is paused.

    Raises LedgerRefused, SendHeld, and RelayUnavailable when no relay takes anything.
    """
    space, key = order.workspace, order.bundle.key
    started = space.clock.monotonic()
    ways = answering(order.routes, space)
    with held(order.bundle, space, accept=order.accept_ledger) as hold:
        resend_after_its_time(order.bundle, hold.ledger, hold.marks, space)
        if order.at_start is not None:
            order.at_start(hold.ledger)
        known = hold.ledger.counts()
        tally = Tally(order, hold.size, _final(known))
        send_by(ways, order, tally, epoch=hold.epoch, size=hold.size, lock=hold.lock)
        counts = hold.ledger.counts()
    sent = counts.get(State.ACCEPTED.value, 0) - known.get(State.ACCEPTED.value, 0)
    seconds = space.clock.monotonic() - started
    return SendResult(counts, hold.size, sent, hold.epoch, seconds, paused(space.home.ledgers, key))


def answering(
    routes: Routes, workspace: Workspace, *, is_urgent: bool = False, until: float = inf
) -> list[Way]:
    """The relays from the first that lets us in. Raises RelayUnavailable when none does.

    One of whose connections every one is in use is not asked: it lets us in.
    """
    for number, way in enumerate(routes.ways):
        berths = berths_at(workspace.home.berths, way, is_urgent=is_urgent)
        try:
            if berths is None or berths.take():
                asyncio.run(probe(way.relay, until - workspace.clock.monotonic()))
        except RelayUnavailable:
            if number == len(routes.ways) - 1:
                raise
            continue
        finally:
            if berths is not None:
                berths.close()
        return list(routes.ways[number:])
    raise AssertionError("there is a way at least")


def _final(counts: Mapping[str, int]) -> int:
    """How many of these nobody is going to be tried again."""
    return sum(count for state, count in counts.items() if State(state) in FINAL)
