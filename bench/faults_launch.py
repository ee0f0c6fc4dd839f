"""One sender at a time: many launches at once, and a holder that stands still. FACTS C.5 T6, T7.

A holder is stopped for seconds, and for minutes at scale `full`: there is a lock, and no lease to run out.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

from bench.faults_home import Case, case
from bench.faults_process import until

RUNNING = "is being sent by another run"


def launches(folder: Path, *, people: int, count: int) -> dict[str, float]:
    """Start the same campaign so many times at once; the sink lets none end before all have begun."""
    with (
        case(folder, people, workers=1, connections=2, rate=people / 60) as ready,
        ExitStack() as all_runs,
    ):
        runs = [all_runs.enter_context(ready.run()) for _ in range(count)]
        while sum(run.is_over for run in runs) < count - 1:
            ready.space.clock.sleep(0.02)
        ready.sink.rate = None
        told = [run.told() for run in runs]
        verdict = ready.verdict()
    return {
        "launches": count,
        "launches_that_sent": sum(each.get("sent") == people for each in told),
        "launches_refused": sum(RUNNING in each.get("words", "") for each in told),
        "launches_duplicates": verdict.duplicates,
        "launches_lost": verdict.lost,
    }


def standing_still(folder: Path, *, people: int, rounds: int, seconds: float) -> dict[str, float]:
    """Stop the holder, its worker, or both, again and again; nobody else gets in, and it ends well."""
    refused = 0
    with (
        case(folder, people, workers=1, connections=2, rate=people / 60) as ready,
        ready.run() as run,
    ):
        (worker,) = run.workers()
        until(lambda: ready.sink.is_open, run)
        for number in range(rounds):
            stopped = [(run.process.pid,), (worker.pid,), (run.process.pid, worker.pid)][number % 3]
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            ready.space.clock.sleep(seconds)
            refused += _is_refused(ready)
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        ready.sink.rate = None
        told = run.told()
        verdict = ready.verdict()
    return {
        "stopped_rounds": rounds,
        "stopped_seconds_each": seconds,
        "stopped_others_refused": refused,
        "stopped_sent": told.get("sent", 0),
        "stopped_duplicates": verdict.duplicates,
        "stopped_lost": verdict.lost,
    }


def _is_refused(ready: Case) -> bool:
    stopped = ready.send()
    return stopped is not None and RUNNING in str(stopped)
