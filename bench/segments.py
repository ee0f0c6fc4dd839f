"""Ten segments of the repository over a shop's data, beside the same queries by hand.

References of the same run: hand-written DuckDB over the same files, writing the same rows; and at the
small scale PostgreSQL 15, loaded from the same files. All must find the same contacts, or it fails.

`peak_memory` is of all processes of a side together (ours: the caller and its sandboxes), looked at in
the untimed runs. Disk: the data is made once and kept in the temporary folder (1.3 GB small, 6.4 GB
full); PostgreSQL needs 10 GB more while it runs. Scale tiny is for trying the benchmark itself.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, mean
from types import FrameType

import polars as pl

from bench.figure import Figure
from bench.segments_data import AS_OF, SCALES, TABLES, prepared, say
from bench.segments_postgresql import LONGEST_SECONDS, Server, is_installed, server
from bench.segments_sides import Query, Runner, by_hand, ids, ours, runner
from pipelines.lake import Lake

BENCH = "segments"
QUERIES = (
    Query("bought_product", {"product": "shop:P7", "days": 30}),
    Query("not_opened_90_days"),
    Query("top_decile_revenue_12_months"),
    Query("frequent_clickers"),
    Query("bought_once_never_again"),
    Query("abandoned_cart"),
    Query("inactive_180_to_365_days"),
    Query("one_category_buyers"),
    Query("clicks_without_buying"),
    Query("birthday_this_week_in_country", {"country": "FR"}),
)
# What one query may cost beside DuckDB itself: the bar of overhead_seconds.
ALLOWED_SECONDS = 0.1
BY_HAND, POSTGRESQL = "hand-written DuckDB", "PostgreSQL 15"


@dataclass(frozen=True)
class Measured:
    """One query on every side, in seconds."""

    query: Query
    members: pl.Series
    ours: float
    by_hand: float


def figures(scale: str) -> Iterator[Figure]:
    lake = prepared(SCALES[scale])
    with ExitStack() as stack:
        stack.enter_context(_told_to_end())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lettermill-bench-")))
        runners = stack.enter_context(runner(ours)), stack.enter_context(runner(by_hand))
        measured = []
        for query in QUERIES:
            measured.append(_measure(query, lake, runners, folder))
            yield from _of_query(measured[-1])
        yield from _of_all(measured)
        peaks = [each.peak_bytes / 1e9 for each in runners]
        yield Figure(BENCH, "peak_memory", peaks[0], "GB", BY_HAND, peaks[1])
    if scale != "full":
        yield from _beside_postgresql(measured, lake)


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Leave as on Ctrl-C when told to end: PostgreSQL and the sides must not live on."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        sys.exit(1)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _beside_postgresql(measured: Sequence[Measured], lake: Lake) -> Iterator[Figure]:
    """After ours, whose memory it shall not take; with the usual indexes, then with more."""
    if not is_installed():
        raise SystemExit("PostgreSQL 15 is not installed: apt install postgresql-15")
    with ExitStack() as stack:
        stack.enter_context(_told_to_end())
        reference = stack.enter_context(server())
        reference.load(lake, TABLES)
        yield from _of_indexes("vs_postgresql", measured, reference)
        reference.index("more_indexes")
        yield from _of_indexes("vs_postgresql_more_indexes", measured, reference)


def _of_indexes(name: str, measured: Sequence[Measured], reference: Server) -> Iterator[Figure]:
    ratios = []
    for each in measured:
        query = each.query
        parameters = {key: str(value) for key, value in query.parameters.items()}
        timed = reference.seconds(query.name, {"as_of": AS_OF.isoformat(), **parameters})
        if timed.is_stopped:
            say(f"{query.name}: PostgreSQL was stopped and counts as {LONGEST_SECONDS} s")
        else:
            _require_same(query, each.members, reference.members(), POSTGRESQL)
        ratios.append(timed.seconds / each.ours)
        yield Figure(BENCH, f"{query.name}_{name}", each.ours, "s", POSTGRESQL, timed.seconds)
    yield Figure(BENCH, f"geomean_{name}", geometric_mean(ratios), "×")


def _measure(query: Query, lake: Lake, runners: Sequence[Runner], folder: Path) -> Measured:
    kept = [folder / f"{query.name}-{number}.parquet" for number in range(2)]
    seconds = [each.best(lake.root, query, keep) for each, keep in zip(runners, kept, strict=True)]
    found, by_hand_found = map(ids, kept)
    _require_same(query, found, by_hand_found, BY_HAND)
    say(f"{query.name}: {len(found):,} contacts")
    return Measured(query, found, *seconds)


def _require_same(query: Query, found: pl.Series, other: pl.Series, name: str) -> None:
    """Exit when the sides do not answer the same question: then their times mean nothing."""
    extra = found.to_frame().join(other.to_frame(), on="contact_id", how="anti")["contact_id"]
    missing = other.to_frame().join(found.to_frame(), on="contact_id", how="anti")["contact_id"]
    if len(extra) or len(missing) or len(found) != len(other):
        examples = pl.concat([extra.head(3), missing.head(3)]).to_list()
        raise SystemExit(
            f"{query.name}: ours finds {len(found):,} contacts, {name} {len(other):,};"
            f" {len(extra):,} only ours, {len(missing):,} only {name}, such as {examples}"
        )


def _of_query(each: Measured) -> Iterator[Figure]:
    yield Figure(BENCH, each.query.name, each.ours, "s", BY_HAND, each.by_hand)


def _of_all(measured: Sequence[Measured]) -> Iterator[Figure]:
    total, total_by_hand = sum(m.ours for m in measured), sum(m.by_hand for m in measured)
    overheads = [m.ours - m.by_hand for m in measured]
    ratios = [m.ours / (m.by_hand + ALLOWED_SECONDS) for m in measured]
    yield Figure(BENCH, "seconds_total", total, "s", BY_HAND, total_by_hand)
    yield Figure(BENCH, "geomean_vs_duckdb", geometric_mean(ratios), "×")
    yield Figure(BENCH, "overhead_seconds", mean(overheads), "s")
    yield Figure(BENCH, "overhead_seconds_largest", max(overheads), "s")
