"""What the connections of one worker share: who is next, what they get, and what became of them.

A recipient is claimed on disk before anybody hears of them, asked about again before their letter is
written, and their outcome is marked before it is told. Knows no connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipelines.clock import Clock
from pipelines.delivery.budget import Budget
from pipelines.delivery.ledger import BATCH, Ledger
from pipelines.delivery.letters import Letter, Letters, Row
from pipelines.delivery.marks import Mark, Marks
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.delivery.queues import Queues
from pipelines.delivery.relay import Outcome, Relay, Stage, unavailable
from pipelines.delivery.replies import ReplyClass, Retry, Then, classify, is_hard, meaning
from pipelines.delivery.shaper import Shaper
from pipelines.delivery.states import Settlement, State
from pipelines.delivery.withholding import Withholding
from pipelines.errors import Refused

REFUSALS = 5  # one after the other, with nothing accepted between
# Recipients who get nothing that are looked at in one go: between, the connections have their turn.
LOOKS = 16
# What became of somebody is on disk within a second, however slow a send is: whoever looks sees it, and
# a crash of the machine leaves no more in doubt.
FLUSH_SECONDS = 1.0
# How many came to which state, by destination.
Settled = Counter[tuple[State, str]]
MARKS = {
    State.ACCEPTED: Mark.ACCEPTED,
    State.DEFERRED: Mark.DEFERRED,
    State.REJECTED: Mark.REJECTED,
}


class Pending(NamedTuple):
    """A claimed recipient and their letter."""

    row: Row
    letter: Letter

    @property
    def envelope(self) -> tuple[str, str]:
        return self.letter.sender, self.letter.target


@dataclass
class Desk:
    """One shard's recipients, from claim to settlement.

    budget      of refusals; `alarmed` hears why it is spent
    told        hears whose outcomes are on disk now: how many by state and destination
    bounces     whether a hard bounce is the recipient's own
    """

    queues: Queues
    shaper: Shaper
    letters: Letters
    withholding: Withholding
    ledger: Ledger
    marks: Marks
    people: PeopleStore
    relay: Relay
    clock: Clock
    epoch: int
    bounces: bool
    budget: Budget
    alarmed: Callable[[str], None]
    told: Callable[[Settled], None]

    def __post_init__(self) -> None:
        self._settled: list[Settlement] = []
        self._counts: Settled = Counter()
        self._flushed = self.clock.monotonic()
        self._refusals = 0
        self.is_stopped = False

    @property
    def is_done(self) -> bool:
        """Whether nobody is left, or nobody more is to be begun."""
        return self.is_stopped or self.queues.is_done

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next is asked for."""
        return self.queues.pause_seconds

    def stop(self) -> None:
        """Nobody more is begun."""
        self.is_stopped = True

    def next(self) -> Pending | None:
        """The next recipient who gets a letter; None when done, or when it is somebody else's turn."""
        for _ in range(LOOKS):
            if self.is_stopped or (row := self.queues.next()) is None:
                return None
            letter = self._letter(row)
            if isinstance(letter, Letter):
                return Pending(row, letter)
            self._add(row, letter)
        return None

    def put_back(self, pending: Pending) -> None:
        """Nothing of this one's message was sent to its end: it is somebody's next."""
        self.queues.put_back(pending.row)

    def withholds(self, pending: Pending) -> bool:
        """Ask about somebody again whose envelope had to wait; settled if they get nothing now.

        Or left to a later run, if their quiet hours have begun.
        """
        if self.queues.leaves(pending.row):
            return True
        reason = self.withholding.reason(pending.row)
        if reason is not None:
            withheld = Settlement(pending.row["contact_id"], State.WITHHELD, reason=reason)
            self._add(pending.row, withheld)
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
        # Last: whatever becomes of these, what was said of this one is known.
        asks_for_less = reply.code // 100 != 2 and meaning(kind).then is Then.SLOW
        crawls = asks_for_less and self._slow(row, outcome.stage)
        if (why := self.budget.spent(reply, crawls=crawls)) is not None:
            self.alarmed(why)

    def _slow(self, row: Row, stage: Stage) -> bool:
        """Send less where less was asked for; whether that crawls by now."""
        if stage is Stage.MAIL:
            return self.shaper.slow_relay()
        return self.shaper.slow(self.shaper.destination(row["address"]))

    def defer(self, pending: Pending) -> None:
        self._settle(pending.row, State.DEFERRED, reason="connection_lost")

    def reject(self, pending: Pending) -> None:
        self._settle(pending.row, State.REJECTED, reason="unusable_address")

    def rest(self) -> None:
        """Nobody's turn: what became of those before is put on disk if it has waited long enough."""
        if self._settled and self._is_due:
            self._flush()

    def close(self) -> None:
        """Put what became of everybody on disk; give back who was claimed and not begun."""
        self._flush()
        # Provably unsent: left claimed, a restart of the machine would put them in doubt.
        rows = self.queues.rest()
        self.ledger.free([row["contact_id"] for row in rows], epoch=self.epoch)
        self.shaper.close()

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
            said = details.get("reply_class")
            retry = meaning(ReplyClass(said)).retry if said else Retry.SOON
            # A class of replies that are for ever, said with a code that is not.
            details["retry"] = Retry.SOON if retry is Retry.NEVER else retry
        self._add(row, Settlement(row["contact_id"], state, **details))

    def _add(self, row: Row, settlement: Settlement) -> None:
        self.queues.landed(settlement.contact_id)
        self._settled.append(settlement)
        self._counts[settlement.state, self.queues.destination(row)] += 1
        if len(self._settled) >= BATCH or self._is_due:
            self._flush()

    @property
    def _is_due(self) -> bool:
        return self.clock.monotonic() - self._flushed >= FLUSH_SECONDS

    def _flush(self) -> None:
        self._flushed = self.clock.monotonic()
        if self._settled:
            done, self._settled = self._settled, []
            counts, self._counts = self._counts, Counter()
            self.ledger.settle(done, epoch=self.epoch, at=self.clock.now())
            self.told(counts)
