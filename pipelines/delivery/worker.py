"""One worker of a send: a spawned process that sends its shard over connections of its own.

Opens what the process works with, listens for the end, and goes with its parent. Who is next and what
became of them is desk.py's, what is said on a connection line.py's.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait

import uvloop

from pipelines.campaigns.bundle import Bundle, load
from pipelines.clock import SystemClock
from pipelines.delivery import carriers
from pipelines.delivery.berths import berths_at, berths_to
from pipelines.delivery.budget import Budget
from pipelines.delivery.claims import Shard, claim
from pipelines.delivery.desk import Desk, Settled
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.letters import Letters, Row
from pipelines.delivery.line import Team
from pipelines.delivery.lock import CampaignLock
from pipelines.delivery.marks import Marks
from pipelines.delivery.pace import Pace
from pipelines.delivery.pausing import pause
from pipelines.delivery.people import PeopleStore
from pipelines.delivery.queues import Queues, Wanted
from pipelines.delivery.quiet import quiet_of
from pipelines.delivery.relay import Relay
from pipelines.delivery.routes import Routes
from pipelines.delivery.shaper import Shaper
from pipelines.delivery.withholding import Withholding
from pipelines.errors import HomeInvalid, RelayUnavailable
from pipelines.lake import Lake
from pipelines.settings import DeliveryMode, Home, Settings

ORPHAN_SECONDS = 5.0


@dataclass(frozen=True)
class Task:
    """What a worker is spawned with. The lock travels along, so that it outlives the parent."""

    key: str
    bundle_hash: str
    settings: Settings
    relay: Relay
    routes: Routes
    way: str
    epoch: int
    size: int
    shard: int
    workers: int
    pins: dict[str, int]
    lock: CampaignLock


@dataclass(frozen=True)
class Told:
    """What a worker says as it goes: whom it settled since it last did, and what limits it."""

    settled: Settled
    limited_by: str


@dataclass(frozen=True)
class Ended:
    """A worker's last word: why it could not go on, and whether the others need not try either."""

    why: RelayUnavailable
    for_all: bool


def work(task: Task, pipe: Pipe) -> None:
    """The process's whole life.

    Tells over the pipe how it comes along; None at the end, when all went well.
    """
    worker = Worker(task, pipe)
    # What is there now stays to the end: it need not be looked through for what may go.
    gc.freeze()
    try:
        uvloop.run(worker.run())
        if (broken := worker.team.broken) is not None:
            pipe.send(Ended(broken, worker.team.is_refused))
        elif not worker.desk.is_stopped:
            pipe.send(None)
    finally:
        worker.close()


class Worker:
    """Everything one shard's send needs, opened."""

    def __init__(self, task: Task, pipe: Pipe) -> None:
        self.task, self.pipe, self.clock = task, pipe, SystemClock()
        # Why the pause of a send that spent its error budget could not be kept.
        self.unkept: OSError | None = None
        home, settings = Home(task.settings.home), task.settings
        self.ledger = Ledger(home.ledgers / f"{task.key}.sqlite")
        self.marks = Marks(home.ledgers / f"{task.key}.marks", task.size)
        people, bundle = PeopleStore(home.people), _bundle(task, home)
        shard = Shard(task.key, task.shard, task.workers, task.epoch, task.size, task.pins)
        withholding = Withholding(bundle, people, Lake(home.lake), self.clock, home.ledgers)
        self.pace = Pace(home.pace, self.clock)
        berths = berths_to(home.berths, task.routes.at_once)
        shaper = Shaper(self.pace, task.routes, task.way, self.clock, berths=berths)

        def a_pass(wanted: Wanted) -> Iterator[list[Row]]:
            return claim(
                shard,
                home,
                ledger=self.ledger,
                marks=self.marks,
                clock=self.clock,
                wanted=wanted,
            )

        self.desk = Desk(
            queues=Queues(a_pass, shaper, withholding.look, quiet_of(bundle, self.clock)),
            shaper=shaper,
            letters=Letters(bundle, settings, home, self.clock),
            withholding=withholding,
            ledger=self.ledger,
            marks=self.marks,
            people=people,
            relay=task.relay,
            clock=self.clock,
            epoch=task.epoch,
            bounces=settings.delivery_mode is not DeliveryMode.REDIRECT,
            budget=Budget(bundle.campaign.error_budget),
            alarmed=self._pause,
            told=self._tell,
        )
        way = next(each for each in task.routes.ways if each.name == task.way)
        carriers.keep(self.ledger, task.epoch, way)
        berths_of_relay = berths_at(home.berths, way)
        self.team = Team(self.desk, task.relay, berths_of_relay, task.routes.per_connection)

    def close(self) -> None:
        self.ledger.close()
        self.marks.close()
        self.pace.close()

    async def run(self) -> None:
        """Send what is due of this shard; ends when that is done or when it is told to stop.

        Raises OSError when it had to pause the campaign and could not.
        """
        self._listen()
        try:
            await self.team.run(self.task.settings.connections)
        finally:
            self.desk.close()
        if self.unkept is not None:
            raise self.unkept

    def _listen(self) -> None:
        """Stop on SIGTERM, and when the parent is gone; an orphan ends within seconds whatever hangs."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.team.stop)
        parent = parent_process()

        def watch() -> None:
            if parent is not None:
                wait([parent.sentinel])
                loop.call_soon_threadsafe(self.team.stop)
                self.clock.sleep(ORPHAN_SECONDS)
                os._exit(1)

        threading.Thread(target=watch, daemon=True).start()

    def _pause(self, why: str) -> None:
        """Pause the campaign; its parent sees it and ends every worker, this one begins nobody more."""
        self.team.stop()
        ledgers = Home(self.task.settings.home).ledgers
        try:
            pause(ledgers, self.task.key, by="its error budget", why=why, at=self.clock.now())
        except OSError as error:
            # Told at the end: now it would cut off the other lines, and leave theirs in doubt.
            self.unkept = error

    def _tell(self, settled: Settled) -> None:
        try:
            self.pipe.send(Told(settled, self.desk.shaper.limited_by))
        except BrokenPipeError:
            # The parent is gone; what was settled is in the ledger all the same.
            self.team.stop()


def _bundle(task: Task, home: Home) -> Bundle:
    bundle = load(task.key, home.approvals, task.bundle_hash)
    if bundle is None:
        raise HomeInvalid(f"the approval of {task.key} is gone", do="Approve it again")
    return bundle
