"""One worker of a send: a spawned process that claims, fills and hands over its shard's messages.

The order that makes it safe: the claim is on disk before a byte is sent, the recipient's own mark says
"dot" before the dot goes out, and the outcome is marked before the next message on that connection.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing import parent_process
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any

from pipelines.campaigns.bundle import Bundle, load
from pipelines.clock import SystemClock
from pipelines.delivery.claims import Shard, claim
from pipelines.delivery.ledger import BATCH, Ledger
from pipelines.delivery.letters import Letter, Letters, Row
from pipelines.delivery.lock import CampaignLock
from pipelines.delivery.marks import Mark, Marks
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.delivery.relay import (
    Connection,
    ConnectionLost,
    Outcome,
    Relay,
    Stage,
    connect,
    unavailable,
)
from pipelines.delivery.replies import ReplyClass, classify, is_hard
from pipelines.delivery.states import Settlement, State
from pipelines.delivery.withholding import Withholding
from pipelines.errors import HomeInvalid, Refused, RelayUnavailable
from pipelines.lake import Lake
from pipelines.settings import DeliveryMode, Home, Settings

TRIES = 3
REFUSALS = 5  # one after the other, with nothing accepted between
RETRY_AFTER = timedelta(minutes=5)
ORPHAN_SECONDS = 5.0


@dataclass(frozen=True)
class Task:
    """What a worker is spawned with. The lock travels along, so that it outlives the parent."""

    key: str
    bundle_hash: str
    settings: Settings
    relay: Relay
    epoch: int
    size: int
    shard: int
    workers: int
    pins: dict[str, int]
    lock: CampaignLock


def work(task: Task, pipe: Pipe) -> None:
    """The process's whole life.

    Tells over the pipe how many recipients it settled, as it goes; None at the end, when all went well.
    """
    worker = Worker(task, pipe)
    try:
        asyncio.run(worker.run())
        if not worker.stopping.is_set():
            pipe.send(None)
    except RelayUnavailable as gone:
        pipe.send(gone)
    finally:
        worker.close()


@dataclass
class Worker:
    """The state of one shard's send."""

    task: Task
    pipe: Pipe
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    settled: list[Settlement] = field(default_factory=list)
    freed: list[int] = field(default_factory=list)
    broken: RelayUnavailable | None = None
    refusals: int = 0

    def __post_init__(self) -> None:
        task = self.task
        self.clock = SystemClock()
        self.home = Home(task.settings.home)
        self.ledger = Ledger(self.home.ledgers / f"{task.key}.sqlite")
        self.marks = Marks(self.home.ledgers / f"{task.key}.marks", task.size)
        self.people = PeopleStore(self.home.people)
        self.bundle = _bundle(task, self.home)
        self.letters = Letters(self.bundle, task.settings, self.home, self.clock)
        lake = Lake(self.home.lake)
        self.withholding = Withholding(
            self.bundle, self.people, lake, self.clock, self.home.ledgers
        )

    def close(self) -> None:
        self.ledger.close()
        self.marks.close()

    async def run(self) -> None:
        """Send what is due of this shard; ends when that is done or when it is told to stop."""
        self._listen()
        claimed: asyncio.Queue[Row | None] = asyncio.Queue(maxsize=BATCH)
        lines = self.task.settings.connections
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(lines):
                    group.create_task(self._line(claimed))
                group.create_task(self._claim(claimed, lines))
        finally:
            self._flush(all_of_them=True)
            self.ledger.free(self.freed, epoch=self.task.epoch)
        if self.broken is not None:
            raise self.broken

    def _listen(self) -> None:
        """Stop on SIGTERM, and when the parent is gone; an orphan ends within seconds whatever hangs."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        parent = parent_process()

        def watch() -> None:
            if parent is not None:
                wait([parent.sentinel])
                loop.call_soon_threadsafe(self.stopping.set)
                self.clock.sleep(ORPHAN_SECONDS)
                os._exit(1)

        threading.Thread(target=watch, daemon=True).start()

    async def _claim(self, claimed: asyncio.Queue[Row | None], lines: int) -> None:
        task = self.task
        shard = Shard(task.key, task.shard, task.workers, task.epoch, task.pins)
        batches = claim(shard, self.home, ledger=self.ledger, marks=self.marks, clock=self.clock)
        while not self.stopping.is_set() and (batch := next(batches, None)) is not None:
            for row in batch:
                await claimed.put(row)
        for _ in range(lines):
            await claimed.put(None)

    async def _line(self, claimed: asyncio.Queue[Row | None]) -> None:
        """One connection's life: message after message, opened anew when it is lost."""
        connection: Connection | None = None
        while (row := await claimed.get()) is not None:
            if self.stopping.is_set():
                # Provably unsent: left claimed, a restart of the machine would put it in doubt.
                self.freed.append(row["contact_id"])
                continue
            try:
                connection = await self._deliver(row, connection)
            except RelayUnavailable as gone:
                # The other lines finish the message they are at: cut off, it would be in doubt.
                self.broken, connection = gone, None
                self.stopping.set()
            self._flush()
        if connection is not None:
            connection.quit()

    async def _deliver(self, row: Row, connection: Connection | None) -> Connection | None:
        """Settle one recipient, with a few connections if need be; returns the one still open."""
        letter = self._letter(row)
        if isinstance(letter, Settlement):
            self.settled.append(letter)
            return connection
        for _ in range(TRIES):
            if connection is None or connection.is_lost:
                connection = await self._connect()
            # Again: a connection may have taken its time, and an envelope may not wait for it.
            if (reason := self.withholding.reason(row)) is not None:
                self.settled.append(Settlement(row["contact_id"], State.WITHHELD, reason=reason))
                return connection
            try:
                outcome = await connection.transmit(
                    letter.sender,
                    letter.target,
                    letter.raw,
                    before_dot=lambda: self._mark(row, Mark.DOT),
                )
            except ConnectionLost:
                connection.abort()
                if self.marks[row["recipient"]] is Mark.DOT:
                    self._settle(
                        row,
                        State.IN_DOUBT,
                        reason="connection_lost",
                        message_id=letter.message_id,
                    )
                    return None
                continue
            except Refused:
                self._settle(row, State.REJECTED, reason="unusable_address")
                return connection
            self._outcome(row, outcome, letter.message_id)
            return None if outcome.reply.code == 421 else connection
        self._settle(row, State.DEFERRED, reason="connection_lost")
        return None

    async def _connect(self) -> Connection:
        for attempt in range(TRIES):
            try:
                return await connect(self.task.relay)
            except RelayUnavailable:
                if attempt == TRIES - 1 or self.stopping.is_set():
                    raise
                await self.clock.wait(0.2 * (attempt + 1))
        raise AssertionError("unreachable")

    def _letter(self, row: Row) -> Letter | Settlement:
        """The letter; or why this recipient is withheld after all."""
        contact = row["contact_id"]
        if (reason := self.withholding.reason(row)) is not None:
            return Settlement(contact, State.WITHHELD, reason=reason)
        try:
            letter = self.letters.write(row)
        except Refused as refused:
            told = str(refused)[:200]
            return Settlement(contact, State.WITHHELD, reason="unrenderable", reply=told)
        if letter is None:
            return Settlement(contact, State.WITHHELD, reason="not_on_allowlist")
        return letter

    def _outcome(self, row: Row, outcome: Outcome, message_id: str) -> None:
        reply, kind = outcome.reply, classify(outcome.reply).value
        if outcome.stage is Stage.DOT and reply.code // 100 == 2:
            self.refusals = 0
            self._settle(row, State.ACCEPTED, reply_class=kind, message_id=message_id)
        elif classify(reply) is ReplyClass.RELAY:
            # Said of us, not of this recipient; but one server's word at RCPT is not yet everybody's.
            self._settle(row, State.DEFERRED, reply_class=kind, reply=reply.masked)
            self.refusals += 1
            if outcome.stage is not Stage.RCPT or self.refusals >= REFUSALS:
                raise unavailable(self.task.relay, reply.masked)
        elif reply.code // 100 == 5:
            # First: were we to die between the two, the reply would be lost and the person mailed again.
            is_theirs = self.task.settings.delivery_mode is not DeliveryMode.REDIRECT
            if is_theirs and outcome.stage is not Stage.MAIL and is_hard(reply):
                self._suppress(row)
            self._settle(row, State.REJECTED, reply_class=kind, reply=reply.masked)
        else:
            self._settle(row, State.DEFERRED, reply_class=kind, reply=reply.masked)

    def _suppress(self, row: Row) -> None:
        decision = Suppression(
            address_hash=row["address_hash"],
            contact_id=row["contact_id"],
            scope=Scope.ALL,
            scope_key="",
            reason=Reason.HARD_BOUNCE,
            since_at=self.clock.now(),
            origin="smtp",
        )
        self.people.suppress([decision])

    def _settle(self, row: Row, state: State, **details: Any) -> None:
        marks = {
            State.ACCEPTED: Mark.ACCEPTED,
            State.DEFERRED: Mark.DEFERRED,
            State.REJECTED: Mark.REJECTED,
        }
        if state in marks:
            self._mark(row, marks[state])
        if state is State.DEFERRED:
            details["next_at"] = self.clock.now() + RETRY_AFTER
        self.settled.append(Settlement(row["contact_id"], state, **details))

    def _mark(self, row: Row, mark: Mark) -> None:
        self.marks[row["recipient"]] = mark

    def _flush(self, *, all_of_them: bool = False) -> None:
        if not self.settled or (len(self.settled) < BATCH and not all_of_them):
            return
        done, self.settled = self.settled, []
        self.ledger.settle(done, epoch=self.task.epoch, at=self.clock.now())
        try:
            self.pipe.send(len(done))
        except (
            BrokenPipeError
        ):  # the parent is gone; what was settled is in the ledger all the same
            self.stopping.set()


def _bundle(task: Task, home: Home) -> Bundle:
    bundle = load(task.key, home.approvals, task.bundle_hash)
    if bundle is None:
        raise HomeInvalid(f"the approval of {task.key} is gone", do="Approve it again")
    return bundle
