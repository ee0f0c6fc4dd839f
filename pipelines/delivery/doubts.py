"""Whoever is in doubt, and what settled each: evidence, or somebody's word.

A row of the ledger says where a recipient stands, its table `doubts` how they came there, and by whom.
Evidence that a message arrived is believed whenever it comes, even over a proof that it did not; of what is
uncertain nobody is sent a copy more than once. Finding evidence is evidence.py's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pipelines.campaigns.campaign import Campaign
from pipelines.campaigns.kinds import InDoubt
from pipelines.delivery.ledger import Ledger, micros, moment
from pipelines.delivery.ledger_sql import RESENT, words
from pipelines.delivery.marks import Marks
from pipelines.delivery.recovery import LEDGER_ACCEPTED
from pipelines.delivery.states import TO_RESEND, Source, State

# Evidence that it arrived changes these, too.
REVISED = frozenset({State.IN_DOUBT, State.WAIVED_SKIP, *TO_RESEND})
SECOND_PUT_OFF = f"(state = 'deferred' and contact_id in ({RESENT}))"
COLUMNS = "contact_id, recipient, state, claimed_at, settled_at, reason, epoch"
SETTLE = (
    "update sends set state = ?, reason = ?, settled_at = ?, next_at = null where contact_id = ?"
)
RECORD = "insert into doubts values (?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Doubt:
    """One recipient of whom it is, or was, not known whether they got it. Times in microseconds.

    was_resent  whether they were let have a second copy once, knowingly
    """

    contact_id: int
    recipient: int
    state: State
    claimed_at: int | None
    settled_at: int
    reason: str | None
    epoch: int
    was_resent: bool

    def due_at(self, campaign: Campaign) -> datetime:
        """When a campaign's policy lets this one have a second copy."""
        return moment(self.settled_at) + campaign.resend_after

    def may_become(self, state: State) -> bool:
        """Whether a verdict changes anything about this one."""
        if state is State.CONFIRMED_SENT:
            return True
        # That a second copy never arrived says nothing of the first.
        return self.state is State.IN_DOUBT and not (self.was_resent and state in TO_RESEND)


@dataclass(frozen=True)
class Verdict:
    """What is found or decided of one recipient in doubt; `detail` says more of the source."""

    doubt: Doubt
    state: State
    source: Source
    detail: str | None = None


@dataclass(frozen=True)
class Settled:
    """What was recorded when somebody in doubt was settled."""

    at: datetime
    state: State
    source: Source
    detail: str | None
    by: str | None


def doubts(ledger: Ledger, *, before: datetime | None = None) -> list[Doubt]:
    """Everybody about whom evidence may still say something.

    before  only those in doubt at that time, and for whom a second copy is possible
    """
    twice = resent(ledger)
    which = "state = 'in_doubt'" if before else f"(state in ({words(REVISED)}) or {SECOND_PUT_OFF})"
    rows = ledger.ask(
        f"select {COLUMNS} from sends where {which} and settled_at <= ? order by recipient",
        [micros(before) if before else 2**62],
    )
    found = [
        Doubt(contact, recipient, State(state), claimed, settled, reason, epoch, contact in twice)
        for contact, recipient, state, claimed, settled, reason, epoch in rows
    ]
    return [each for each in found if before is None or not each.was_resent]


def due_by_policy(campaign: Campaign, ledger: Ledger, now: datetime) -> list[Doubt]:
    """Who is to have a second copy by a campaign's policy now.

    Of whom an accepted ledger proved nothing, only a person may say so: that is everybody at once.
    """
    if campaign.in_doubt is not InDoubt.RESEND:
        return []
    found = doubts(ledger, before=now - campaign.resend_after)
    return [each for each in found if each.reason != LEDGER_ACCEPTED]


def settle(
    ledger: Ledger,
    marks: Marks,
    verdicts: Iterable[Verdict],
    *,
    at: datetime,
    by: str | None = None,
) -> Counter[tuple[State, Source]]:
    """Record verdicts; returns how many each source settled. Only under the campaign's lock."""
    taken: dict[int, Verdict] = {}
    for verdict in verdicts:
        known = taken.get(verdict.doubt.contact_id)
        is_better = known is None or verdict.state is State.CONFIRMED_SENT is not known.state
        if is_better and verdict.doubt.may_become(verdict.state):
            taken[verdict.doubt.contact_id] = verdict
    # Before the commit: after it, a mark that says more than the row tells of a claim that was lost.
    marks.forget(each.doubt.recipient for each in taken.values() if each.state in TO_RESEND)
    now = micros(at)
    with ledger.transaction() as db:
        db.executemany(SETTLE, [(v.state, v.source, now, contact) for contact, v in taken.items()])
        db.executemany(
            RECORD,
            [
                (contact, now, v.state, v.source, v.detail, by, v.doubt.reason, v.doubt.epoch)
                for contact, v in taken.items()
            ],
        )
    return Counter((each.state, each.source) for each in taken.values())


def resent(ledger: Ledger) -> set[int]:
    """Whom a second copy was allowed, or sent, knowing that they may have the first."""
    return {int(row[0]) for row in ledger.ask(RESENT)}


def history(ledger: Ledger, contact_id: int) -> list[Settled]:
    """What settled one contact, in order."""
    rows = ledger.ask(
        "select at, state, source, detail, by from doubts where contact_id = ? order by rowid",
        (contact_id,),
    )
    return [
        Settled(moment(at), State(state), Source(source), detail, by)
        for at, state, source, detail, by in rows
    ]
