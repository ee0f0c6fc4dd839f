"""The workers of one run: started for a relay, listened to, and ended with it.

Another relay is tried for what the first does not take any more. Asks nothing of the ledger.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import NoReturn

from pipelines.campaigns.bundle import Bundle
from pipelines.delivery import news
from pipelines.delivery.export import due_later
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.lock import CampaignLock
from pipelines.delivery.news import News
from pipelines.delivery.pausing import is_paused
from pipelines.delivery.routes import Routes, Way
from pipelines.delivery.states import State
from pipelines.delivery.worker import Ended, Task, Told, work
from pipelines.errors import LedgerRefused, Problem, RelayUnavailable
from pipelines.workspace import Workspace

GLANCE_SECONDS = 0.2
STOP_SECONDS = 5.0
NEWS_SECONDS = 1.0
# The speed that is told is that of so long: what it was before says nothing of when it will end.
LATEST_SECONDS = 10.0
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
    """Until every shard is done. Raises what a worker could not get over.

    A relay that takes fewer connections than there are workers leaves some without any: they are started
    again when the others have ended, and given up on when nobody got one.
    """
    shards: Sequence[int] = range(order.workspace.settings.workers)
    while shards:
        shards, why = _run_shards(way, order, tally, shards, epoch=epoch, size=size, lock=lock)
        if why is not None:
            raise why


def _run_shards(
    way: Way,
    order: SendOrder,
    tally: Tally,
    shards: Sequence[int],
    *,
    epoch: int,
    size: int,
    lock: CampaignLock,
) -> tuple[list[int], RelayUnavailable | None]:
    """Those that got no connection while others did; when nobody did, why."""
    spawn = multiprocessing.get_context("spawn")
    settings = order.workspace.settings
    pins = order.workspace.lake.pin(TABLES)
    pipes: dict[Pipe, int] = {}
    processes: list[BaseProcess] = []
    try:
        for shard in shards:
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
            with _as_no_module():
                process.start()
            theirs.close()
            pipes[ours] = shard
            processes.append(process)
        finished, unopened = _listen(way, order, pipes, tally)
    finally:
        _end(processes)
    if is_paused(order.workspace.home.ledgers, order.bundle.key):
        return [], None
    if died := len(shards) - finished - len(unopened):
        _raise_cut_short(order, died)
    return list(unopened), None if finished else next(iter(unopened.values()), None)


@contextmanager
def _as_no_module() -> Iterator[None]:
    """A spawned process runs the module again that its parent was started as, for what may be in it.

    A worker needs nothing of it, and all that a command imports costs every worker half a second.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _listen(
    way: Way, order: SendOrder, pipes: dict[Pipe, int], tally: Tally
) -> tuple[int, dict[int, RelayUnavailable]]:
    """Follow the workers to their end: how many said that all was well, and who got no connection."""
    finished, unopened = 0, dict[int, RelayUnavailable]()
    ledgers, key = order.workspace.home.ledgers, order.bundle.key
    while pipes and not is_paused(ledgers, key):
        for pipe in wait(list(pipes), GLANCE_SECONDS):
            assert isinstance(pipe, Pipe)
            try:
                told = pipe.recv()
            except EOFError:
                del pipes[pipe]
                continue
            if isinstance(told, Ended):
                if told.for_all:
                    raise told.why
                # The others have connections, this one got none: what they send is sent.
                unopened[pipes[pipe]] = told.why
            elif isinstance(told, Told):
                tally.add(told, way.name)
            else:
                finished += 1
    return finished, unopened


class Tally:
    """What the workers of a run told so far, passed on to whoever asks."""

    def __init__(self, order: SendOrder, size: int, before: int) -> None:
        self._order, self._size, self._before = order, size, before
        self._later = due_later(order.bundle.key, order.workspace)
        self._started = order.workspace.clock.monotonic()
        self._written = float("-inf")
        self._states, self._relays = Counter[str](), Counter[str]()
        self._destinations: dict[str, Counter[str]] = {}
        # When there were how many outcomes, of the last seconds.
        self._latest = deque([(self._started, 0)])
        news.forget(order.workspace.home.ledgers, order.bundle.key)

    def add(self, told: Told, relay: str) -> None:
        now = self._order.workspace.clock.monotonic()
        for (state, destination), count in told.settled.items():
            self._states[state.value] += count
            self._destinations.setdefault(destination, Counter())[state.value] += count
            self._relays[relay] += count
        outcomes, put_off = self._states.total(), self._states[State.DEFERRED.value]
        self._latest.append((now, outcomes))
        while now - self._latest[0][0] > LATEST_SECONDS and len(self._latest) > 2:
            self._latest.popleft()
        since, then = self._latest[0]
        found = News(
            settled=outcomes - put_off,
            before=self._before,
            size=self._size,
            seconds=now - self._started,
            later=self._later + put_off,
            per_second=(outcomes - then) / (now - since) if now > since else 0.0,
            relay=relay,
            limited_by=told.limited_by,
            states=dict(self._states),
            relays=dict(self._relays),
            destinations={name: dict(each) for name, each in self._destinations.items()},
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
