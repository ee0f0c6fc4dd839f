"""One connection's life in a worker: message after message, opened anew when it is lost.

The order that makes it safe: the recipient's own mark says "dot" before the dot goes out, and the
outcome is marked before the next one on this connection. An envelope that travels behind a dot is of
somebody who is claimed, was asked about at that moment, and whose letter is written.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pipelines.delivery.berths import ASK_SECONDS, Berths
from pipelines.delivery.desk import Desk, Pending
from pipelines.delivery.relay import Connection, ConnectionLost, Relay, Stage, connect
from pipelines.delivery.wire import Envelope
from pipelines.errors import Refused, RelayUnavailable

TRIES = 3
TRY_SECONDS = 0.2
# A relay that takes no further connection now is asked again after so long, then half as often.
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0


@dataclass
class Team:
    """The lines of one worker.

    berths          connections the relay takes at once, if that is limited
    per_connection  messages to a destination on one connection at most, where that is limited
    broken          why they ended before everybody had their letter
    is_refused      whether it was said of us, and so to every other worker; not, when none could be opened
    """

    desk: Desk
    relay: Relay
    berths: Berths | None = None
    per_connection: Mapping[str, int] = field(default_factory=dict)
    lines: Sequence[Line] = ()
    done: asyncio.Event = field(default_factory=asyncio.Event)
    broken: RelayUnavailable | None = None
    is_refused: bool = False

    async def run(self, connections: int) -> None:
        """Until nobody is left, or it is stopped."""
        self.lines = [Line(self) for _ in range(connections)]
        async with asyncio.TaskGroup() as group:
            for line in self.lines:
                group.create_task(line.run())

    def stop(self) -> None:
        """The lines finish the message they are at: cut off, it would be in doubt."""
        self.desk.stop()
        self.done.set()

    def give_up(self, why: RelayUnavailable, *, is_refused: bool) -> None:
        self.broken, self.is_refused = self.broken or why, self.is_refused or is_refused
        self.stop()

    @property
    def is_open(self) -> bool:
        return any(line.is_open for line in self.lines)


class Line:
    """One of a worker's connections."""

    def __init__(self, team: Team) -> None:
        self._team, self._desk = team, team.desk
        self._connection: Connection | None = None
        self._following: Pending | None = None
        self._pause_seconds = PAUSE_SECONDS
        self._handed_over, self._is_spent = 0, False
        self._to = Counter[str]()
        self._has_berth = team.berths is None

    @property
    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.is_lost

    async def run(self) -> None:
        """Until nobody is left for this line."""
        try:
            while not self._desk.is_done or self._following is not None:
                if self._is_full and self._connection is not None and self._following is None:
                    self._connection.quit()
                    self._connection = None
                # First a connection, then somebody to use it for: who waits for none is held up by none.
                if not self.is_open:
                    self._leave_following()
                    if not await self._is_ready():
                        continue
                if (pending := self._next()) is not None:
                    await self._deliver(pending)
                else:
                    # Nobody's turn yet; a signal or a reply may have come as well.
                    self._desk.rest()
                    await self._desk.clock.wait(self._desk.pause_seconds)
        except RelayUnavailable as refused:
            self._team.give_up(refused, is_refused=True)
        finally:
            self._leave_following()
            if self._connection is not None:
                self._connection.quit()
            self._leave_berth()
            self._team.done.set()  # whoever rests looks whether there is anything left

    @property
    def _is_full(self) -> bool:
        """Whether this connection has carried all that it may."""
        most = self._team.relay.per_connection
        return self._is_spent or (most is not None and self._handed_over >= most)

    def _count(self, pending: Pending) -> None:
        """One more to this destination on this connection."""
        name = self._desk.queues.destination(pending.row)
        self._to[name] += 1
        self._is_spent |= self._to[name] == self._team.per_connection.get(name)

    def _next(self) -> Pending | None:
        if self._desk.is_stopped:
            self._leave_following()
        following, self._following = self._following, None
        return following or self._desk.next()

    def _leave_following(self) -> None:
        """Give back whose envelope is under way at most, and not their message: nobody got it."""
        if self._following is not None:
            self._desk.put_back(self._following)
            self._following = None

    async def _deliver(self, pending: Pending) -> None:
        """Settle one recipient, with a few connections if need be, or leave them to the other lines."""
        for _ in range(TRIES):
            if not await self._is_ready():
                self._desk.put_back(pending)
                return
            if await self._is_settled(pending):
                return
        self._desk.defer(pending)

    async def _is_settled(self, pending: Pending) -> bool:
        """Hand one letter over; False when it certainly did not arrive and another try may help."""
        desk, connection = self._desk, self._connection
        assert connection is not None
        was_begun = connection.has_begun(*pending.envelope)
        # Again: a connection may have taken its time, and an envelope may not wait for it.
        if not was_begun and desk.withholds(pending):
            return True
        try:
            outcome = await connection.transmit(
                *pending.envelope, pending.letter.raw, before_dot=lambda: self._before_dot(pending)
            )
        except ConnectionLost:
            connection.abort()
            return desk.is_in_doubt(pending)
        except Refused:
            desk.reject(pending)
            return True
        if was_begun and outcome.reply.code == 421 and outcome.stage is not Stage.DOT:
            # It takes so many messages on a connection and no more; this one belongs on the next.
            return False
        desk.judge(pending, outcome)
        return True

    def _before_dot(self, pending: Pending) -> Envelope | None:
        """Have the next letter ready, then mark; returns the envelope to send behind the dot."""
        self._handed_over += 1
        if self._team.per_connection:
            self._count(pending)
        # The last message of a connection has none behind it.
        self._following = None if self._is_full else self._desk.next()
        self._desk.mark_dot(pending)
        return self._following.envelope if self._following is not None else None

    async def _is_ready(self) -> bool:
        """Open a connection if there is none; False when there is none to be had now.

        Then this line rests while others of its worker are open; else all of them are ended.
        """
        for attempt in range(TRIES):
            if self.is_open:
                return True
            if not self._take_berth():
                await self._desk.clock.wait(ASK_SECONDS)
                return False
            try:
                self._connection = await connect(self._team.relay)
                self._handed_over, self._is_spent = 0, False
                self._to.clear()
                self._pause_seconds = PAUSE_SECONDS
                return True
            except RelayUnavailable as gone:
                if self._team.is_open or self._desk.is_done:
                    self._leave_berth()
                    await self._rest()
                    return False
                if attempt == TRIES - 1 or self._desk.is_stopped:
                    self._team.give_up(gone, is_refused=False)
                    return False
            await self._desk.clock.wait(TRY_SECONDS * (attempt + 1))
        return False

    def _take_berth(self) -> bool:
        """Whether this line may have a connection, where the relay's are counted."""
        if not self._has_berth and self._team.berths is not None:
            self._has_berth = self._team.berths.take()
        return self._has_berth

    def _leave_berth(self) -> None:
        if self._has_berth and self._team.berths is not None:
            self._team.berths.leave()
            self._has_berth = False

    async def _rest(self) -> None:
        """Wait before the relay is asked again, or until another line has ended."""
        if self._desk.is_done:
            return
        self._team.done.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._team.done.wait(), self._pause_seconds)
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
