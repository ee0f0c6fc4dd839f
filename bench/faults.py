"""Everything that can go wrong while a campaign is sent, done on purpose: nobody twice, nobody lost.

Issue 5 and FACTS C.5. Each scenario is a function beside this module that returns its figures; the
short form of all of them is tests/delivery/test_faults.py. Needs strace, and Postfix for the last.
A figure is a count unless its name says otherwise; there is no reference: each has its own bar, mostly 0.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import (
    faults_disk,
    faults_doubt,
    faults_kills,
    faults_launch,
    faults_leaving,
    faults_ledger,
    faults_order,
    faults_postfix,
    faults_replies,
)
from bench.figure import Figure
from bench.progress import progress

BENCH = "faults"
UNITS = {"_ms": "ms", "_seconds": "s", "_seconds_each": "s"}
# How much of each: tiny shows that it runs, small is what issue 5 asks, full is for a night.
SIZES = {"tiny": 0, "small": 1, "full": 2}
EARLY_CALLS = (1, 2, 3, 5, 8, 12)


def figures(scale: str) -> Iterator[Figure]:
    for scenario in _scenarios(SIZES[scale]):
        progress(f"faults: {scenario.func.__name__}")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="lettermill-bench-") as folder:
            found = scenario(Path(folder))
        name = scenario.func.__name__
        for metric, value in {**found, f"{name}_took_seconds": time.monotonic() - started}.items():
            unit = next((unit for end, unit in UNITS.items() if metric.endswith(end)), "")
            yield Figure(BENCH, metric, value, unit)


def _scenarios(size: int) -> tuple[partial[dict[str, float]], ...]:
    return (
        partial(
            faults_kills.kills,
            people=(2_000, 100_000, 500_000)[size],
            wanted=(6, 200, 1_000)[size],
        ),
        partial(faults_doubt.another_boot, people=(600, 5_000, 20_000)[size]),
        partial(faults_doubt.drops_after_the_dot, people=(600, 5_000, 20_000)[size]),
        partial(faults_replies.replies, people=(100, 200, 1_000)[size], times=(1, 3, 20)[size]),
        partial(
            faults_disk.disk_errors,
            people=(300, 1_500, 20_000)[size],
            places=((1, 4), EARLY_CALLS, tuple(range(1, 51)))[size],
        ),
        partial(faults_order.order, people=(300, 3_000, 10_000)[size]),
        partial(faults_launch.launches, people=(600, 2_000, 20_000)[size], count=10),
        partial(
            faults_launch.standing_still,
            people=600,
            rounds=(3, 6, 6)[size],
            seconds=(0.5, 3.0, 180.0)[size],
        ),
        partial(faults_ledger.other_ledgers, people=600),
        partial(
            faults_ledger.torn,
            people=600,
            cuts=(4, 16, 500)[size],
            flips=(2, 8, 100)[size],
        ),
        partial(
            faults_leaving.leaving,
            people=(3_000, 20_000, 100_000)[size],
            leave=(100, 1_000, 1_000)[size],
            seconds=(5.0, 15.0, 60.0)[size],
        ),
        partial(
            faults_postfix.restarts,
            people=(1_500, 6_000, 20_000)[size],
            rounds=(3, 12, 20)[size],
        ),
    )
