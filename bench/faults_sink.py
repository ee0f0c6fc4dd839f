"""What the sink of the fault benches holds, and what it is told to do at each stage of a message.

Keeps no messages, only how often each Message-ID was taken over, and when each envelope was begun. What
is said on a connection is faults_server.py's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

# Where a reply is given.
STAGES = ("connect", "ehlo", "mail", "rcpt", "data", "dot")


class Speaker(Protocol):
    """One client's connection."""

    recipient: str

    @property
    def is_open(self) -> bool:
        """Whether a message is under way: its envelope begun, its last reply not yet sent."""

    @property
    def peer_port(self) -> int: ...


@dataclass(frozen=True)
class Act:
    """What to do at a stage instead of the usual.

    reply  None: the usual one, only later; empty: hang up
    keeps  at the dot: whether the message is taken over all the same
    """

    reply: bytes | None = None
    delay_seconds: float = 0.0
    keeps: bool = False


# Asked at each stage: connect, ehlo, mail, rcpt, data (before 354), body (its first bytes are here), dot
# (nothing is kept yet), accepted (after 250). In the sink's thread.
Decide = Callable[[str, Speaker], Act | None]


def as_usual(_stage: str, _session: Speaker) -> None:
    """No fault at all."""


@dataclass
class Sink:
    """What it holds. `rate` is messages a second over all connections; None: as fast as it can.

    kept   how often each was taken over: Message-ID, and what a relay between us calls it
    whose  the Message-ID each recipient got
    begun  when (time.monotonic) the newest envelope for a recipient was begun
    """

    decide: Decide = as_usual
    rate: float | None = None
    pipelining: bool = True
    port: int = 0
    kept: Counter[tuple[str, str]] = field(default_factory=Counter)
    whose: dict[str, str] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    sessions: set[Speaker] = field(default_factory=set)
    random: Random = field(default_factory=lambda: Random(5))
    _turn: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether some message is under way."""
        return any(session.is_open for session in self.sessions.copy())

    @property
    def duplicates(self) -> int:
        """Copies beyond the first, told apart by what we handed over: a relay's own copies are one."""
        names = Counter(name for name, _ in self.kept.copy())
        direct = sum(count - 1 for (_, queued), count in self.kept.copy().items() if not queued)
        return direct + sum(count - 1 for count in names.values())

    def evidence(self, folder: Path) -> None:
        """Write what was received as the home's own sink would: a file for each, its name in it."""
        (folder / "new").mkdir(parents=True, exist_ok=True)
        for number, (name, _) in enumerate(self.kept):
            (folder / "new" / f"{number}.eml").write_text(f"Message-ID: {name}\r\n\r\n")

    def wait_seconds(self, now: float) -> float:
        """How long the next message has to wait for its turn."""
        if self.rate is None:
            return 0.0
        self._turn = max(now, self._turn + 1 / self.rate)
        return self._turn - now
