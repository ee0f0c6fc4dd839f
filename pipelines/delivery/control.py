"""What a person does with a send: pause it, let it go on, end it, try again whom it failed.

A send that is under way is stopped first; the ledger is held as holding.py says.
"""

from __future__ import annotations

from pipelines.delivery import approval, pausing
from pipelines.delivery.export import candidates_of
from pipelines.delivery.holding import held
from pipelines.delivery.pausing import Paused
from pipelines.delivery.replies import ReplyClass, meaning
from pipelines.errors import SendHeld
from pipelines.workspace import Workspace

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
    with held(approval.approved(key, space), space, waits=True) as hold:
        return hold.ledger.cancel(candidates_of(key, space.lake), at=space.clock.now())


def retry_failed(key: str, workspace: Workspace) -> int:
    """Let everybody be tried again who was refused or given up on, but no unknown address and nobody
    in doubt. Returns how many; the next send goes to them."""
    with held(approval.approved(key, workspace), workspace, waits=True) as hold:
        return hold.ledger.try_again(MENDABLE, at=workspace.clock.now())
