"""Where one contact is present on the way through a segment's query, and where they are lost."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipelines.errors import SegmentFailed
from pipelines.lake import Lake
from pipelines.schema import CONTACTS, ORDERS, Table
from pipelines.segments.project import SqlFiles, parsed
from pipelines.segments.segment import Segment
from pipelines.segments.why import Stage, ctes, lost_at, why

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
HEADER = "/*\ndescription: A file of the tests\nowner: team:tests\n*/\n"
STEPS = """
with recent as (  -- of the last days )
    select contact_id, max(ordered_at) as last_ordered_at
    from core.orders where ordered_at > $as_of - interval 10 days group by contact_id
), "Big Spenders" (who, minor) as not materialized (
    select contact_id, amount_minor from core.orders where amount_minor > 500
), big as materialized (select who as contact_id, minor from "Big Spenders"), total as (select 1 as one)
select recent.contact_id, recent.last_ordered_at
from recent semi join big using (contact_id), total
"""
FILES = parsed({
    "segments.steps": HEADER + STEPS,
    "segments.buyers": HEADER + "select contact_id from core.orders group by contact_id",
    "marts.value": HEADER
    + "select contact_id, count(*) as orders, max(ordered_at) as last_at from core.orders group by 1",
    "segments.above": HEADER
    + "select contact_id from segments.buyers semi join marts.value using (contact_id)"
    + " where contact_id <> 2 and contact_id in (select contact_id from core.contacts)",
    "segments.counting": HEADER
    + "with recursive n as (select 1 as contact_id union all select contact_id + 1 from n"
    + " where contact_id < 2), few as (select contact_id from n) select contact_id from few",
    "segments.days": HEADER
    + "with day as (select contact_id, birth_on, city from core.contacts) select contact_id from day",
    "segments.broken": HEADER + "with x as (\n  select contact_id from core.orders\n"
    "  where status::int = 3)\nselect contact_id from core.contacts",
})  # fmt: skip


def put(lake: Lake, table: Table, *rows: dict[str, Any]) -> None:
    whole = [{column: row.get(column) for column in table.columns} for row in rows]
    lake.append(table, pl.DataFrame(whole, schema=table.schema))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Ada (1) bought much and lately, bert (2) little and lately, cleo (3) much and long ago."""
    lake = Lake(tmp_path_factory.mktemp("why"))
    put(lake, CONTACTS, *({"contact_id": n, "birth_on": date(1990, 2, n)} for n in (1, 2, 3, 4)))
    bought = ((1, 1, 900), (1, 2, 100), (2, 1, 100), (3, 99, 900))
    put(
        lake,
        ORDERS,
        *(
            {
                "contact_id": who,
                "ordered_at": NOON - timedelta(days=days),
                "amount_minor": minor,
                "status": "completed",
            }
            for who, days, minor in bought
        ),
    )
    return lake


def stages(lake: Lake, name: str, contact: int, files: SqlFiles = FILES) -> list[Stage]:
    segment = files.by_table[f"segments.{name}"]
    assert isinstance(segment, Segment)
    return why(segment, contact, lake=lake, as_of=NOON, files=files)


def counted(found: list[Stage]) -> list[tuple[str, str, int | None]]:
    return [(s.kind, s.name, None if s.rows is None else len(s.rows)) for s in found]


def test_who_is_in_it_is_present_at_every_stage(lake: Lake):
    found = stages(lake, "steps", 1)

    assert counted(found) == [
        ("table", "core.orders", 2),
        ("cte", "recent", 1),
        ("cte", "Big Spenders", None),
        ("cte", "big", 1),
        ("cte", "total", None),
        ("result", "steps", 1),
    ]
    assert lost_at(found) is None


@pytest.mark.parametrize(
    ("contact", "kind", "name"),
    [(2, "cte", "big"), (3, "result", "steps"), (4, "cte", "recent")],
    ids=["bought little", "bought long ago", "never bought"],
)
def test_who_is_not_in_it_is_lost_where_they_are_first_missing(
    lake: Lake, contact: int, kind: str, name: str
):
    lost = lost_at(stages(lake, "steps", contact))

    assert lost is not None
    assert (lost.kind, lost.name) == (kind, name)


def test_a_file_it_reads_is_a_stage_and_so_is_the_select_itself(lake: Lake):
    found = stages(lake, "above", 2)

    assert counted(found) == [
        ("table", "core.contacts", 1),
        ("file", "marts.value", 1),
        ("file", "segments.buyers", 1),
        ("result", "above", 0),
    ]
    assert lost_at(found) == found[-1]


def test_each_stage_shows_its_rows_as_they_are(lake: Lake):
    recent = stages(lake, "steps", 1)[1]
    born = stages(lake, "days", 2)[1]

    assert recent.columns == ["contact_id", "last_ordered_at"]
    assert recent.rows == [[1, NOON - timedelta(days=1)]]
    assert born.rows == [[2, date(1990, 2, 2), None]]


def test_a_query_that_calls_itself_is_followed_too(lake: Lake):
    found = stages(lake, "counting", 2)

    assert counted(found) == [("cte", "n", 1), ("cte", "few", 1), ("result", "counting", 1)]


def test_a_query_that_fails_on_the_way_says_so_with_the_line_of_the_file(lake: Lake):
    with pytest.raises(SegmentFailed) as refused:
        stages(lake, "broken", 1)

    assert [each.where for each in refused.value.problems] == ["line 7"]


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("select 1", []),
        ("with a as (select 1) select * from a", ["a"]),
        ('with a as (select (1)), "B b" (x, y) as (select 2, 3) select 1', ["a", "B b"]),
        ("with recursive a as (select 1), b as not materialized (select 2) select 1", ["a", "b"]),
        ("-- with\nwith a as (select ')' /* ) */ as x) select 1", ["a"]),
        ("with a(x) using key (x) as (select 1) select 1", ["a"]),
    ],
    ids=["none", "one", "with columns", "recursive", "brackets in texts and comments", "a key"],
)
def test_the_with_clause_and_its_names_are_found(sql: str, names: list[str]):
    head, found = ctes(sql)

    assert found == names
    assert sql.startswith(head)
    assert not names or head.endswith(")")
