"""The words of the ledger: states, who is claimed, what became of them. No storage here."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from pipelines.delivery.replies import Retry


class State(StrEnum):
    """What became of one recipient. Audience(mail) = the sum of these + not yet claimed."""

    CLAIMED = "claimed"
    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    IN_DOUBT = "in_doubt"
    CONFIRMED_SENT = "confirmed_sent"
    CONFIRMED_UNSENT = "confirmed_unsent"
    WAIVED_SKIP = "waived_skip"
    WAIVED_RESEND = "waived_resend"
    WITHHELD = "withheld"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


# Who was in doubt and is sent to: nobody got it, or somebody said that twice is better than never.
TO_RESEND = frozenset({State.CONFIRMED_UNSENT, State.WAIVED_RESEND})
# Whom the next run tries whatever the time; whoever is deferred, once it is theirs. A claim that recovery
# left is provably unsent.
AGAIN = frozenset({State.CLAIMED, *TO_RESEND})
# From these nobody is mailed again, unless evidence says that an in-doubt message never arrived.
FINAL = frozenset(State) - {State.DEFERRED, *AGAIN}


class Source(StrEnum):
    """What settled somebody in doubt; the reason of their row from then on."""

    EVENT = "event"
    SINK = "sink"
    RELAY_LOG = "relay_log"
    PERSON = "person"
    POLICY = "policy"


def is_due(state: str, next_at: int | None, now: int) -> bool:
    """Whether a new run would try somebody in this state. Times in microseconds."""
    return state in AGAIN or (state == State.DEFERRED and (next_at or 0) <= now)


# Tuples, since a send makes one of each for everybody: a frozen dataclass takes twice as long.
class Candidate(NamedTuple):
    """One recipient a worker would like to claim."""

    contact_id: int
    address_hash: str
    recipient: int


class Settlement(NamedTuple):
    """What became of one claim."""

    contact_id: int
    state: State
    reason: str | None = None
    reply_class: str | None = None
    reply: str | None = None
    message_id: str | None = None
    # When to try again, of somebody deferred: retry.py says after how long.
    retry: Retry | None = None
