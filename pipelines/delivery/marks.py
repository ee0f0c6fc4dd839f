"""One byte per recipient in a memory-mapped file: how far each message came, known after a SIGKILL.

Mapped pages outlive the process but not the machine: the header holds the boot and the machine they
were written under. One byte per recipient and not per connection: a connection's next message
would overwrite the last outcome before it is committed (measured: 5,444 duplicates in 53 kills).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

from pipelines.settings import boot_id, machine_id

HEADER = 256


class Mark(IntEnum):
    """How far a recipient's message came."""

    NONE = 0
    CLAIMED = 1
    DOT = 2
    ACCEPTED = 3
    DEFERRED = 4
    REJECTED = 5


def _header() -> bytes:
    return f"{boot_id()}\n{machine_id()}\n".encode()[:HEADER].ljust(HEADER, b"\0")


class Marks:
    """The marks of one campaign. `trusted` is False when they were written under another boot."""

    def __init__(self, path: Path, size: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            length = os.fstat(descriptor).st_size
            if length < HEADER + size:
                os.ftruncate(descriptor, HEADER + size)
            # A new file's header is empty, and stays so until `renew`: a run that dies before its
            # recovery must not make marks nobody wrote believable. Nor are those of a file cut short.
            self.trusted = length >= HEADER + size and os.pread(descriptor, HEADER, 0) == _header()
            self._map = mmap.mmap(descriptor, 0)
        finally:
            os.close(descriptor)

    def renew(self) -> None:
        """Call after recovery: the marks written from here on are this boot's."""
        self._map[:HEADER] = _header()
        self._map.flush()

    def forget(self, recipients: Iterable[int]) -> None:
        """Take back what is marked of these, on disk when it returns: a later mark is of a later try."""
        for recipient in recipients:
            if HEADER + recipient < len(self._map):
                self[recipient] = Mark.NONE
        self._map.flush()

    def whole(self) -> bytes:
        """The byte of every recipient, in order."""
        return self._map[HEADER:]

    def __getitem__(self, recipient: int) -> Mark:
        place = HEADER + recipient
        if place >= len(self._map):
            return Mark.NONE
        byte = self._map[place]
        # No byte that we wrote: nobody knows how far this one came.
        return Mark(byte) if byte <= Mark.REJECTED else Mark.DOT

    def __setitem__(self, recipient: int, mark: Mark) -> None:
        self._map[HEADER + recipient] = mark

    def close(self) -> None:
        self._map.close()
