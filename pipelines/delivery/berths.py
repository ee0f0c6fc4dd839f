"""Berths: how many may be under way at once on one way, counted over every process of a home.

A file of the home for each berth, held under a lock of the operating system: it is free again when its
holder is dead, so nothing is left over by a process that was killed. Knows no message.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

from pipelines.delivery.destinations import to
from pipelines.delivery.routes import Way, by_relay

# Of a relay's connections so many are kept for messages beside campaigns, where it has more than that.
KEPT = 1
# How long to wait before a berth is asked for again.
ASK_SECONDS = 0.1


class Berths:
    """The berths of one way, as one process takes them.

    kept  of `count` berths, so many are not for this process
    """

    def __init__(self, folder: Path, name: str, count: int, *, kept: int = 0) -> None:
        self._folder, self._name, self.count = folder, name, count
        self._first = kept if kept < count else 0
        self._files: dict[int, int] = {}
        self._taken: list[int] = []

    def take(self) -> bool:
        """Take one; False when every one is taken."""
        for number in range(self._first, self.count):
            if number in self._taken:
                continue
            try:
                fcntl.flock(self._file(number), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            self._taken.append(number)
            return True
        return False

    def leave(self) -> None:
        """Give one back."""
        fcntl.flock(self._files[self._taken.pop()], fcntl.LOCK_UN)

    def close(self) -> None:
        """Give every one back."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()
        self._taken.clear()

    def _file(self, number: int) -> int:
        if number not in self._files:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{self._name}.{number}"
            self._files[number] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._files[number]


def berths_at(folder: Path, way: Way, *, is_urgent: bool = False) -> Berths | None:
    """A relay's connections, of which those that are kept are for urgent messages; None when not counted."""
    if way.connections is None:
        return None
    return Berths(folder, by_relay(way.name), way.connections, kept=0 if is_urgent else KEPT)


def berths_to(folder: Path, counts: Mapping[str, int]) -> dict[str, Berths]:
    """Of each destination that takes so many messages at once: those."""
    return {name: Berths(folder, to(name), count) for name, count in counts.items()}
