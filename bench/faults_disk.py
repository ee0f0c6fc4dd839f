"""Errors of the disk under the ledger, put in by strace: FACTS C.5 T4.

The Nth sync or write of the ledger's log fails, or every one from there on. The send stops with words,
nobody was mailed whose claim is not in the ledger, and the next start finishes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from bench.faults_home import Case, case, number_of
from bench.faults_process import tool
from bench.progress import progress

# What fails: the sync of a commit (EIO), or a write because the disk is full.
FAULTS = {"eio": ("fdatasync", "EIO"), "enospc": ("pwrite64", "ENOSPC")}


def disk_errors(
    folder: Path, *, people: int, places: tuple[int, ...], lasting: tuple[bool, ...] = (False, True)
) -> dict[str, float]:
    """Fail at each of these calls, once or for good, each over a home of its own.

    disk_sends_without_claim  received, with no row in the ledger when the send had stopped
    disk_without_words        ended by a traceback, or said that all was well when it was not
    """
    total: Counter[str] = Counter()
    for (name, fault), place, for_good in product(FAULTS.items(), places, lasting):
        with case(folder, people, workers=1, connections=2) as ready:
            found = dict(_failed(ready, *fault, when=f"{place}{'+' if for_good else ''}"))
        total.update(found)
        progress(f"disk: {name} at {place}{' and ever after' if for_good else ''}: {found}")
    names = ("errors", "stops", "without_words", "sends_without_claim", "duplicates", "lost")
    return {f"disk_{name}": total[name] for name in names}


def _failed(ready: Case, call: str, error: str, *, when: str) -> Iterator[tuple[str, int]]:
    told_by = ready.folder / "strace"
    log = f"{ready.ledger}-wal"
    traced = ("-f", "-o", str(told_by), "-P", log, "-e", f"trace={call}")
    inject = ("-e", f"inject={call}:error={error}:when={when}")
    with ready.run(tool("strace", "strace"), *traced, *inject) as run:
        told = run.told()
    injected = told_by.read_text().count("(INJECTED)")
    yield "errors", injected
    yield "stops", int("counts" not in told)
    yield "without_words", int(injected > 0 and not _has_words(told, ready.people))
    claimed = {who for (who,) in ready.rows("contact_id")}
    yield "sends_without_claim", len({number_of(each) for each in ready.sink.whose} - claimed)
    ready.finish()
    ready.settle()
    verdict = ready.verdict()
    yield "duplicates", verdict.duplicates
    yield "lost", verdict.lost


def _has_words(told: dict[str, object], people: int) -> bool:
    """Whether it stopped with an error of ours, or got over it: then everybody has it."""
    counts = told.get("counts")
    return "words" in told or (isinstance(counts, dict) and counts.get("accepted") == people)
