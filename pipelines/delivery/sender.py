"""Send a campaign: the parent of the workers.

Holds the campaign's lock, checks that the ledger is the one this home knows, settles what a dead run
left, starts the workers and ends with them. Who may be mailed was decided before; how it is said on
the wire is the worker's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import polars as pl

from pipelines.campaigns.bundle import load_current
from pipelines.delivery.berths import berths_at
from pipelines.delivery.export import audience_size, candidates_of, export
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.lock import CampaignLock
from pipelines.delivery.marks import Marks
from pipelines.delivery.pausing import Paused, paused
from pipelines.delivery.relay import probe
from pipelines.delivery.resolving import resend_after_its_time
from pipelines.delivery.routes import Routes, Way
from pipelines.delivery.states import FINAL, State
from pipelines.delivery.workers import SendOrder, Tally, send_by
from pipelines.errors import LedgerRefused, Problem, RelayUnavailable, SendHeld
from pipelines.schema import LEDGER_HEADS, UTC_TIME
from pipelines.settings import DeliveryMode, Settings, machine_id
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

    Raises LedgerRefused, and RelayUnavailable when no relay takes anything.
    """
    space, key = order.workspace, order.bundle.key
    started = space.clock.monotonic()
    ways = answering(order.routes, space)
    lock = CampaignLock(space.home.ledgers / f"{key}.lock")
    try:
        # Under the lock: a plan or an amendment may have been under way.
        _still_approved(order)
        size = audience_size(key, space.lake)
        counts, before, epoch = _sent(order, ways, size, lock)
    finally:
        lock.release()
    sent = counts.get(State.ACCEPTED.value, 0) - before
    seconds = space.clock.monotonic() - started
    return SendResult(counts, size, sent, epoch, seconds, paused(space.home.ledgers, key))


def _sent(
    order: SendOrder, ways: Sequence[Way], size: int, lock: CampaignLock
) -> tuple[dict[str, int], int, int]:
    """Counts by state, how many were accepted before this run, and its epoch."""
    space, key = order.workspace, order.bundle.key
    marks = Marks(space.home.ledgers / f"{key}.marks", size)
    try:
        ledger = _ledger(order, marks)
        try:
            epoch = _begin(order, ledger, marks)
            resend_after_its_time(order.bundle, ledger, marks, space)
            if order.at_start is not None:
                order.at_start(ledger)
            known = ledger.counts()
            tally = Tally(order, size, _final(known))
            try:
                send_by(ways, order, tally, epoch=epoch, size=size, lock=lock)
            finally:
                export(key, ledger, space)
            return ledger.counts(), known.get(State.ACCEPTED.value, 0), epoch
        finally:
            ledger.close()
    finally:
        marks.close()


def _still_approved(order: SendOrder) -> None:
    """Raises SendHeld when what was read before the lock was held is not what is approved now."""
    key = order.bundle.key
    current = load_current(key, order.workspace.home.approvals)
    if current is None or current.content_hash != order.bundle.content_hash:
        do = f"Nobody was mailed. Run it again: lettermill campaign send {key}"
        raise SendHeld(f"{key} was approved anew while its send began", do=do)


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


def _ledger(order: SendOrder, marks: Marks) -> Ledger:
    """Open the campaign's ledger. Raises LedgerRefused when it is not the one the lake knows."""
    space, key = order.workspace, order.bundle.key
    path = space.home.ledgers / f"{key}.sqlite"
    known = space.lake.read(LEDGER_HEADS.name).filter(pl.col("campaign") == key)
    head = known.select(pl.col("epoch").max()).collect().item() or 0
    was_there = path.exists()
    ledger = Ledger(path)
    ledger.check()
    identity = space.home.identity()
    here = {
        "campaign": key,
        "home_id": identity.home_id,
        "machine_id": machine_id(),
        # Who got it in the sink got nothing: one ledger, one way of delivery.
        "delivery": delivery_of(space.settings),
    }
    problems = _doubts(ledger, was_there=was_there, head=head, here=here)
    if lost := ledger.contradicted(marks):
        told = f"has lost {lost:,} claims: their marks say that a message went out"
        problems.append(Problem("ledger", told))
    if problems and not order.accept_ledger:
        ledger.close()
        if not was_there:
            _remove(path)
        do = (
            "Nobody was mailed. To go on, with everybody unproven in doubt:"
            f" lettermill campaign send {key} --accept"
        )
        raise LedgerRefused(f"the ledger of {key} cannot be trusted", problems, do=do)
    if problems:
        ledger.doubt(candidates_of(key, space.lake), at=space.clock.now())
        ledger.set_meta(epoch=str(max(head, ledger.epoch)))
    ledger.set_meta(**here)
    return ledger


def delivery_of(settings: Settings) -> str:
    """Where a ledger's messages go, as it is kept in the ledger: the mode, and to whom it redirects."""
    is_redirect = settings.delivery_mode is DeliveryMode.REDIRECT
    return (
        f"{settings.delivery_mode}:{settings.redirect_to}"
        if is_redirect
        else str(settings.delivery_mode)
    )


def _doubts(ledger: Ledger, *, was_there: bool, head: int, here: dict[str, str]) -> list[Problem]:
    if head and not was_there:
        return [Problem("ledger", f"is missing; the lake knows {head} earlier starts")]
    problems = []
    if ledger.epoch < head:
        told = f"is older than the lake knows: start {ledger.epoch}, not {head}; was it restored?"
        problems.append(Problem("ledger", told))
    for name, value in here.items():
        held = ledger.meta(name)
        if held is not None and held != value:
            problems.append(Problem(name, "is another one than where this ledger was made"))
    return problems


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _begin(order: SendOrder, ledger: Ledger, marks: Marks) -> int:
    """Settle what a dead run left and raise the epoch: in the ledger first, then in the lake."""
    space = order.workspace
    now = space.clock.now()
    epoch = ledger.begin_epoch(marks=marks, at=now, bundle=order.bundle.content_hash)
    head = {
        "campaign": order.bundle.key,
        "epoch": epoch,
        "home_id": space.home.identity().home_id,
        "machine_id": machine_id(),
        "started_at": now,
    }
    space.lake.append(LEDGER_HEADS, pl.DataFrame([head], schema_overrides={"started_at": UTC_TIME}))
    return epoch
