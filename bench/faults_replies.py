"""Every bad reply at every stage, with and without PIPELINING: FACTS A.5 and C.5 T3.

Nobody twice, nobody lost; an address is suppressed for an unknown user at RCPT or later and for nothing
else; what is said at CONNECT or EHLO is said of nobody.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from bench.faults_home import Case, case
from bench.faults_sink import STAGES, Act, Speaker, as_usual
from bench.progress import progress

SLOW_SECONDS = 0.3
KINDS = {
    "unknown": b"550 5.1.1 nobody has this address",
    "slow": None,
    "4xx": b"451 4.3.0 not now",
    "421": b"421 4.3.2 closing",
    "garbage": b"\xff\xfe\x00 what?",
    "5xx": b"554 5.7.1 not this one",
    "hangs_up": b"",
}
REFUSED = ("unknown", "5xx")
# The first so many replies of a stage are as usual, then one in so many is not.
FIRST, EVERY = 3, 4


@dataclass
class Script:
    """Gives each kind of reply at one stage, `times` times, and notes whom it refused."""

    stage: str
    times: int
    acts: Counter[str] = field(default_factory=Counter)
    _reached: int = 0

    def __call__(self, stage: str, _session: Speaker) -> Act | None:
        if stage != self.stage:
            return None
        self._reached += 1
        kinds = [kind for kind in KINDS if self.acts[kind] < self.times]
        # A connection is opened only so often: there, every reply counts.
        is_usual = self._reached % EVERY or self._reached < FIRST
        if not kinds or (is_usual and stage not in ("connect", "ehlo")):
            return None
        kind = min(kinds, key=lambda each: self.acts[each])
        self.acts[kind] += 1
        delay = SLOW_SECONDS if kind == "slow" else 0.0
        return Act(KINDS[kind], delay, keeps=stage == "dot" and kind in ("garbage", "hangs_up"))


def replies(
    folder: Path, *, people: int, times: int, stages: tuple[str, ...] = STAGES
) -> dict[str, float]:
    """Send through each stage's bad replies to the end, over servers that pipeline and that do not."""
    total: Counter[str] = Counter()
    for stage, pipelining in product(stages, (True, False)):
        script = Script(stage, times)
        with case(folder, people, decide=script, pipelining=pipelining) as ready:
            found = _sent_through(ready, script)
        total.update(found)
        progress(f"replies: {stage}, {'with' if pipelining else 'without'} pipelining: {found}")
    names = ("given", "duplicates", "lost", "in_doubt_after")
    wrong = ("suppressed_wrongly", "not_suppressed", "rejected_wrongly", "not_rejected")
    return {f"replies_{name}": total[name] for name in (*names, *wrong, "starts")}


def _sent_through(ready: Case, script: Script) -> dict[str, int]:
    starts = ready.finish()
    ready.sink.decide = as_usual
    starts += ready.settle()
    verdict = ready.verdict()
    unknown = script.acts["unknown"] if script.stage in ("rcpt", "data", "dot") else 0
    is_said_of_somebody = script.stage in ("mail", "rcpt", "data", "dot")
    refused = sum(script.acts[kind] for kind in REFUSED) if is_said_of_somebody else 0
    rejected = ready.rows("count(*)", "state = 'rejected'")[0][0]
    return {
        "given": sum(script.acts.values()),
        "duplicates": verdict.duplicates,
        "lost": verdict.lost,
        "in_doubt_after": verdict.in_doubt,
        "suppressed_wrongly": max(0, verdict.suppressed - unknown),
        "not_suppressed": max(0, unknown - verdict.suppressed),
        "rejected_wrongly": max(0, rejected - refused),
        "not_rejected": max(0, refused - rejected),
        "starts": starts,
    }
