"""What a person does with a send: pause it, let it go on, end it, try again whom it failed.

Reads and writes the ledger under the campaign's lock; a send that is under way is stopped first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.delivery import approval, pausing
from pipelines.delivery.export import audience_size, candidates_of, export
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.lock import CampaignLock, is_held
from pipelines.delivery.marks import Marks
from pipelines.delivery.pausing import Paused
from pipelines.delivery.replies import ReplyClass, meaning
from pipelines.errors import SendHeld
from pipelines.workspace import Workspace

# A send that was told to stop ends within its own 5 seconds.
STOP_SECONDS, GLANCE_SECONDS = 10.0, 0.1
# Tried again when a person asks for it: what was said was of us, or of the moment, and may be mended.
MENDABLE = tuple(kind for kind in ReplyClass if not meaning(kind).suppress)


def pause(key: str, workspace: Workspace, *, by: str, why: str) -> Paused:
    """Pause a campaign; workers stop within two seconds, and nothing starts it but `resume`."""
    approval.approved(key, workspace)
    return pausing.pause(workspace.home.ledgers, key, by=by, why=why, at=workspace.clock.now())


def resume(key: str, workspace: Workspace) -> Paused:
    """End a pause. Raises SendHeld when there is none."""
    approval.approved(key, workspace)
    known = pausing.resume(workspace.home.ledgers, key)
    if known is None:
        raise SendHeld(
            f"{key} is not paused", do=f"See where it stands: lettermill campaign status {key}"
        )
    return known


def cancel(key: str, workspace: Workspace, *, by: str, why: str) -> int:
    """End a campaign for good: nobody more is sent to. Returns how many will get nothing.

    It stays paused, so that nothing begins it again.
    """
    space = workspace
    pause(key, space, by=by, why=why)
    with stopped(key, space):
        ledger = Ledger(space.home.ledgers / f"{key}.sqlite")
        try:
            recover(ledger, key, space)
            count = ledger.cancel(candidates_of(key, space.lake), at=space.clock.now())
            export(key, ledger, space)
        finally:
            ledger.close()
    return count


def retry_failed(key: str, workspace: Workspace) -> int:
    """Let everybody be tried again who was refused or given up on, but no unknown address and nobody
    in doubt. Returns how many; the next send goes to them."""
    space = workspace
    approval.approved(key, space)
    with stopped(key, space):
        ledger = Ledger(space.home.ledgers / f"{key}.sqlite")
        try:
            recover(ledger, key, space)
            count = ledger.try_again(MENDABLE, at=space.clock.now())
            export(key, ledger, space)
        finally:
            ledger.close()
    return count


@contextmanager
def stopped(key: str, workspace: Workspace) -> Iterator[None]:
    """Hold the campaign's lock, once the send that may be under way has ended. Raises LedgerRefused."""
    path, clock = workspace.home.ledgers / f"{key}.lock", workspace.clock
    if pausing.is_paused(workspace.home.ledgers, key):
        until = clock.monotonic() + STOP_SECONDS
        while is_held(path) and clock.monotonic() < until:
            clock.sleep(GLANCE_SECONDS)
    lock = CampaignLock(path)
    try:
        yield
    finally:
        lock.release()


def recover(ledger: Ledger, key: str, workspace: Workspace) -> None:
    """Settle what a dead run may have left, as every start does."""
    size = audience_size(key, workspace.lake)
    marks = Marks(workspace.home.ledgers / f"{key}.marks", size)
    try:
        ledger.begin_epoch(marks=marks, at=workspace.clock.now())
    finally:
        marks.close()
