"""A ledger that is not the one this home knows, and one whose last pages are torn. FACTS C.5 T8, T13.

A lost claim must never look like somebody who was not mailed: it is refused, or it is in doubt.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from random import Random

from bench.faults_home import Case, case
from bench.faults_process import until
from pipelines.errors import LedgerRefused
from pipelines.schema import LEDGER_HEADS

PAGE = 4096


def other_ledgers(folder: Path, *, people: int) -> dict[str, float]:
    """Go on with a ledger that is missing, older, of another home, of another machine: all refused."""
    refused: Counter[str] = Counter()
    with _killed(folder, people) as ready:
        older = _copy(ready, "older")
        ready.finish()
        had = len(ready.sink.kept)
        newest = _copy(ready, "newest")
        changes: dict[str, Callable[[], None]] = {
            "missing": lambda: _remove(ready),
            "older": lambda: _restore(ready, older),
            "foreign_home": lambda: ready.change(_meta("home_id")),
            "foreign_machine": lambda: ready.change(_meta("machine_id")),
            "foreign_campaign": lambda: ready.change(_meta("campaign")),
        }
        for name, change in changes.items():
            change()
            refused[name] = isinstance(ready.send(), LedgerRefused)
            _restore(ready, newest)
        sent = len(ready.sink.kept) - had
        verdict = ready.verdict()
    return {
        "ledgers_not_trusted": len(changes),
        "ledgers_refused": sum(refused.values()),
        "ledgers_sent_all_the_same": sent,
        "ledgers_duplicates": verdict.duplicates,
    }


def torn(
    folder: Path, *, people: int, cuts: int, flips: int, kinds: tuple[str, ...] = ("wal", "file")
) -> dict[str, float]:
    """Cut the log, or the file itself, at many places, and flip bits in both; then go on.

    Copies of one home whose sender was killed halfway, once with its log and once with the log's pages
    moved into the file. torn_detected: refused with words; torn_sent_twice: what no reader would forgive.
    """
    total: Counter[str] = Counter()
    random = Random(11)
    with _killed(folder, people) as ready:
        kept = {"wal": _copy(ready, "wal"), "file": _copy_without_log(ready)}
        received = _Before(ready)
        for kind, number in product(kinds, range(cuts + flips)):
            _restore(ready, kept[kind])
            received.restore()
            target = Path(f"{ready.ledger}-wal") if kind == "wal" else ready.ledger
            _cut(target, number, cuts) if number < cuts else _flip(target, random)
            total.update(_go_on(ready))
    names = ("ledgers", "detected", "sent_twice", "lost", "without_words")
    return {f"torn_{name}": total[name] for name in names}


class _Before:
    """What the sink held, and how many starts the lake knew, when the sender was killed."""

    def __init__(self, ready: Case) -> None:
        self._sink, self._kept = ready.sink, ready.sink.kept.copy()
        self._whose = ready.sink.whose.copy()
        self._heads = ready.space.lake.path(LEDGER_HEADS.name)
        self._copy = ready.folder / "kept" / "heads"
        shutil.copytree(self._heads, self._copy)

    def restore(self) -> None:
        self._sink.kept, self._sink.whose = self._kept.copy(), self._whose.copy()
        shutil.rmtree(self._heads)
        shutil.copytree(self._copy, self._heads)


def _go_on(ready: Case) -> dict[str, int]:
    """Send with this ledger; if it is refused, knowingly with everybody unproven in doubt."""
    with ready.run() as run:
        told = run.told()
    found = {"ledgers": 1, "detected": "words" in told, "without_words": not told}
    if "counts" not in told:
        with ready.run(accept=True) as run:
            run.told()
    else:
        found["lost"] = ready.verdict().forgotten
    return {**found, "sent_twice": ready.sink.duplicates}


@contextmanager
def _killed(folder: Path, people: int) -> Iterator[Case]:
    """A home whose sender was killed halfway."""
    with case(folder, people, workers=1, connections=2, rate=people / 2) as ready:
        with ready.run() as run:
            until(lambda: len(ready.sink.kept) > people / 2, run)
            ready.kill(run)
        ready.sink.rate = None
        yield ready


def _files(ready: Case) -> list[Path]:
    names = (ready.ledger.name, f"{ready.ledger.name}-wal", ready.marks.name)
    return [ready.home.ledgers / name for name in names]


def _copy(ready: Case, name: str) -> Path:
    """The ledger, its log and the marks as they are, and the lake as it is with them."""
    kept = ready.folder / "kept" / name
    kept.mkdir(parents=True)
    for path in _files(ready):
        if path.exists():
            shutil.copy(path, kept / path.name)
    return kept


def _copy_without_log(ready: Case) -> Path:
    """The same after its log was moved into the file, as the last process to close it does."""
    ready.change("update meta set value = value")
    return _copy(ready, "file")


def _remove(ready: Case) -> None:
    for path in (*_files(ready)[:2], Path(f"{ready.ledger}-shm")):
        path.unlink(missing_ok=True)


def _restore(ready: Case, kept: Path) -> None:
    _remove(ready)
    for path in kept.iterdir():
        shutil.copy(path, ready.home.ledgers / path.name)


def _meta(name: str) -> str:
    return f"update meta set value = 'another' where name = '{name}'"


def _cut(path: Path, number: int, cuts: int) -> None:
    """Leave less at the end: at places within the last page, and at places all over the file in turn."""
    content = path.read_bytes()
    reach = len(content) if number % 2 else PAGE
    path.write_bytes(content[: max(1, len(content) - reach * (number + 1) // (cuts + 1))])


def _flip(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    place = random.randrange(max(0, len(content) - 8 * PAGE), len(content))
    content[place] ^= 1 << random.randrange(8)
    path.write_bytes(content)
