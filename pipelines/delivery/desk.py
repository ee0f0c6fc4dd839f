"""What the connections of one worker share: who is next, what they get, and what became of them.

A recipient is claimed on disk before anybody hears of them, asked about again before their letter is
written, and their outcome is marked before it is told. Knows no connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.clock import Clock
from pipelines.delivery.ledger import BATCH, Ledger
from pipelines.delivery.letters import Letter, Letters, Row
from pipelines.delivery.marks import Mark, Marks
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.delivery.relay import Outcome, Relay, Stage, unavailable
from pipelines.delivery.replies import ReplyClass, classify, is_hard
from pipelines.delivery.states import RETRY_AFTER, Settlement, State
from pipelines.delivery.withholding import Withholding
from pipelines.errors import Refused

REFUSALS = 5  # one after the other, with nothing accepted between
# Recipients who get nothing that are looked at in one go: between, the connections have their turn.
LOOKS = 16
MARKS = {
    State.ACCEPTED: Mark.ACCEPTED,
    State.DEFERRED: Mark.DEFERRED,
    State.REJECTED: Mark.REJECTED,
}


@dataclass(frozen=True, slots=True)
class Pending:
    """A claimed recipient and their letter."""

    row: Row
    letter: Letter

    @property
    def envelope(self) -> tuple[str, str]:
        return self.letter.sender, self.letter.target


@dataclass
class Desk:
    """One shard's recipients, from claim to settlement.

    told        hears how many were settled, each time they are on disk
    bounces     whether a hard bounce is the recipient's own
    """

    batches: Iterator[list[Row]]
    letters: Letters
    withholding: Withholding
    ledger: Ledger
    marks: Marks
    people: PeopleStore
    relay: Relay
    clock: Clock
    epoch: int
    bounces: bool
    told: Callable[[int], None]

    def __post_init__(self) -> None:
        self._rows: deque[Row] = deque()
        self._settled: list[Settlement] = []
        self._refusals = 0
        self._is_exhausted = self.is_stopped = False

    @property
    def is_done(self) -> bool:
        """Whether nobody is left, or nobody more is to be begun."""
        return self.is_stopped or (self._is_exhausted and not self._rows)

    def stop(self) -> None:
        """Nobody more is begun."""
        self.is_stopped = True

    def next(self) -> Pending | None:
        """The next recipient who gets a letter; None when done, or when it is somebody else's turn."""
        for _ in range(LOOKS):
            if (row := self._take()) is None:
                return None
            letter = self._letter(row)
            if isinstance(letter, Letter):
                return Pending(row, letter)
            self._add(letter)
        return None

    def put_back(self, pending: Pending) -> None:
        """Nothing of this one's message was sent to its end: it is somebody's next."""
        self._rows.appendleft(pending.row)

    def withholds(self, pending: Pending) -> bool:
        """Ask about somebody again whose envelope had to wait; settled if they get nothing now."""
        reason = self.withholding.reason(pending.row)
        if reason is not None:
            self._add(Settlement(pending.row["contact_id"], State.WITHHELD, reason=reason))
        return reason is not None

    def mark_dot(self, pending: Pending) -> None:
        self.marks[pending.row["recipient"]] = Mark.DOT

    def is_in_doubt(self, pending: Pending) -> bool:
        """Whether a message whose connection ended may have arrived; then it is in doubt."""
        if self.marks[pending.row["recipient"]] is not Mark.DOT:
            return False
        name = pending.letter.message_id
        self._settle(pending.row, State.IN_DOUBT, reason="connection_lost", message_id=name)
        return True

    def judge(self, pending: Pending, outcome: Outcome) -> None:
        """Settle by the relay's reply. Raises RelayUnavailable when it is about us."""
        row, reply = pending.row, outcome.reply
        kind = classify(reply)
        if outcome.stage is Stage.DOT and reply.code // 100 == 2:
            self._refusals = 0
            name = pending.letter.message_id
            self._settle(row, State.ACCEPTED, reply_class=kind.value, message_id=name)
        elif kind is ReplyClass.RELAY:
            # Said of us, not of this recipient; but one server's word at RCPT is not yet everybody's.
            self._settle(row, State.DEFERRED, reply_class=kind.value, reply=reply.masked)
            self._refusals += 1
            if outcome.stage is not Stage.RCPT or self._refusals >= REFUSALS:
                raise unavailable(self.relay, reply.masked)
        elif reply.code // 100 == 5:
            # First: were we to die between the two, the reply would be lost and the person mailed again.
            if self.bounces and outcome.stage is not Stage.MAIL and is_hard(reply):
                self._suppress(row)
            self._settle(row, State.REJECTED, reply_class=kind.value, reply=reply.masked)
        else:
            self._settle(row, State.DEFERRED, reply_class=kind.value, reply=reply.masked)

    def defer(self, pending: Pending) -> None:
        self._settle(pending.row, State.DEFERRED, reason="connection_lost")

    def reject(self, pending: Pending) -> None:
        self._settle(pending.row, State.REJECTED, reason="unusable_address")

    def close(self) -> None:
        """Put what became of everybody on disk; give back who was claimed and not begun."""
        self._flush()
        # Provably unsent: left claimed, a restart of the machine would put them in doubt.
        self.ledger.free([row["contact_id"] for row in self._rows], epoch=self.epoch)
        self._rows.clear()

    def _take(self) -> Row | None:
        if self.is_stopped:
            return None
        if not self._rows and not self._is_exhausted:
            if (batch := next(self.batches, None)) is None:
                self._is_exhausted = True
            else:
                self.withholding.look(batch)
                self._rows.extend(batch)
        return self._rows.popleft() if self._rows else None

    def _letter(self, row: Row) -> Letter | Settlement:
        """The letter; or why this recipient is withheld after all."""
        contact = row["contact_id"]
        if (reason := self.withholding.reason(row)) is not None:
            return Settlement(contact, State.WITHHELD, reason=reason)
        try:
            letter = self.letters.write(row)
        except Refused as refused:
            said = str(refused)[:200]
            return Settlement(contact, State.WITHHELD, reason="unrenderable", reply=said)
        return letter or Settlement(contact, State.WITHHELD, reason="not_on_allowlist")

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
        if (mark := MARKS.get(state)) is not None:
            self.marks[row["recipient"]] = mark
        if state is State.DEFERRED:
            details["next_at"] = self.clock.now() + RETRY_AFTER
        self._add(Settlement(row["contact_id"], state, **details))

    def _add(self, settlement: Settlement) -> None:
        self._settled.append(settlement)
        if len(self._settled) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._settled:
            done, self._settled = self._settled, []
            self.ledger.settle(done, epoch=self.epoch, at=self.clock.now())
            self.told(len(done))
