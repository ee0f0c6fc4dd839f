"""Who was in a segment when, whether it must be run again, and which tables of then are kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipelines.lake import Lake
from pipelines.schema import ACTIVITIES, CONTACTS, ORDERS, SEGMENT_RUNS, Table
from pipelines.segments import history
from pipelines.segments.members import as_before, is_current, judged, write
from pipelines.segments.project import SqlFiles, parsed
from pipelines.segments.run import Members, run
from pipelines.segments.segment import Segment

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HEADER = "/*\ndescription: A file of the tests\nowner: team:tests\n{}*/\n"
CHECKED = "checks: {no_rows: [sane], share_at_most: 1}\n"


def text(sql: str, header: str = "") -> str:
    return HEADER.format(header) + sql


TEXTS = {
    "segments.buyers": text(
        "select contact_id from marts.value anti join core.activities using (contact_id)", CHECKED
    ),
    "marts.value": text("select contact_id, count(*) as orders from core.orders group by contact_id"),
    "checks.sane": text("select contact_id from members where contact_id < 0"),
    "segments.timed": text("select contact_id from core.contacts where $as_of > '2020-01-01'"),
    "segments.above": text("select contact_id from segments.timed"),
}  # fmt: skip


def put(lake: Lake, table: Table, *ids: int) -> None:
    rows = pl.DataFrame({"contact_id": list(ids)})
    lake.append(table, pl.concat([table.empty(), rows], how="diagonal"))


def files(**changed: str) -> SqlFiles:
    return parsed({**TEXTS, **{name.replace("__", "."): new for name, new in changed.items()}})


def segment(found: SqlFiles, name: str = "buyers") -> Segment:
    entry = found.by_table[f"segments.{name}"]
    assert isinstance(entry, Segment), str(entry)
    return entry


def ran(lake: Lake, name: str = "buyers", at: datetime = NOON) -> None:
    found = files()
    members = run(segment(found, name), lake=lake, as_of=at, files=found)
    write(segment(found, name), members, lake, files=found)


def kept(lake: Lake, at: datetime, *ids: int, name: str = "some") -> None:
    frame = pl.DataFrame({"contact_id": list(ids)}, schema={"contact_id": pl.Int64})
    found = parsed({f"segments.{name}": text("select contact_id from core.contacts")})
    write(segment(found, name), Members(frame, {}, at, 0.0, 10), lake)


def inside(lake: Lake, at: datetime, name: str = "some") -> list[tuple[int, datetime]] | None:
    found = history.members_at(name, at, lake)
    return None if found is None else found.rows()


@pytest.fixture
def shop(lake: Lake) -> Lake:
    put(lake, CONTACTS, 1, 2, 3)
    put(lake, ORDERS, 1, 2)
    return lake


def current(lake: Lake, name: str = "buyers", **changed: str) -> bool:
    found = files(**changed)
    return is_current(segment(found, name), found, lake)


def test_a_segment_that_was_never_run_is_not_current(shop: Lake):
    assert not current(shop)


def test_one_that_was_run_is_current_while_nothing_it_reads_changes(shop: Lake):
    ran(shop)

    assert current(shop)


@pytest.mark.parametrize("table", [ORDERS, CONTACTS, ACTIVITIES], ids=lambda table: table.name)
def test_one_is_not_current_when_a_table_it_reads_was_written_also_for_the_first_time(
    shop: Lake, table: Table
):
    ran(shop)

    put(shop, table, 3)

    assert not current(shop)


def test_one_stays_current_when_a_table_it_does_not_read_was_written(shop: Lake):
    ran(shop)

    kept(shop, NOON, 1, name="another")

    assert current(shop)


@pytest.mark.parametrize(
    "changed",
    [
        {"segments__buyers": TEXTS["segments.buyers"] + " where contact_id > 0"},
        {"marts__value": TEXTS["marts.value"] + " having count(*) > 0"},
        {"checks__sane": TEXTS["checks.sane"] + " or contact_id > 99"},
        {"segments__buyers": TEXTS["segments.buyers"].replace("share_at_most: 1", "rows_at_most: 9")},
        {"segments__buyers": TEXTS["segments.buyers"].replace("no_rows: [sane], ", "")},
    ],
    ids=["itself", "a file it reads", "a shared check", "a bound", "one check less"],
)  # fmt: skip
def test_one_is_not_current_when_what_it_says_changed(shop: Lake, changed: dict[str, str]):
    ran(shop)

    assert not current(shop, **changed)


def test_one_stays_current_when_only_words_and_white_space_changed(shop: Lake):
    ran(shop)

    assert current(
        shop,
        segments__buyers=TEXTS["segments.buyers"].replace("A file", "The file") + " -- who",
        marts__value=TEXTS["marts.value"].replace(" from", "\nfrom"),
    )


@pytest.mark.parametrize("name", ["timed", "above"])
def test_one_that_asks_the_time_itself_or_further_up_is_never_current(shop: Lake, name: str):
    ran(shop, name)

    assert not current(shop, name)


def test_one_that_an_earlier_release_checked_otherwise_is_not_current(shop: Lake):
    ran(shop)
    [row] = shop.read(SEGMENT_RUNS.name).collect().to_dicts()
    fewer = json.dumps(json.loads(row["checks"])[1:])

    shop.replace(SEGMENT_RUNS, pl.DataFrame([{**row, "checks": fewer}], schema=SEGMENT_RUNS.schema))

    assert not current(shop)


def test_what_is_current_has_the_size_and_checks_of_its_last_run_and_inputs_of_today_s_age(
    shop: Lake,
):
    ran(shop)

    size, outcomes = as_before("buyers", shop, now=datetime.now(UTC) + 3 * DAY)

    told = {each.name: each.told for each in outcomes if not each.passed}
    assert size == 2
    assert told == {
        "inputs_are_fresh": "core.contacts has not changed for 3 days; core.orders has not changed for 3 days"
    }


def test_an_input_that_was_never_written_is_told(shop: Lake):
    found = files()
    members = run(segment(found), lake=shop, as_of=NOON, files=found)

    *_, inputs = judged(segment(found), members, shop, now=datetime.now(UTC))

    assert members.unwritten == ("core.activities",)
    assert inputs.told == "core.activities was never written"


def test_before_the_first_run_nobody_knows_who_was_in_it(lake: Lake):
    assert inside(lake, NOON) is None

    kept(lake, NOON, 1, 2)

    assert inside(lake, NOON - timedelta(seconds=1)) is None


def test_at_and_after_a_run_its_members_are_in_it_with_the_time_they_came(lake: Lake):
    kept(lake, NOON, 1, 2)
    kept(lake, NOON + 2 * DAY, 2, 3)

    assert inside(lake, NOON) == [(1, NOON), (2, NOON)]
    assert inside(lake, NOON + DAY) == [(1, NOON), (2, NOON)]
    assert inside(lake, NOON + 2 * DAY) == [(2, NOON), (3, NOON + 2 * DAY)]
    assert inside(lake, NOON + 99 * DAY) == inside(lake, NOON + 2 * DAY)


def test_who_came_back_is_in_it_since_they_came_back(lake: Lake):
    for day, ids in enumerate([(1, 2), (2,), (1, 2)]):
        kept(lake, NOON + day * DAY, *ids)

    assert inside(lake, NOON) == [(1, NOON), (2, NOON)]
    assert inside(lake, NOON + DAY) == [(2, NOON)]
    assert inside(lake, NOON + 2 * DAY) == [(1, NOON + 2 * DAY), (2, NOON)]


def test_two_runs_of_one_moment_leave_the_members_of_the_second(lake: Lake):
    kept(lake, NOON, 1, 2)
    kept(lake, NOON, 2, 3)

    assert inside(lake, NOON) == [(2, NOON), (3, NOON)]


def test_other_segments_have_a_history_of_their_own(lake: Lake):
    kept(lake, NOON, 1, 2)
    kept(lake, NOON + DAY, 7, name="other")

    assert inside(lake, NOON + DAY) == [(1, NOON), (2, NOON)]
    assert inside(lake, NOON + DAY, "other") == [(7, NOON + DAY)]
    assert inside(lake, NOON, "other") is None


def test_the_runs_of_a_segment_come_oldest_first(lake: Lake):
    for day, size in enumerate((2, 0, 1)):
        kept(lake, NOON + day * DAY, *range(size))

    last: Any = history.last_run("some", lake)
    assert history.sizes("some", lake) == [2, 0, 1]
    assert (last["as_of"], last["joined"]) == (NOON + 2 * DAY, 1)
    assert history.last_run("other", lake) is None


def test_a_table_is_read_as_it_was_while_that_version_is_kept(lake: Lake):
    before = datetime.now(UTC)
    put(lake, ORDERS, 1)
    between = datetime.now(UTC)
    put(lake, ORDERS, 2)
    tables = ["core.orders", "core.activities"]

    assert history.as_it_was(lake, tables, before - DAY) == ({}, ["core.orders"])
    assert history.as_it_was(lake, tables, between) == ({"core.orders": 0}, [])
    assert history.as_it_was(lake, tables, datetime.now(UTC)) == ({"core.orders": 1}, [])
