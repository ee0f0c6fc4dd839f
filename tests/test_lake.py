"""The lake: pinned versions, typed emptiness, concurrent writers."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines.errors import TableMissing
from pipelines.lake import Lake
from pipelines.schema import CONTACTS, IDENTITIES, ORDERS, SEGMENT_HISTORY, TABLES, Table

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def identities(*numbers: int) -> pl.DataFrame:
    rows = {"source": "shop", "external_id": [str(n) for n in numbers], "contact_id": list(numbers)}
    return pl.DataFrame(rows, schema_overrides={"contact_id": pl.Int64})


def stays(segment: str, *contacts: int) -> pl.DataFrame:
    return pl.DataFrame({"contact_id": contacts}).select(
        pl.lit(segment).alias("segment"),
        "contact_id",
        pl.lit(NOON).alias("joined_at"),
        pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("left_at"),
    )


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_declared_table_that_was_never_written_reads_as_typed_emptiness(lake: Lake, name: str):
    frame = lake.read(name).collect()

    assert frame.is_empty()
    assert frame.schema == TABLES[name].schema
    assert lake.connect([name]).execute(f"select count(*) from {name}").fetchall() == [(0,)]


def test_an_unknown_table_is_named_together_with_the_one_that_was_meant(lake: Lake):
    with pytest.raises(TableMissing, match=r"core\.contact\..*Did you mean 'core\.contacts'"):
        lake.read("core.contact")


def test_a_pinned_version_does_not_see_what_is_appended_later(lake: Lake):
    lake.append(IDENTITIES, identities(1, 2))
    pins = lake.pin(["core.identities"])

    lake.append(IDENTITIES, identities(3))

    assert lake.read("core.identities", pins["core.identities"]).collect().height == 2
    view = lake.connect(["core.identities"], pins)
    assert view.execute("select count(*) from core.identities").fetchall() == [(2,)]
    assert lake.count("core.identities") == 3


def test_a_column_that_older_files_lack_is_null_in_both_lenses(lake: Lake):
    lake.append(IDENTITIES, identities(1))
    wider = Table(IDENTITIES.name, IDENTITIES.grain, {**IDENTITIES.columns, "note": pl.String})

    lake.append(wider, identities(2).with_columns(note=pl.lit("seen")))

    query = "select contact_id, note from core.identities order by 1"
    assert lake.connect(["core.identities"]).execute(query).fetchall() == [(1, None), (2, "seen")]
    polars_rows = (
        lake.read("core.identities").select("contact_id", "note").sort("contact_id").collect()
    )
    assert polars_rows.rows() == [(1, None), (2, "seen")]


def test_a_column_declared_after_a_table_was_written_is_null_in_both_lenses(lake: Lake):
    columns = {name: kind for name, kind in IDENTITIES.columns.items() if name != "external_id"}
    older = Table(IDENTITIES.name, IDENTITIES.grain, columns)
    lake.append(older, identities(1))

    found = lake.read(IDENTITIES.name).select(list(IDENTITIES.columns)).collect().rows()
    with lake.connect([IDENTITIES.name]) as connection:
        told = connection.sql(
            "select source, external_id, contact_id from core.identities"
        ).fetchall()

    assert found == told == [("shop", None, 1)]


def test_replacing_one_segment_leaves_the_others_alone(lake: Lake):
    lake.replace(SEGMENT_HISTORY, stays("lapsed", 1, 2), segment="lapsed")
    lake.replace(SEGMENT_HISTORY, stays("new", 3), segment="new")

    lake.replace(SEGMENT_HISTORY, stays("lapsed", 9), segment="lapsed")

    kept = lake.read("segments.history").select("segment", "contact_id").collect().rows()
    assert sorted(kept) == [("lapsed", 9), ("new", 3)]


def test_a_value_with_a_quote_replaces_only_itself(lake: Lake):
    lake.replace(SEGMENT_HISTORY, stays("o'neil", 1), segment="o'neil")
    lake.replace(SEGMENT_HISTORY, stays("plain", 2), segment="plain")

    lake.replace(SEGMENT_HISTORY, stays("o'neil", 3), segment="o'neil")

    kept = lake.read("segments.history").select("segment", "contact_id").collect().rows()
    assert sorted(kept) == [("o'neil", 3), ("plain", 2)]


def _replace_own(root: Path, segment: str) -> None:
    Lake(root).replace(SEGMENT_HISTORY, stays(segment, 1), segment=segment)


def test_processes_that_replace_their_own_part_of_a_table_not_there_yet_leave_each_other_s(
    lake: Lake,
):
    spawn = multiprocessing.get_context("spawn")
    names = ["first", "second", "third"]
    writers = [spawn.Process(target=_replace_own, args=(lake.root, name)) for name in names]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    kept = lake.read("segments.history").select("segment").collect()["segment"]
    assert sorted(kept) == names


def test_a_table_written_before_it_was_partitioned_gets_its_files_anew_and_keeps_its_rows(
    lake: Lake,
):
    whole = Table(SEGMENT_HISTORY.name, SEGMENT_HISTORY.grain, SEGMENT_HISTORY.columns)
    lake.append(whole, stays("lapsed", 1, 2))

    lake.append(SEGMENT_HISTORY, stays("new", 3))

    assert lake.snapshot(SEGMENT_HISTORY.name).partitioned == ("segment",)
    kept = lake.read("segments.history").select("segment", "contact_id").collect().rows()
    assert sorted(kept) == [("lapsed", 1), ("lapsed", 2), ("new", 3)]


def test_rows_lie_by_quarter_and_then_by_what_is_asked_together(lake: Lake):
    times = [datetime(2026, month, 1, tzinfo=UTC) for month in (5, 2, 4, 1)]
    rows = pl.DataFrame({"order_id": list("abcd"), "contact_id": [1, 2, 3, 1], "ordered_at": times})
    lake.append(ORDERS, pl.concat([ORDERS.empty(), rows], how="diagonal"))

    [file] = lake.files(ORDERS.name)
    assert pl.read_parquet(file)["order_id"].to_list() == ["d", "b", "a", "c"]


def test_merging_twice_adds_each_key_once(lake: Lake):
    keys = ("source", "external_id")

    first = lake.merge(IDENTITIES, identities(1, 2, 2), on=keys)
    second = lake.merge(IDENTITIES, identities(2, 3), on=keys)

    assert (first, second) == (2, 1)
    assert lake.count("core.identities") == 3


def test_an_append_records_the_position_it_was_made_from(lake: Lake):
    lake.append(IDENTITIES, identities(1), transactions={"flow/edge/0": 41})

    assert lake.transaction("core.identities", "flow/edge/0") == 41
    assert lake.transaction("core.identities", "flow/edge/1") is None


def test_compacting_keeps_every_row_and_older_versions_readable(lake: Lake):
    for number in range(4):
        lake.append(IDENTITIES, identities(number))
    pinned = lake.version("core.identities")

    done = lake.compact("core.identities")

    assert done == {"files_added": 1, "files_removed": 4}
    assert lake.count("core.identities") == 4
    assert lake.read("core.identities", pinned).collect().height == 4


def test_no_statistics_of_personal_columns_stay_in_the_log(lake: Lake, ada):
    row = {"contact_id": ada.contact_id, "address": ada.address, "address_normalised": ada.address}
    contact = pl.DataFrame([row], schema=CONTACTS.schema)

    lake.append(CONTACTS, contact)

    log = "".join(path.read_text() for path in lake.path("core.contacts").glob("_delta_log/*.json"))
    assert ada.address not in log


def _append_many(root: Path, first: int) -> None:
    lake = Lake(root)
    for number in range(first, first + 8):
        lake.append(IDENTITIES, identities(number))


def test_writers_in_several_processes_lose_nothing_while_the_table_is_compacted(lake: Lake):
    lake.append(IDENTITIES, identities(0))
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_append_many, args=(lake.root, first)) for first in (100, 200)]

    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        lake.compact("core.identities")
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0]
    assert lake.read("core.identities").select("contact_id").unique().collect().height == 17
