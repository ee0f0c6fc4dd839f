"""How the loopback sink misbehaves on purpose: a rule per stage and how often it was reached.

A script is a JSON list of rules {"stage", "nth", "times", "reply" | "signal" + "pids"}. `reply` is a
whole reply line, or "" to drop the connection; `signal` is sent to the process ids in the JSON list
in file `pids`. Stages: connect, ehlo, mail, rcpt, data (before 354), body (its first bytes are
here), dot (nothing is kept yet), kept (before 250), accepted (after 250).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Rule:
    """What to do from the nth time a stage is reached."""

    stage: str
    nth: int = 1
    times: int = 1
    reply: str | None = None
    signal: int | None = None
    pids: str = ""

    def fits(self, count: int) -> bool:
        return self.nth <= count < self.nth + self.times


class Script:
    """Counts stages over all connections and says what the rules decide."""

    def __init__(self, rules: list[Rule]) -> None:
        self._rules = rules
        self._counts: Counter[str] = Counter()

    def reach(self, stage: str) -> bytes | None:
        """The bytes to answer instead of the usual ones (empty: drop), or None."""
        if not self._rules:
            return None
        self._counts[stage] += 1
        decided: bytes | None = None
        for rule in self._rules:
            if rule.stage == stage and rule.fits(self._counts[stage]):
                if rule.signal is not None:
                    _signal(rule.signal, Path(rule.pids))
                if rule.reply is not None:
                    decided = f"{rule.reply}\r\n".encode() if rule.reply else b""
        return decided


def _signal(number: int, pids: Path) -> None:
    try:
        targets = json.loads(pids.read_text())
    except (OSError, ValueError):
        return
    pids.unlink(missing_ok=True)
    for target in targets:
        try:
            os.kill(int(target), number)
        except ProcessLookupError:
            continue


def no_script() -> Script:
    return Script([])


def read_script(path: Path) -> Script:
    return Script([Rule(**rule) for rule in json.loads(path.read_text())])
