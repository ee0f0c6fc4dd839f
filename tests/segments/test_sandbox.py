"""The process that runs a segment ends with whoever asked, and is told none of our secrets."""

from __future__ import annotations

import multiprocessing
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import psutil
import pytest

from pipelines.clock import SystemClock
from pipelines.errors import SegmentFailed
from pipelines.lake import Lake
from pipelines.schema import CONTACTS
from pipelines.segments.run import evaluate
from pipelines.segments.sandbox import Limits
from pipelines.segments.segment import parse

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
HEADER = "/*\ndescription: A segment of the tests\nowner: team:tests\n*/\n"
ENDLESS = """
with recursive numbers as (
    select 1 as n
    union all
    select n + 1 from numbers
)
select max(n) as contact_id from numbers
"""


def run(root: Path, sql: str, seconds: float = 60.0) -> pl.DataFrame:
    segment = parse("tried", HEADER + sql, Path("tried.sql"))
    limits = Limits(wall_seconds=seconds)
    return evaluate(segment, lake=Lake(root), as_of=NOON, limits=limits).frame


@pytest.fixture
def known(lake: Lake) -> Lake:
    blank = CONTACTS.schema.to_frame()
    lake.append(CONTACTS, pl.concat([blank, pl.DataFrame({"contact_id": [1, 2]})], how="diagonal"))
    return lake


def test_an_endless_query_is_stopped_at_its_limit(known: Lake):
    with pytest.raises(SegmentFailed, match="ran longer than 2 s"):
        run(known.root, ENDLESS, seconds=2)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select unnest([1, 1]) as contact_id from core.contacts", "more than once"),
        ("select null::bigint as contact_id from core.contacts", "is empty in 2 rows"),
        ("select contact_id + 90 as contact_id from core.contacts", "does not know"),
        ("select 'x' as contact_id from core.contacts", "must return a whole number"),
        ("select contact_id as id from core.contacts", "must return a whole number"),
    ],
    ids=["twice", "empty", "unknown", "text", "missing"],
)
def test_a_result_that_is_no_segment_is_refused(known: Lake, sql: str, told: str):
    with pytest.raises(SegmentFailed, match=told):
        run(known.root, sql)


def test_a_query_ends_when_whoever_asked_for_it_is_killed(known: Lake):
    clock = SystemClock()
    asker = multiprocessing.get_context("spawn").Process(target=run, args=(known.root, ENDLESS))
    asker.start()
    children: list[psutil.Process] = []
    while not any("sandbox" in " ".join(child.cmdline()) for child in children):
        clock.sleep(0.02)
        children = psutil.Process(asker.pid).children()
    queries = [child for child in children if "sandbox" in " ".join(child.cmdline())]
    while queries[0].cpu_times().user < 1:
        clock.sleep(0.02)

    os.kill(asker.pid or 0, signal.SIGKILL)
    asker.join()

    _, alive = psutil.wait_procs(queries, timeout=10)
    assert alive == []
