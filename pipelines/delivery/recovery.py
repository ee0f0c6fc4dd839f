"""What a mark and a ledger's row say together, after a run that ended in the middle.

Pure. The mark is the byte a message left in memory that outlives its process; the row is on disk.
"""

from __future__ import annotations

from datetime import timedelta

from pipelines.delivery.marks import Mark
from pipelines.delivery.states import TO_RESEND, Source, State

RECOVERED_RETRY = timedelta(minutes=5)
# The reason of those whom a person lets be tried once more.
TRIED_AGAIN = "tried_again"
# The reason of those of whom an accepted ledger proved nothing.
LEDGER_ACCEPTED = "ledger_accepted"
SOURCES = frozenset(Source)
# Marks that say something left for the relay; a byte nobody wrote counts as one, as in marks.py.
WENT_OUT = bytes(value >= Mark.DOT for value in range(256))


def recovered(mark: Mark | None, retry: int | None) -> tuple[State, str | None, int | None]:
    """State, reason and next time of a claim whose sender died; mark None: another boot."""
    if mark is None:
        return State.IN_DOUBT, "machine_restarted", None
    return {
        Mark.NONE: (State.CLAIMED, None, None),
        Mark.CLAIMED: (State.CLAIMED, None, None),
        Mark.DOT: (State.IN_DOUBT, "sender_died", None),
        Mark.ACCEPTED: (State.ACCEPTED, None, None),
        Mark.DEFERRED: (State.DEFERRED, None, retry),
        Mark.REJECTED: (State.REJECTED, None, None),
    }[mark]


def is_contradicted(state: str, reason: str | None, mark: int, *, is_trusted: bool) -> bool:
    """Whether a mark says more than a row from which somebody would be sent to again.

    is_trusted  the marks are of this boot; of another, a disk may have any that was before the last
    """
    if state in TO_RESEND:
        # The mark of the try in doubt was taken back when it was settled; a ledger from before that was
        # done still has its dot.
        return mark == Mark.ACCEPTED or (mark >= Mark.DOT and reason in SOURCES)
    if state != State.DEFERRED:
        return False
    if not is_trusted:
        # A row from before the power went is on disk, its mark perhaps not: the dot of a try that was put
        # off since. Nobody who was accepted is ever deferred.
        return mark == Mark.ACCEPTED
    # Who was refused and is tried again by a person's word has the mark of the refusal.
    return mark in (Mark.DOT, Mark.ACCEPTED) or (mark == Mark.REJECTED and reason != TRIED_AGAIN)
