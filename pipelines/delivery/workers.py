"""The workers of one run: started for a relay, listened to, and ended with it.

Another relay is tried for what the first does not take any more. Asks nothing of the ledger.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import NoReturn

from pipelines.campaigns.bundle import Bundle
from pipelines.delivery import news
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.lock import CampaignLock
from pipelines.delivery.news import News
from pipelines.delivery.pausing import is_paused
from pipelines.delivery.routes import Routes, Way
from pipelines.delivery.worker import Ended, Task, Told, work
from pipelines.errors import LedgerRefused, Problem, RelayUnavailable
from pipelines.workspace import Workspace

GLANCE_SECONDS = 0.2
STOP_SECONDS = 5.0
NEWS_SECONDS = 1.0
TABLES = ("campaigns.audience", "core.contacts")

Progress = Callable[[News], None]


@dataclass(frozen=True)
class SendOrder:
    """One run of one campaign. `progress` hears how it comes along.

    at_start  done with the ledger once this run holds it, before anybody is claimed
    """

    bundle: Bundle
    workspace: Workspace
    routes: Routes
    accept_ledger: bool = False
    progress: Progress | None = None
    at_start: Callable[[Ledger], None] | None = None


def send_by(
    ways: Sequence[Way],
    order: SendOrder,
    tally: Tally,
    *,
    epoch: int,
    size: int,
    lock: CampaignLock,
) -> None:
    """By the first relay, and by the next one what it does not take any more."""
    for number, way in enumerate(ways):
        try:
            _run_workers(way, order, tally, epoch=epoch, size=size, lock=lock)
            return
        except RelayUnavailable:
            if number == len(ways) - 1:
                raise


def _run_workers(
    way: Way, order: SendOrder, tally: Tally, *, epoch: int, size: int, lock: CampaignLock
) -> None:
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
                relay=way.relay,
                routes=order.routes,
                way=way.name,
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
        finished = _listen(way, order, pipes, tally)
    finally:
        _end(processes)
    if finished < settings.workers and not is_paused(
        order.workspace.home.ledgers, order.bundle.key
    ):
        _raise_cut_short(order, settings.workers - finished)


def _listen(way: Way, order: SendOrder, pipes: list[Pipe], tally: Tally) -> int:
    """Follow the workers to their end; returns how many of them said that all was well."""
    finished = 0
    unopened: RelayUnavailable | None = None
    ledgers, key = order.workspace.home.ledgers, order.bundle.key
    while pipes and not is_paused(ledgers, key):
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
            elif isinstance(told, Told):
                tally.add(told, way.name)
            else:
                finished += 1
    if unopened is not None:
        raise unopened
    return finished


class Tally:
    """What the workers of a run told so far, passed on to whoever asks."""

    def __init__(self, order: SendOrder, size: int, before: int) -> None:
        self._order, self._size, self._before = order, size, before
        self._started = order.workspace.clock.monotonic()
        self._written = float("-inf")
        self._settled = 0
        news.forget(order.workspace.home.ledgers, order.bundle.key)

    def add(self, told: Told, relay: str) -> None:
        now = self._order.workspace.clock.monotonic()
        self._settled += told.settled
        found = News(
            settled=self._settled,
            before=self._before,
            size=self._size,
            seconds=now - self._started,
            relay=relay,
            limited_by=told.limited_by,
        )
        if self._order.progress is not None:
            self._order.progress(found)
        if now - self._written >= NEWS_SECONDS:
            self._written = now
            news.write(self._order.workspace.home.ledgers, self._order.bundle.key, found)


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
