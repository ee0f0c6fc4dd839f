"""Claimed recipients in line for a slot, by destination: a slow one holds up no other.

Whom a full line has no room for is not claimed but left for another pass through the audience.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from pipelines.delivery.destinations import OTHER
from pipelines.delivery.letters import Row
from pipelines.delivery.quiet import Quiet
from pipelines.delivery.shaper import Shaper

# Claimed and waiting for one destination, at most.
FULL = 512
# So many batches of nobody that there is room for: the rest of the audience is looked at once there is.
DRY = 64
# Somebody who has no slot for so long is left to a later run.
TOO_LONG_SECONDS = 600.0
# How long a line waits at most before it asks again: it may be told to stop.
LONGEST_PAUSE_SECONDS = 0.1

Wanted = Callable[[Row], bool]
# One pass through the audience: rows that are wanted and whose claim is on disk, batch after batch.
Pass = Callable[[Wanted], Iterator[list[Row]]]


class Queues:
    """The lines of one worker.

    looked  hears of every batch before anybody of it is in line
    quiet   hours of the recipient in which nobody is begun: they are left to a later run
    """

    def __init__(
        self,
        a_pass: Pass,
        shaper: Shaper,
        looked: Callable[[Sequence[Row]], None],
        quiet: Quiet | None = None,
    ) -> None:
        self._pass, self._shaper, self._looked = a_pass, shaper, looked
        self._quiet = quiet
        self._left: list[Row] = []
        self._asleep: set[str | None] = set()
        # Of destinations that take so many at once: who is under way, and to which.
        self._aboard: dict[int, str] = {}
        self._batches = a_pass(self._is_wanted)
        self._lines: dict[str, deque[Row]] = {}
        self._turns: deque[str] = deque()
        self._left_out = self._dry = 0
        self._soonest = 0.0
        self._is_exhausted = False

    @property
    def is_done(self) -> bool:
        """Whether nobody is left who may be begun in this run."""
        waits = self._soonest > TOO_LONG_SECONDS and not self._may_claim
        return (self._is_exhausted and not self._turns) or waits

    @property
    def pause_seconds(self) -> float:
        """How long until it is worth asking again."""
        return min(self._soonest, LONGEST_PAUSE_SECONDS)

    def next(self) -> Row | None:
        """The next recipient, who has a slot; None when it is nobody's turn yet."""
        row = self._ready()
        if row is None and self._may_claim:
            self._claim()
            row = self._ready()
        return row

    def put_back(self, row: Row) -> None:
        """Nothing of this one's message was sent to its end: it is somebody's next."""
        self.landed(row["contact_id"])
        name = self.destination(row)
        if name not in self._lines:
            self._lines[name] = deque()
            self._turns.appendleft(name)
        self._lines[name].appendleft(row)

    def leaves(self, row: Row) -> bool:
        """Whether this one's quiet hours have begun since they were claimed; then a later run has them."""
        if self._quiet is None or not self._quiet.holds(row["time_zone"]):
            return False
        self._left.append(row)
        self.landed(row["contact_id"])
        return True

    def landed(self, contact: int) -> None:
        """Nothing of this one is under way any more."""
        if self._aboard and (name := self._aboard.pop(contact, None)) is not None:
            self._shaper.landed(name)

    def rest(self) -> list[Row]:
        """Everybody who is claimed and was not begun; nobody is in line afterwards."""
        rows = [*self._left, *(row for line in self._lines.values() for row in line)]
        self._left.clear()
        self._lines.clear()
        self._turns.clear()
        return rows

    def _ready(self) -> Row | None:
        self._soonest = 0.0
        waits = []
        for _ in range(len(self._turns)):
            name = self._turns[0]
            line = self._lines[name]
            if self._quiet is not None and not self._awake(name):
                continue
            seconds = self._shaper.seconds_to(name, waiting=len(line))
            if seconds > 0:
                waits.append(seconds)
                self._turns.rotate(-1)
                continue
            row = line.popleft()
            if name in self._shaper.berths:
                self._aboard[row["contact_id"]] = name
            if line:
                self._turns.rotate(-1)
            else:
                self._turns.popleft()
                del self._lines[name]
            return row
        self._soonest = min(waits, default=0.0)
        return None

    def _awake(self, name: str) -> bool:
        """Leave out whose quiet hours have begun, from the first in this line on; whether anybody is left."""
        line = self._lines[name]
        while line and self.leaves(line[0]):
            line.popleft()
        if not line:
            self._turns.popleft()
            del self._lines[name]
        return bool(line)

    @property
    def _may_claim(self) -> bool:
        if self._is_exhausted:
            return False
        if self._dry >= DRY:
            if any(len(line) >= FULL // 2 for line in self._lines.values()):
                return False
            self._dry = 0
        return True

    def _claim(self) -> None:
        batch = next(self._batches, None)
        if batch is None:
            self._is_exhausted = not self._left_out and not self._has_anybody_woken()
            if not self._is_exhausted:
                self._left_out = 0
                self._batches = self._pass(self._is_wanted)
            return
        self._dry = 0 if batch else self._dry + 1
        if batch:
            self._looked(batch)
        for row in batch:
            name = self.destination(row)
            if name not in self._lines:
                self._lines[name] = deque()
                self._turns.append(name)
            self._lines[name].append(row)

    def _has_anybody_woken(self) -> bool:
        """Whether quiet hours have ended for some who were passed over because of them."""
        zones, self._asleep = self._asleep, set()
        return self._quiet is not None and not all(map(self._quiet.holds, zones))

    def _is_wanted(self, row: Row) -> bool:
        if self._quiet is not None and self._quiet.holds(row["time_zone"]):
            self._asleep.add(row["time_zone"])
            return False
        line = self._lines.get(self.destination(row))
        has_room = line is None or len(line) < FULL
        self._left_out += not has_room
        return has_room

    def destination(self, row: Row) -> str:
        """Which line somebody belongs to."""
        address = row["address"]
        return self._shaper.destination(address) if address else OTHER
