"""The process that runs a segment: it keeps to its limits, ends with whoever asked, and leaves nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import psutil
import pytest

from pipelines.clock import SystemClock
from pipelines.errors import SegmentFailed
from pipelines.lake import Lake
from pipelines.schema import CONTACTS
from pipelines.segments import pool
from pipelines.segments.pool import Pool
from pipelines.segments.query import ROWS
from pipelines.segments.run import evaluate
from pipelines.segments.sandbox import LONGEST_TOLD, Job, Limits
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
# Four million rows, or eight billion, of the two thousand contacts of `crowd`.
PAIRS = """
with pairs as (
    select a.contact_id * 10_000 + b.contact_id as n
    from core.contacts as a
    cross join core.contacts as b
)
"""
TRIPLES = PAIRS + "\nselect {} from pairs cross join core.contacts as c"
# Takes more memory than DuckDB has of 400 MiB: the rest goes to the disk.
SORTS = f"""{PAIRS}, sorted as (
    select row_number() over (order by md5(n::varchar)) as place
    from pairs
)
select min(place) as contact_id from sorted
"""


def run(root: Path, sql: str, limits: Limits | None = None) -> pl.DataFrame:
    segment = parse("tried", HEADER + sql, Path("tried.sql"))
    return evaluate(segment, lake=Lake(root), as_of=NOON, limits=limits).frame


def ids(root: Path, sql: str) -> list[int]:
    return sorted(run(root, sql)["contact_id"])


def with_contacts(lake: Lake, number: int) -> Lake:
    blank = CONTACTS.schema.to_frame()
    rows = pl.DataFrame({"contact_id": range(1, number + 1)})
    lake.append(CONTACTS, pl.concat([blank, rows], how="diagonal"))
    return lake


@pytest.fixture
def known(lake: Lake) -> Lake:
    return with_contacts(lake, 2)


@pytest.fixture
def crowd(lake: Lake) -> Lake:
    return with_contacts(lake, 2_000)


@pytest.fixture
def sandboxes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """Sandboxes of this test alone."""
    own = Pool()
    monkeypatch.setattr(pool, "POOL", own)
    yield own
    for each in own.ready:
        pool._end(each)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of this process and of those it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def parent_of(process: psutil.Process) -> int | None:
    """None of one that has ended since it was seen."""
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return None


@pytest.fixture
def is_left(sandboxes: Pool, temporary: Path) -> Callable[[], list[object]]:
    """What is still there of a query: files, and processes that are no sandbox that waits."""
    before, clock = set(psutil.Process().children(recursive=True)), SystemClock()

    def now() -> list[object]:
        waiting = {each.pid for each in sandboxes.ready}
        alive = set(psutil.Process().children(recursive=True)) - before
        parents = {each: parent for each in alive if (parent := parent_of(each)) is not None}
        # Below a sandbox that waits is the process that waits for the next job, or the last one's end.
        next_ones = [each for each, parent in parents.items() if parent in waiting]
        others = [each for each in parents if each.pid not in waiting and each not in next_ones]
        return [*temporary.iterdir(), *others, *next_ones[len(waiting) :]]

    def found() -> list[object]:
        with pool.job_folder() as folder:
            rows(
                "select 1 as one", folder
            )  # which a sandbox takes when the last query's process is gone
        # A list of processes is not of one moment: one that ends meanwhile may be in it.
        looks = (now() for _ in range(100))
        return next((left for left in looks if not left or clock.sleep(0.02)), now())

    return found


@pytest.mark.parametrize(
    ("sql", "limits", "told"),
    [
        (ENDLESS, Limits(wall_seconds=2), "ran longer than 2 s"),
        (ENDLESS, Limits(cpu_seconds=1), "used its 1 s of processor time"),
        (
            "select length(repeat('x', 1000000000)) as contact_id",
            Limits(memory_mib=700),
            "needs more memory than its limit of 700 MiB",
        ),
        (
            "with recursive t as (select 'x' as x union all select x || x from t)"
            " select max(length(x)) as contact_id from t",
            Limits(memory_mib=700),
            "needs more memory than its limit of 700 MiB",
        ),
        (
            TRIPLES.format("len(list(n + c.contact_id)) as contact_id"),
            Limits(memory_mib=700),
            "needs more memory than its limit of 700 MiB",
        ),
        (
            TRIPLES.format(
                "count(distinct md5((n * 10_000 + c.contact_id)::varchar)) as contact_id"
            ),
            Limits(memory_mib=400, output_mib=20),
            "writes more than its limit of 20 MiB",
        ),
        (SORTS, Limits(memory_mib=400, output_mib=1), "writes more than its limit of 1 MiB"),
        (
            PAIRS + "select hash(n) // 4 as contact_id from pairs",
            Limits(output_mib=1),
            "writes more than its limit of 1 MiB",
        ),
    ],
    ids=[
        "time",
        "processor time",
        "memory of one text",
        "memory of texts that double",
        "memory of 64 GB in a list",
        "disk of eight billion texts",
        "disk of a sort",
        "disk of rows",
    ],
)
def test_a_query_that_knows_no_measure_ends_at_its_limit_and_leaves_nothing(
    crowd: Lake, is_left: Callable[[], list[object]], sql: str, limits: Limits, told: str
):
    with pytest.raises(
        SegmentFailed, match=rf"^SegmentFailed: tried\.sql failed\n  \w+ +(it )?{told}.*\n"
    ):
        run(crowd.root, sql, limits)

    assert is_left() == []
    assert ids(crowd.root, "select contact_id from core.contacts where contact_id < 3") == [1, 2]


def test_a_query_with_more_than_its_memory_goes_on_on_the_disk_and_leaves_nothing(
    crowd: Lake, is_left: Callable[[], list[object]]
):
    found = run(crowd.root, SORTS, Limits(memory_mib=400))

    assert found["contact_id"].to_list() == [1]
    assert is_left() == []


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select unnest([1, 1]) as contact_id from core.contacts", "more than once"),
        ("select null::bigint as contact_id from core.contacts", "is empty in 2 rows"),
        ("select contact_id + 90 as contact_id from core.contacts", "does not know"),
        ("select 'x' as contact_id from core.contacts", "must be returned, as a whole number"),
        ("select contact_id as id from core.contacts", "must be returned, as a whole number"),
    ],
    ids=["twice", "empty", "unknown", "text", "missing"],
)
def test_a_result_that_is_no_segment_is_refused(known: Lake, sql: str, told: str):
    with pytest.raises(SegmentFailed, match=told):
        run(known.root, sql)


def test_rows_that_would_fill_the_memory_of_whoever_asks_are_refused_unread(crowd: Lake):
    # A hundred thousand texts of 1,500 characters that do not repeat but pack well.
    sql = (
        "select n as contact_id, repeat(n::varchar, 200) as text from ("
        + PAIRS
        + " select n from pairs where n % 40 = 0)"
    )

    with pytest.raises(
        SegmentFailed, match=r"rows +its rows take \d+ MiB, more than 4 × the limit"
    ):
        run(crowd.root, sql, Limits(output_mib=12))


def test_an_error_that_a_query_makes_long_is_cut(sandboxes: Pool):
    with pool.job_folder() as folder:
        told = rows("select error(repeat('x', 100_000_000)) as contact_id", folder)

    assert 0 < len(str(told["error"])) <= LONGEST_TOLD


def test_an_answer_that_a_query_makes_long_is_not_told(sandboxes: Pool):
    sql = "select repeat('x', 10_000_000) as text"
    with pool.job_folder() as folder:
        job = Job("probes", "select 1", [], [], folder, Limits(), probes=[("long", sql)])
        told = pool.ask(job).content

    assert told == {"error": "Limit Error: it tells more than 4,000,000 characters"}


def test_two_columns_of_one_name_are_refused(known: Lake):
    with pytest.raises(SegmentFailed, match=r"contact_id +is the name of two columns"):
        run(known.root, "select contact_id, contact_id from core.contacts")


def test_one_sandbox_serves_one_job_after_another(known: Lake, sandboxes: Pool):
    first = ids(known.root, "select contact_id from core.contacts where contact_id = 1")
    [before] = sandboxes.ready
    second = ids(known.root, "select contact_id from core.contacts where contact_id = 2")

    assert (first, second) == ([1], [2])
    assert sandboxes.ready == [before]


def test_a_sandbox_that_was_killed_is_replaced(known: Lake, sandboxes: Pool):
    ids(known.root, "select contact_id from core.contacts")
    [killed] = sandboxes.ready
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()

    assert ids(known.root, "select contact_id from core.contacts") == [1, 2]
    assert killed not in sandboxes.ready


def test_two_threads_at_once_are_both_answered_what_they_asked(known: Lake, sandboxes: Pool):
    def asked(contact: int) -> list[int]:
        return ids(known.root, f"select contact_id from core.contacts where contact_id = {contact}")

    contacts = [1, 2, 2, 1] * 3
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(asked, contacts))

    assert found == [[each] for each in contacts]
    assert len(sandboxes.ready) <= pool.MOST_READY


def test_a_sandbox_is_told_none_of_our_secrets(sandboxes: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LETTERMILL_SECRET", "ours alone")

    with pool.job_folder() as folder:
        rows("select 1 as one", folder)  # so that it has started

    [started] = sandboxes.ready
    assert psutil.Process(started.pid).environ() == pool.ENVIRONMENT


def rows(sql: str, folder: str, views: list[tuple[str, str]] | None = None) -> dict[str, object]:
    return pool.ask(Job("rows", sql, views or [], [], folder, Limits())).content


def test_a_job_does_not_see_the_folder_of_another(sandboxes: Pool):
    with pool.job_folder() as first, pool.job_folder() as second:
        rows("select 7261 as secret", first)
        told = rows(f"from read_parquet('{first}/{ROWS}')", second)

        assert Path(first, ROWS).exists()
        assert "Cannot access file" in str(told["error"])
        assert not Path(second, ROWS).exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("select content from read_text('{}')", "Cannot access file"),
        ("select 1 as a; copy (select 42 as a) to '{}'", "it is not one SELECT"),
        ("select 1 as a; set threads = 64", "it is not one SELECT"),
    ],
    ids=["reads a file", "writes a file", "sets"],
)
def test_a_file_the_query_stands_on_is_shut_in_like_the_query(
    sandboxes: Pool, tmp_path: Path, text: str, told: str
):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    with pool.job_folder() as folder:
        answer = rows("from segments.other", folder, [("segments.other", text.format(secret))])

    assert answer["view"] == "segments.other"
    assert told in str(answer["error"])
    assert secret.read_text() == "secret"


def test_a_file_that_is_gone_is_told(sandboxes: Pool, tmp_path: Path):
    with pool.job_folder() as folder:
        job = Job("rows", "select 1 as a", [], [str(tmp_path / "gone.parquet")], folder, Limits())
        answer = pool.ask(job).content

    assert "is gone; its table may have been vacuumed" in str(answer["error"])


def asking(root: Path) -> tuple[multiprocessing.process.BaseProcess, list[psutil.Process]]:
    """A process that asks for an endless query, and the processes of the query, which is under way."""
    clock = SystemClock()
    asker = multiprocessing.get_context("spawn").Process(target=run, args=(root, ENDLESS))
    asker.start()
    queries: list[psutil.Process] = []
    while not any(each.cpu_times().user > 1 for each in queries):
        clock.sleep(0.02)
        family = psutil.Process(asker.pid).children(recursive=True)
        queries = [each for each in family if "sandbox" in " ".join(each.cmdline())]
    return asker, queries


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_query_ends_and_leaves_nothing_when_whoever_asked_for_it_is_stopped(
    known: Lake, temporary: Path, number: signal.Signals
):
    asker, queries = asking(known.root)

    os.kill(asker.pid or 0, number)
    asker.join()

    _, alive = psutil.wait_procs(queries, timeout=10)
    assert alive == []
    assert [*temporary.iterdir()] == []
