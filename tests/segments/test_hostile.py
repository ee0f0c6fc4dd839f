"""SQL that must never reach the lake's files, the machine or its settings: each wall is tried alone.

First what reading refuses; then the same statements sent straight to the sandbox; then to DuckDB's own
lock, without limits and Landlock around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import duckdb
import polars as pl
import pytest
import yaml

from pipelines.errors import SegmentInvalid
from pipelines.lake import Lake
from pipelines.schema import CONTACTS
from pipelines.segments import pool, query
from pipelines.segments.query import ROWS
from pipelines.segments.sandbox import Job, Limits
from pipelines.segments.segment import parse
from pipelines.settings import CHECKOUT

HEADER = "/*\ndescription: Somebody's idea of a segment\nowner: team:analytics\n*/\n"
STATEMENTS = yaml.safe_load(
    (CHECKOUT / "tests/data/hostile_statements.yaml").read_text(encoding="utf-8")
)
REFUSED: dict[str, tuple[str, str]] = {
    name: (sql, group["told"])
    for group in STATEMENTS["refused"]
    for name, sql in group["statements"].items()
}
ALLOWED: dict[str, str] = STATEMENTS["allowed"]
EVERY = {**{name: sql for name, (sql, _) in REFUSED.items()}, **ALLOWED}
TOO_MUCH = {
    "brackets": ("select * from " + "(" * 3_000 + "core.contacts" + ")" * 3_000, "brackets"),
    "letters": ("select 1 as contact_id, '" + "x" * 300_000 + "' as x", "letters"),
    "functions in functions": (
        "select " + "abs(" * 400 + "1" + ")" * 400 + " as contact_id",
        "nested too deeply",
    ),
    "selects in selects": (
        "select * from " + "(select * from " * 400 + "core.contacts" + ")" * 400,
        "nested too deeply",
    ),
}
# What stands in the canaries, in the name of a file beside them, in our environment and in passwd.
SECRET, NAME, OURS = "canary-7261-sings", "kept-beside-7261", "ours-7261-alone"
MARKERS = (SECRET, NAME, OURS, "root:x:0:0")
LIMITS = Limits(memory_mib=2_000, cpu_seconds=10, wall_seconds=30, output_mib=50)
# A session says of itself where its job's folder is; everything else must stay as it was set.
OF_THE_JOB = ("allowed_paths", "allowed_directories", "temp_directory")
SETTINGS = (
    "select name, value from duckdb_settings() where not contains(value, 'lettermill-segment-')"
)


@pytest.mark.parametrize(("sql", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_a_hostile_statement_is_refused_before_it_runs(sql: str, told: str):
    with pytest.raises(SegmentInvalid) as refused:
        parse("hostile", HEADER + sql, Path("sql/segments/hostile.sql"))

    problems = refused.value.problems
    assert any(told in each.what for each in problems)
    assert all(re.match(r"line [5-9]$|with .|using sample$", each.where) for each in problems)


@pytest.mark.parametrize(("sql", "told"), TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_a_statement_that_no_reader_ends_with_is_refused(sql: str, told: str):
    with pytest.raises(SegmentInvalid) as refused:
        parse("hostile", HEADER + sql, Path("sql/segments/hostile.sql"))

    assert told in refused.value.problems[0].what


@pytest.mark.parametrize("sql", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_only_looks_hostile_is_read(sql: str):
    assert parse("sound", HEADER + sql, Path("sql/segments/sound.sql")).sql


def test_reckoning_with_times_that_stand_in_the_tables_is_no_offence():
    sql = """
        select contact_id, date_trunc('month', max(ordered_at)) as month, dayname(max(ordered_at)) as day
        from core.orders
        where ordered_at > $as_of - interval 30 days
            and date_diff('day', ordered_at, $as_of) < 20
            and age($as_of, ordered_at) < interval 1 year
            and extract(year from ordered_at) = 2026 and strftime(ordered_at, '%Y') = '2026'
        group by contact_id
    """

    assert parse("sound", HEADER + sql, Path("sql/segments/sound.sql")).uses_as_of


@dataclass(frozen=True)
class Machine:
    """A lake of two contacts, and beside it files that nobody may see."""

    root: Path

    @property
    def lake(self) -> Lake:
        return Lake(self.root / "lake")

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    def made(self) -> Machine:
        blank = CONTACTS.schema.to_frame()
        two = pl.DataFrame({"contact_id": [1, 2]})
        self.lake.append(CONTACTS, pl.concat([blank, two], how="diagonal"))
        self.outside.mkdir()
        (self.outside / f"{NAME}.txt").touch()
        secret = pl.DataFrame({"secret": [SECRET]})
        secret.write_csv(self.outside / "canary.csv")
        secret.write_ndjson(self.outside / "canary.json")
        secret.write_parquet(self.outside / "canary.parquet")
        (self.outside / "canary.txt").write_text(SECRET)
        with duckdb.connect(self.outside / "canary.duckdb") as database:
            database.execute(f"create table secrets as select '{SECRET}' as secret")
        return self

    def filled(self, sql: str) -> str:
        [pinned] = self.lake.files(CONTACTS.name)
        places = {"canary": self.outside / "canary", "outside": self.outside, "pinned": pinned}
        for name, path in places.items():
            sql = sql.replace(f"<{name}>", str(path))
        return sql

    def job(self, sql: str, folder: str) -> Job:
        tables = [self.lake.snapshot(name) for name in ("core.contacts", "core.orders")]
        views = [(each.name, each.select()) for each in tables]
        files = [file for each in tables for file in each.files]
        return Job("rows", self.filled(sql), views, files, folder, LIMITS)

    def state(self) -> dict[str, tuple[int, bytes]]:
        """Every file, when it was written and what is in it."""
        files = [path for path in self.root.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@dataclass(frozen=True)
class Sent:
    """What the sandbox said to a statement: an error, or rows."""

    told: str
    rows: list[tuple[object, ...]] | None


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LETTERMILL_SECRET", OURS)
        patch.setattr(pool, "POOL", pool.Pool())
        yield Machine(tmp_path_factory.mktemp("machine")).made()


def send(machine: Machine, sql: str) -> Sent:
    with pool.job_folder() as folder:
        try:
            answer = pool.ask(machine.job(sql, folder)).content
        except (pool.OutOfTime, pool.Stopped) as ended:
            return Sent(type(ended).__name__, None)
        kept = Path(folder) / ROWS
        return Sent(str(answer), pl.read_parquet(kept).rows() if kept.exists() else None)


@dataclass(frozen=True)
class Round:
    """Every statement sent, one after the other, with what was true before and behind them."""

    sent: Mapping[str, Sent]
    settings: tuple[Sent, Sent]
    state: tuple[Mapping[str, tuple[int, bytes]], Mapping[str, tuple[int, bytes]]]


@pytest.fixture(scope="module")
def through(machine: Machine) -> Round:
    settings, state = send(machine, SETTINGS), machine.state()
    with ThreadPoolExecutor(2) as threads:
        sent = threads.map(partial(send, machine), EVERY.values())
        answers = dict(zip(EVERY, sent, strict=True))
    return Round(answers, (settings, send(machine, SETTINGS)), (state, machine.state()))


@pytest.mark.parametrize("name", EVERY)
def test_sent_straight_to_the_sandbox_it_tells_nothing_and_breaks_nothing(
    through: Round, name: str
):
    sent = through.sent[name]

    assert [marker for marker in MARKERS if marker in f"{sent.told} {sent.rows}"] == []
    assert sent.told not in ("Stopped", "OutOfTime")


def test_the_statements_wrote_nothing_outside_their_folders(through: Round):
    before, after = through.state

    assert after == before
    assert [*CHECKOUT.glob("stolen*"), *Path.home().glob("stolen*")] == []


def test_the_statements_changed_no_setting_and_the_next_job_is_answered(
    machine: Machine, through: Round
):
    before, after = through.settings

    assert after == before
    assert before.rows
    assert send(machine, "select contact_id from core.contacts").rows == [(1,), (2,)]


# That a table's file may not be written is for Landlock to say, and what ends is for the limits.
BEHIND_THE_LOCK = {
    name: sql
    for name, sql in EVERY.items()
    if "to '<pinned>'" not in sql and "without end" not in name
}


def test_behind_duckdb_s_own_lock_they_tell_and_write_nothing_either(
    machine: Machine, tmp_path: Path
):
    before, told = machine.state(), {}
    (tmp_path / query.SPILL).mkdir()
    for name, sql in BEHIND_THE_LOCK.items():
        job = asdict(machine.job(sql, str(tmp_path)))
        with query.connected() as connection:
            query.lock(connection, job)
            try:
                found = connection.execute(job["sql"])
                told[name] = str(found and found.fetchall())
            except duckdb.Error as error:
                told[name] = str(error)

    assert {name for name, text in told.items() if any(m in text for m in MARKERS)} == set()
    assert machine.state() == before
