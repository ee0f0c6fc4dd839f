"""One version of a table, read alike by DuckDB and by Polars whatever happens to it meanwhile."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from pipelines.errors import TableMissing
from pipelines.lake import Lake
from pipelines.schema import ORDERS, SEGMENT_HISTORY, Table
from pipelines.snapshot import SIMPLE, Snapshot, duckdb_type

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
EARLY = Table("core.things", "one row per thing", {"id": pl.Int64, "name": pl.String})
LATE = Table("core.things", "one row per thing", {"id": pl.Int64, "name": pl.String, "at": pl.Date})


def by_duckdb(snapshot: Snapshot) -> list[tuple[Any, ...]]:
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    return connection.execute(f"select * from ({snapshot.select()}) order by all").fetchall()


def by_polars(snapshot: Snapshot) -> list[tuple[Any, ...]]:
    frame = snapshot.scan().collect()
    return frame.sort(frame.columns).rows()


def things(*names: str) -> pl.DataFrame:
    return pl.DataFrame({"id": range(len(names)), "name": names})


def stay(segment: str, contact: int) -> pl.DataFrame:
    rows = [{"segment": segment, "contact_id": contact, "joined_at": NOON, "left_at": None}]
    return pl.DataFrame(rows, schema=SEGMENT_HISTORY.schema)


def test_a_table_that_is_only_declared_is_empty_with_all_its_columns(lake: Lake):
    snapshot = lake.snapshot("core.orders")

    assert snapshot.version is None
    assert by_duckdb(snapshot) == by_polars(snapshot) == []
    described = duckdb.connect().execute(f"describe {snapshot.select()}").fetchall()
    assert [row[0] for row in described] == list(ORDERS.columns)


def test_a_table_there_is_not_is_told_with_the_one_that_may_be_meant(lake: Lake):
    with pytest.raises(
        TableMissing, match=r"there is no table core\.ordres. Did you mean 'core\.orders'"
    ):
        lake.snapshot("core.ordres")


def test_a_pinned_version_stays_as_it_was_while_the_table_is_written_replaced_and_compacted(
    lake: Lake,
):
    lake.append(EARLY, things("a"))
    lake.append(EARLY, things("b"))
    pinned = lake.snapshot("core.things")
    before = by_duckdb(pinned)

    lake.append(EARLY, things("c"))
    lake.compact("core.things")
    lake.replace(EARLY, things("d"))

    assert by_duckdb(pinned) == by_polars(pinned) == before
    assert by_duckdb(lake.snapshot("core.things", pinned.version)) == before
    assert by_duckdb(lake.snapshot("core.things")) == [(0, "d")]


def test_a_column_that_came_later_is_null_in_the_rows_before_it(lake: Lake):
    lake.append(EARLY, things("a"))
    lake.append(LATE, things("b").with_columns(at=date(2026, 1, 1)))

    snapshot = lake.snapshot("core.things")

    assert by_duckdb(snapshot) == [(0, "a", None), (0, "b", date(2026, 1, 1))]
    assert by_polars(snapshot) == by_duckdb(snapshot)


def test_the_column_a_table_is_cut_by_is_read_though_no_file_holds_it(lake: Lake):
    names = ["vip", "it's", "a b/c=d%20", "1"]
    for number, name in enumerate(names):
        lake.append(SEGMENT_HISTORY, stay(name, number))

    snapshot = lake.snapshot("segments.history")

    assert snapshot.partitioned == ("segment",)
    found = sorted((str(row[0]), row[1]) for row in by_duckdb(snapshot))
    assert found == sorted((name, number) for number, name in enumerate(names))
    assert sorted(by_polars(snapshot)) == sorted(by_duckdb(snapshot))


def test_a_folder_with_a_quote_in_its_name_is_read(tmp_path: Path):
    lake = Lake(tmp_path / "ada's lake 100%")
    lake.append(EARLY, things("a"))

    assert by_duckdb(lake.snapshot("core.things")) == [(0, "a")]


@pytest.mark.parametrize(
    "kind", [*SIMPLE, pl.List(pl.Int64()), pl.Struct({"a": pl.String()})], ids=str
)
def test_a_type_is_what_duckdb_makes_of_it(kind: pl.DataType):
    connection = duckdb.connect()
    connection.register("empty", pl.DataFrame(schema={"one": kind}).to_arrow())

    [described] = connection.execute("describe empty").fetchall()

    assert duckdb_type(kind) == described[1]
