"""One sender per campaign: an operating-system lock, shared by a parent and its workers.

Never a lease. The lock is free when the last process that holds the file descriptor is dead, so a
parent's death alone does not let another sender in while its workers still speak to the relay.
"""

from __future__ import annotations

import fcntl
import os
from multiprocessing import reduction
from pathlib import Path
from typing import Any

from pipelines.errors import LedgerRefused


class CampaignLock:
    """Held from construction to `release()`, or to the end of every process that inherited it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.descriptor)
            raise LedgerRefused(
                f"{path.stem} is being sent by another run",
                do="Wait until that run has ended; nobody was mailed by this one",
            ) from None

    def release(self) -> None:
        os.close(self.descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        # Only while a worker is spawned: the child gets the same open file, and with it the lock.
        return _inherited, (reduction.DupFd(self.descriptor),)


def is_held(path: Path) -> bool:
    """Whether some run is sending this campaign now."""
    if not path.exists():
        return False
    try:
        CampaignLock(path).release()
    except LedgerRefused:
        return True
    return False


def _inherited(descriptor: Any) -> CampaignLock:
    lock = CampaignLock.__new__(CampaignLock)
    lock.descriptor = descriptor.detach()
    return lock
