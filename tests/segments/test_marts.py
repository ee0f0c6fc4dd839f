"""A mart's table: the rows of its file, put in place of the last ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from pipelines.errors import SegmentFailed, SegmentInvalid
from pipelines.lake import Lake
from pipelines.schema import ORDERS
from pipelines.segments.marts import make
from pipelines.segments.project import parsed
from pipelines.segments.run import Members
from pipelines.segments.segment import Mart

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
HEADER = "/*\ndescription: A mart of the tests\nowner: team:tests\ngrain: one row per buyer\n*/\n"
VALUE = (
    "select contact_id, count(*) as orders from core.orders where ordered_at <= $as_of group by 1"
)


@pytest.fixture
def orders(lake: Lake) -> Lake:
    times = [NOON - timedelta(days=days) for days in (1, 2, 30)]
    rows = pl.DataFrame({"contact_id": [1, 1, 2], "ordered_at": times})
    lake.append(ORDERS, pl.concat([ORDERS.empty(), rows], how="diagonal_relaxed"))
    return lake


def made(lake: Lake, sql: str = VALUE, at: datetime = NOON, **others: str) -> tuple[Members, int]:
    files = parsed(
        {"marts.value": HEADER + sql, **{f"marts.{n}": HEADER + t for n, t in others.items()}}
    )
    mart = files.by_table["marts.value"]
    if not isinstance(mart, Mart):
        assert isinstance(mart, SegmentInvalid)
        raise mart
    return make(mart, lake=lake, as_of=at, files=files)


def kept(lake: Lake) -> list[tuple[Any, ...]]:
    return lake.read("marts.value").sort("contact_id").collect().rows()


def test_a_mart_is_kept_with_the_time_it_is_of(orders: Lake):
    members, version = made(orders)

    assert version == 0
    assert members.frame.height == 2
    assert kept(orders) == [(1, 2, NOON), (2, 1, NOON)]


def test_made_anew_it_is_put_in_place_of_the_last_one(orders: Lake):
    made(orders)
    earlier = NOON - timedelta(days=10)

    _, version = made(orders, at=earlier)

    assert version == 1
    assert kept(orders) == [(2, 1, earlier)]


def test_it_may_have_other_columns_than_before_and_no_contact_at_all(orders: Lake):
    made(orders)

    made(orders, "select 'all' as what, sum(1) as orders, null as nothing from core.orders")

    assert orders.read("marts.value").collect().rows() == [("all", 3, None, NOON)]


def test_a_mart_without_rows_is_kept_all_the_same(orders: Lake):
    made(orders, VALUE + " having false")

    assert kept(orders) == []
    assert orders.read("marts.value").collect_schema().names() == ["contact_id", "orders", "as_of"]


def test_a_mart_runs_the_marts_it_reads_as_of_the_same_time(orders: Lake):
    earlier = NOON - timedelta(days=10)

    made(orders, "select contact_id, orders from marts.base where orders > 0", earlier, base=VALUE)

    assert kept(orders) == [(2, 1, earlier)]
    assert orders.version("marts.base") is None


def test_a_mart_that_fails_leaves_the_last_good_rows(orders: Lake):
    made(orders)
    before = (kept(orders), orders.version("marts.value"))

    with pytest.raises(SegmentFailed, match=r"sql/marts/value\.sql failed") as refused:
        made(orders, "select\n    ('x' || contact_id)::int as s\nfrom core.orders")

    assert [each.where for each in refused.value.problems] == ["line 7"]
    assert refused.value.do.endswith("then run: lettermill mart check value")
    assert (kept(orders), orders.version("marts.value")) == before


@pytest.mark.parametrize(
    ("sql", "base", "where"),
    [
        ("select contact_id,\n    colour\nfrom core.orders", VALUE, "line 7"),
        ("select x from marts.base", "select\n\n    colour as x from core.orders", "marts.base, line 8"),
        ("select x from marts.base", "select\n\n    ('x' || contact_id)::int as x from core.orders", "SQL"),
        ("select (170141183460469231731687303715884105727)::hugeint as x from core.orders", VALUE, "SQL"),
    ],
    ids=["itself", "a file it reads", "a file it reads, while it runs", "how it is kept"],
)  # fmt: skip
def test_a_mistake_that_shows_when_it_runs_is_told_with_its_line_where_that_is_known(
    orders: Lake, sql: str, base: str, where: str
):
    with pytest.raises(SegmentFailed) as refused:
        made(orders, sql, base=base)

    assert [each.where for each in refused.value.problems] == [where]


def test_an_address_in_what_the_database_says_is_masked(orders: Lake):
    with pytest.raises(SegmentFailed) as refused:
        made(orders, "select ('ada' || contact_id || '@shop.example')::int as x from core.orders")

    assert "line 6   Could not convert string •••" in str(refused.value)
    assert "ada1" not in str(refused.value)


def test_a_comment_may_be_the_last_thing_in_a_file(orders: Lake):
    made(orders, f"{VALUE} -- and no more")

    assert len(kept(orders)) == 2


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select interval 1 day as x from core.orders", "x   is INTERVAL, which no table holds"),
        ("select [time '10:00'] as x from core.orders", r"x   is TIME\[\], which no table holds"),
        ("select {'a': map {1: 2}} as x from core.orders", "which no table holds; cast it"),
        ("select 1 as AS_OF from core.orders", "AS_OF   is the column of the time"),
        ("select 'infinity'::date as x from core.orders", "x   holds a time that no calendar has"),
    ],
    ids=["an interval", "a list of times", "a map in a struct", "the time itself", "infinity"],
)
def test_what_no_table_holds_is_told_and_nothing_is_written(orders: Lake, sql: str, told: str):
    with pytest.raises(SegmentFailed, match=told):
        made(orders, sql)

    assert orders.version("marts.value") is None


def test_no_value_of_a_mart_stays_in_the_log_for_it_may_be_an_address(orders: Lake):
    made(orders, "select 'ada@shop.example' as address from core.orders limit 1")

    log = orders.path("marts.value") / "_delta_log"
    assert "ada@" not in "".join(path.read_text() for path in log.glob("*.json"))
    settings = DeltaTable(orders.path("marts.value")).metadata().configuration
    assert settings["delta.dataSkippingNumIndexedCols"] == "0"
