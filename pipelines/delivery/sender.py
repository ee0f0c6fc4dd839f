"""Send a campaign: the parent of the workers.

Holds the campaign's lock, checks that the ledger is the one this home knows, settles what a dead run
left, starts the workers and ends with them. Who may be mailed was decided before; how it is said on
the wire is the worker's.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NoReturn

import polars as pl

from pipelines.campaigns.bundle import Bundle
from pipelines.delivery.export import audience_size, export, mailed
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.lock import CampaignLock
from pipelines.delivery.marks import Marks
from pipelines.delivery.relay import Relay, probe
from pipelines.delivery.states import Candidate, State
from pipelines.delivery.worker import Ended, Task, work
from pipelines.errors import LedgerRefused, Problem, RelayUnavailable
from pipelines.lake import Lake
from pipelines.schema import LEDGER_HEADS, UTC_TIME
from pipelines.settings import DeliveryMode, Settings, machine_id
from pipelines.workspace import Workspace

GLANCE_SECONDS = 0.2
STOP_SECONDS = 5.0
TABLES = ("campaigns.audience", "core.contacts")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SendOrder:
    """One run of one campaign. `progress` hears of recipients settled, and of how many there are."""

    bundle: Bundle
    workspace: Workspace
    relay: Relay
    accept_ledger: bool = False
    progress: Progress | None = None


@dataclass(frozen=True)
class SendResult:
    """What a run did: recipients by state in the whole ledger, and what this run added."""

    counts: dict[str, int]
    audience: int
    sent_this_run: int
    epoch: int
    seconds: float

    @property
    def unclaimed(self) -> int:
        return self.audience - sum(self.counts.values())


def send(order: SendOrder) -> SendResult:
    """Send to everybody who is due and has not got it. Raises LedgerRefused, RelayUnavailable."""
    space, key = order.workspace, order.bundle.key
    started = space.clock.monotonic()
    asyncio.run(probe(order.relay))
    lock = CampaignLock(space.home.ledgers / f"{key}.lock")
    try:
        # Under the lock: a plan may have been under way.
        size = audience_size(key, space.lake)
        ledger = _ledger(order)
        marks = Marks(space.home.ledgers / f"{key}.marks", size)
        epoch = _begin(order, ledger, marks)
        before = ledger.counts().get(State.ACCEPTED.value, 0)
        try:
            _run_workers(order, epoch=epoch, size=size, lock=lock)
        finally:
            export(key, ledger, space)
            counts = ledger.counts()
            ledger.close()
            marks.close()
    finally:
        lock.release()
    sent = counts.get(State.ACCEPTED.value, 0) - before
    return SendResult(counts, size, sent, epoch, space.clock.monotonic() - started)


def _ledger(order: SendOrder) -> Ledger:
    """Open the campaign's ledger. Raises LedgerRefused when it is not the one the lake knows."""
    space, key = order.workspace, order.bundle.key
    path = space.home.ledgers / f"{key}.sqlite"
    known = space.lake.read(LEDGER_HEADS.name).filter(pl.col("campaign") == key)
    head = known.select(pl.col("epoch").max()).collect().item() or 0
    was_there = path.exists()
    ledger = Ledger(path)
    identity = space.home.identity()
    here = {
        "campaign": key,
        "home_id": identity.home_id,
        "machine_id": machine_id(),
        # Who got it in the sink got nothing: one ledger, one way of delivery.
        "delivery": delivery_of(space.settings),
    }
    problems = _doubts(ledger, was_there=was_there, head=head, here=here)
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
        ledger.doubt(_candidates(key, space.lake), at=space.clock.now())
        ledger.set_meta(epoch=str(max(head, ledger.epoch)))
    ledger.set_meta(**here, bundle=order.bundle.content_hash)
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


def _candidates(key: str, lake: Lake) -> Iterator[Candidate]:
    columns = mailed(key, lake).select("contact_id", "address_hash", "recipient")
    return (Candidate(*row) for row in pl.DataFrame(columns.collect()).iter_rows())


def _begin(order: SendOrder, ledger: Ledger, marks: Marks) -> int:
    """Settle what a dead run left and raise the epoch: in the ledger first, then in the lake."""
    space = order.workspace
    now = space.clock.now()
    epoch = ledger.begin_epoch(marks=marks, at=now)
    head = {
        "campaign": order.bundle.key,
        "epoch": epoch,
        "home_id": space.home.identity().home_id,
        "machine_id": machine_id(),
        "started_at": now,
    }
    space.lake.append(LEDGER_HEADS, pl.DataFrame([head], schema_overrides={"started_at": UTC_TIME}))
    return epoch


def _run_workers(order: SendOrder, *, epoch: int, size: int, lock: CampaignLock) -> None:
    """Until every worker has ended. Raises what a worker could not get over."""
    spawn = multiprocessing.get_context("spawn")
    settings = order.workspace.settings
    pins = order.workspace.lake.pin(TABLES)
    pipes: list[Pipe] = []
    processes: list[BaseProcess] = []
    try:
        for shard in range(settings.workers):
            task = Task(
                key=order.bundle.key,
                bundle_hash=order.bundle.content_hash,
                settings=settings,
                relay=order.relay,
                epoch=epoch,
                size=size,
                shard=shard,
                workers=settings.workers,
                pins=pins,
                lock=lock,
            )
            ours, theirs = spawn.Pipe(duplex=False)
            process = spawn.Process(target=work, args=(task, theirs), name=f"sender-{shard}")
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        finished = _listen(order, pipes, size)
    finally:
        _end(processes)
    if finished < settings.workers:
        _raise_cut_short(order, settings.workers - finished)


def _listen(order: SendOrder, pipes: list[Pipe], size: int) -> int:
    """Follow the workers to their end; returns how many of them said that all was well."""
    done = finished = 0
    unopened: RelayUnavailable | None = None
    while pipes:
        for pipe in wait(pipes, GLANCE_SECONDS):
            assert isinstance(pipe, Pipe)
            try:
                told = pipe.recv()
            except EOFError:
                pipes.remove(pipe)
                continue
            if isinstance(told, Ended):
                if told.for_all:
                    raise told.why
                # The others have connections, this one got none: what they send is sent.
                unopened = told.why
                continue
            finished += told is None
            done += told or 0
            if order.progress is not None:
                order.progress(done, size)
    if unopened is not None:
        raise unopened
    return finished


def _end(processes: list[BaseProcess]) -> None:
    """No worker outlives its run."""
    for process in processes:
        process.join(GLANCE_SECONDS)
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        process.join(STOP_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


def _raise_cut_short(order: SendOrder, died: int) -> NoReturn:
    told = f"{died} ended before their work was done"
    do = f"Run it again, nobody is mailed twice: lettermill campaign send {order.bundle.key}"
    raise LedgerRefused("a send was cut short", [Problem("workers", told)], do=do)
