"""What running a file costs, told in plain words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.errors import SegmentFailed
from pipelines.lake import Lake
from pipelines.schema import CONTACTS, ORDERS
from pipelines.segments.plan import Explained, explain
from pipelines.segments.project import parsed
from pipelines.segments.segment import SqlFile

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
HEADER = "/*\ndescription: A file of the tests\nowner: team:tests\n*/\n"
ROWS = 2_000


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("plan"))
    ids = pl.DataFrame({"contact_id": range(ROWS)})
    orders = ids.with_columns(
        amount_minor=pl.col("contact_id"),
        ordered_at=NOON - timedelta(days=1) * pl.col("contact_id"),
    )
    for table, rows in ((CONTACTS, ids), (ORDERS, orders)):
        lake.append(table, pl.concat([table.empty(), rows], how="diagonal_relaxed"))
    return lake


def explained(lake: Lake, sql: str, **others: str) -> Explained:
    files = parsed(
        {"segments.some": HEADER + sql, **{f"segments.{n}": HEADER + t for n, t in others.items()}}
    )
    file = files.by_table["segments.some"]
    assert isinstance(file, SqlFile), str(file)
    return explain(file, lake=lake, as_of=NOON, files=files)


def words(lake: Lake, sql: str) -> str:
    return "\n".join(step.what for step in explained(lake, sql).steps)


def test_what_it_reads_is_told_with_version_age_rows_and_bytes(lake: Lake):
    found = explained(
        lake, "select contact_id from segments.buyers cross join core.products",
        buyers="select contact_id from core.orders group by contact_id",
    )  # fmt: skip

    orders, products = found.inputs
    assert (orders.table, orders.version, orders.rows) == ("core.orders", 0, ROWS)
    assert orders.changed_at is not None
    assert orders.size_bytes > 1_000
    assert (products.table, products.version, products.changed_at) == ("core.products", None, None)
    assert found.stands_on == ["segments.buyers"]


def test_the_steps_are_told_most_costly_first_and_add_up_to_no_more_than_all_of_it(lake: Lake):
    found = explained(
        lake,
        "select contact_id, sum(amount_minor) as m from core.orders group by 1 order by 2 desc",
    )

    seconds = [step.seconds for step in found.steps]
    assert seconds == sorted(seconds, reverse=True)
    assert 0 < sum(seconds) <= found.seconds
    assert found.bytes_read > 0
    assert found.peak_mib > 0


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        (
            "select contact_id from core.orders where ordered_at > $as_of - interval 9 days",
            "reads core.orders (contact_id), only where ordered_at >",
        ),
        (
            "select contact_id, sum(amount_minor) as m from core.orders group by contact_id",
            "groups rows and computes sum",
        ),
        (
            "select o.contact_id from core.orders as o join core.contacts as c"
            " on o.contact_id = c.contact_id and o.amount_minor > c.contact_id - 5",
            "joins on",
        ),
        (
            "select contact_id from core.contacts anti join core.orders using (contact_id)",
            "keeps rows that have no match",
        ),
        (
            "select contact_id from core.contacts"
            " where contact_id in (select contact_id from core.orders where amount_minor > 9)",
            "keeps rows that have a match",
        ),
        (
            "select o.contact_id from core.orders as o cross join core.contacts",
            "compares every row with every other: add a condition of equality",
        ),
        (
            "select contact_id, row_number() over (partition by amount_minor order by ordered_at) as n"
            " from core.orders",
            "ranks or numbers rows",
        ),
        ("select contact_id from core.orders order by ordered_at limit 5", "sorts rows by"),
    ],
    ids=["scan", "group", "join", "anti join", "semi join", "cross join", "window", "sort"],
)
def test_a_costly_step_is_told_in_plain_words(lake: Lake, sql: str, told: str):
    assert told in words(lake, sql)


def test_no_path_and_no_number_of_a_column_is_shown_of_a_plan(lake: Lake):
    said = words(
        lake,
        "select contact_id, arg_max(amount_minor, ordered_at) filter (amount_minor > 7) as m"
        " from core.orders where amount_minor % 2 = 0 group by contact_id",
    )

    assert str(lake.root) not in said
    assert "#" not in said
    assert said.count("(") == said.count(")")


def test_a_query_that_fails_is_told_as_it_is_when_it_runs(lake: Lake):
    with pytest.raises(SegmentFailed, match=r"line 6\s+Referenced column \"orderd_at\""):
        explained(lake, "select contact_id\nfrom core.orders where orderd_at > $as_of")


def test_explaining_leaves_nothing_behind(lake: Lake, tmp_path: Path):
    before = sorted(path for path in lake.root.rglob("*"))

    explained(lake, "select contact_id from core.orders")

    assert sorted(path for path in lake.root.rglob("*")) == before
