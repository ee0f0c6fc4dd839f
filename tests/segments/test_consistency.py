"""A run sees one version of everything it reads, whatever becomes of the tables meanwhile, or says why not.

And what a segment must not return is never kept: the last good members stay.
"""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from pipelines.errors import LettermillError, SegmentFailed, SegmentInvalid, TableMissing
from pipelines.lake import Lake
from pipelines.schema import CONTACTS
from pipelines.segments.history import last_run
from pipelines.segments.members import write
from pipelines.segments.project import SqlFiles, parsed
from pipelines.segments.run import Members, run
from pipelines.segments.segment import Segment

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
HEADER = "/*\ndescription: A segment of the tests\nowner: team:tests\n*/\n"
# The SELECT of a file begins on this line.
LINE = 5
COUNTED = """
select
    0 as contact_id,
    (select count(*) from core.contacts) as directly,
    (select count(*) from segments.everybody) as through_a_segment,
    (select count(*) from core.contacts as a join segments.everybody as b using (contact_id)) as joined
"""
EVERYBODY = "select contact_id from core.contacts"


def files(**selects: str) -> SqlFiles:
    """Segments by name, each with the same header; `marts__rfm` is marts.rfm."""
    named = {n.replace("__", ".") if "__" in n else f"segments.{n}": s for n, s in selects.items()}
    return parsed({name: HEADER + select for name, select in named.items()})


def asked(lake: Lake, found: SqlFiles, name: str, pins: dict[str, int] | None = None) -> Members:
    entry = found.by_table[f"segments.{name}"]
    assert isinstance(entry, Segment), str(entry)
    return run(entry, lake=lake, as_of=NOON, files=found, pins=pins)


def add(lake: Lake, *ids: int) -> None:
    rows = pl.DataFrame({"contact_id": ids}, schema={"contact_id": pl.Int64})
    lake.append(CONTACTS, pl.concat([CONTACTS.empty(), rows], how="diagonal"))


def vacuum(lake: Lake) -> None:
    """Remove the files that no version needs which may still be read."""
    DeltaTable(lake.path(CONTACTS.name)).vacuum(dry_run=False)


def keep_writing(root: Path, stop: Event) -> None:
    """Append to core.contacts, compact it and vacuum it, over and over."""
    lake, number = Lake(root), 1
    while not stop.is_set():
        add(lake, number, number + 1)
        number += 2
        if number % 3 == 0:
            lake.compact(CONTACTS.name)
            vacuum(lake)


def test_whatever_reads_a_table_twice_sees_one_version_while_it_is_written_compacted_and_vacuumed(
    lake: Lake,
):
    add(lake, 0)
    found = files(counted=COUNTED, everybody=EVERYBODY)
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    writer = context.Process(target=keep_writing, args=(lake.root, stop))
    writer.start()

    counts: dict[int, tuple[int, ...]] = {}
    while len(counts) < 5:
        members = asked(lake, found, "counted")
        counts[members.pins[CONTACTS.name]] = members.frame.row(0)[1:]
    stop.set()
    writer.join()

    assert {version: set(each) for version, each in counts.items()} == {
        version: {lake.count(CONTACTS.name, version)} for version in counts
    }
    assert len({each[0] for each in counts.values()}) > 1


def test_a_pinned_run_gives_the_same_rows_after_the_table_was_written_compacted_and_vacuumed(
    lake: Lake,
):
    for number in range(4):
        add(lake, number)
    found = files(everybody=EVERYBODY)
    before = asked(lake, found, "everybody")

    lake.compact(CONTACTS.name)
    add(lake, 4)
    vacuum(lake)
    after = asked(lake, found, "everybody", before.pins)

    assert after.pins == before.pins
    assert sorted(after.frame["contact_id"]) == sorted(before.frame["contact_id"]) == [0, 1, 2, 3]
    assert asked(lake, found, "everybody").frame.height == 5


def test_a_version_there_never_was_is_told(lake: Lake):
    add(lake, 0)

    with pytest.raises(TableMissing, match=r"core\.contacts .*version 99"):
        asked(lake, files(everybody=EVERYBODY), "everybody", {CONTACTS.name: 99})


def test_a_table_that_was_never_written_is_empty_and_told(lake: Lake):
    add(lake, 0)
    found = files(buyers="select contact_id from core.orders")

    members = asked(lake, found, "buyers")

    assert members.frame.is_empty()
    assert members.unwritten == ("core.orders",)


@pytest.mark.parametrize(
    ("selects", "where", "told"),
    [
        (
            {"a": "select contact_id\nfrom segments.vipp", "vip": EVERYBODY},
            f"line {LINE + 1}",
            "reads segments.vipp, and there is no sql/segments/vipp.sql. Did you mean 'vip'?",
        ),
        (
            {"a": "select contact_id\n\nfrom marts.rfm"},
            f"line {LINE + 2}",
            "reads marts.rfm, and there is no sql/marts/rfm.sql.",
        ),
        (
            {
                "a": "select contact_id from segments.b",
                "b": "select contact_id from segments.a",
            },
            "segments.a",
            "is built on itself: segments.a → segments.b → segments.a",
        ),
        (
            {"a": "select contact_id\nfrom segments.b", "b": "select contact_id from core.order"},
            f"line {LINE + 1}",
            "reads segments.b, which cannot be read",
        ),
    ],
    ids=["a segment there is not", "a mart there is not", "a circle", "one that cannot be read"],
)
def test_a_segment_on_what_cannot_be_read_is_told_with_its_file_and_line(
    lake: Lake, selects: dict[str, str], where: str, told: str
):
    add(lake, 0)

    with pytest.raises(SegmentInvalid) as refused:
        asked(lake, files(**selects), "a")

    assert "sql/segments/" in refused.value.what
    assert (where, told) in [(each.where, each.what) for each in refused.value.problems]


def test_a_mistake_in_a_file_that_a_segment_stands_on_is_told_as_that_file_s(lake: Lake):
    add(lake, 0)
    found = files(
        a="select contact_id from segments.b",
        b="select contact_id\nfrom core.contacts\nwhere town = 'Paris'",
    )

    with pytest.raises(SegmentFailed, match=r"segments/a\.sql failed") as failed:
        asked(lake, found, "a")

    [problem] = failed.value.problems
    assert problem.where == f"segments.b, line {LINE + 2}"
    assert '"town" not found' in problem.what


def kept(lake: Lake) -> list[object]:
    """The members and the stays there are, the versions they are in, and the last run that was kept."""
    names = ("segments.some", "segments.history")
    rows = [lake.read(name).collect().sort(pl.all()).rows() for name in names]
    return [*map(lake.version, names), *rows, last_run("some", lake)]


MANY = 120
IN_TYPES = "select contact_id::{} as contact_id from core.contacts where contact_id < 3"


@pytest.fixture
def held(lake: Lake) -> Lake:
    """A lake of many contacts, with members 1 and 2 of the last good run of `some`."""
    add(lake, *range(MANY))
    good = files(some="select contact_id from core.contacts where contact_id in (1, 2)")
    members = asked(lake, good, "some")
    entry = good.by_table["segments.some"]
    assert isinstance(entry, Segment)
    write(entry, members, lake, files=good)
    return lake


def kept_anew(lake: Lake, select: str) -> None:
    """Run the segment with another SELECT, and keep what it returns."""
    found = files(some=select)
    entry = found.by_table["segments.some"]
    assert isinstance(entry, Segment), str(entry)
    later = run(entry, lake=lake, as_of=NOON + timedelta(days=1), files=found)
    write(entry, later, lake, files=found)


@pytest.mark.parametrize(
    ("select", "told"),
    [
        (
            "select unnest([contact_id, contact_id]) as contact_id from core.contacts"
            " where contact_id < 3",
            "stands more than once for 3 contacts, such as 0, 1, 2",
        ),
        (
            "select nullif(contact_id, 7) as contact_id from core.contacts where contact_id < 9",
            "is empty in 1 rows",
        ),
        (
            "select contact_id + 119 as contact_id from core.contacts where contact_id < 3",
            "names 2 contacts the lake does not know, such as 120, 121",
        ),
        ("select -1 as contact_id", "names 1 contacts the lake does not know, such as -1"),
        (IN_TYPES.format("varchar"), "must be returned, as a whole number"),
        (IN_TYPES.format("double"), "must be returned, as a whole number"),
        (IN_TYPES.format("decimal(18, 0)"), "must be returned, as a whole number"),
        ("select contact_id as id from core.contacts where contact_id < 3", "must be returned"),
        ("select null as contact_id", "must be returned, as a whole number"),
        ("select 9223372036854775808 as contact_id", "value"),
        (
            "select contact_id, interval 1 day as since from core.contacts where contact_id < 3",
            "is INTERVAL, which no table holds",
        ),
        (
            "select contact_id, now_ as as_of from (select contact_id, $as_of as now_"
            " from core.contacts where contact_id < 3)",
            "is the column of the time it was evaluated for",
        ),
        ("select contact_id from core.contacts where contact_id < 0", "nobody is in it"),
        ("select contact_id from core.contacts", f"all {MANY} contacts are in it"),
        ("select (contact_id || 'x')::int as contact_id from core.contacts", "Could not convert"),
        ("select 1 // contact_id as contact_id from core.contacts", "Division by zero"),
    ],
    ids=[
        "twice",
        "empty",
        "unknown",
        "below zero",
        "text",
        "double",
        "decimal",
        "without an id",
        "nothing but null",
        "a number too large",
        "an interval",
        "a time of its own",
        "nobody",
        "everybody",
        "a text that is no number",
        "a division by zero",
    ],
)
def test_what_a_segment_must_not_return_is_told_and_the_last_good_members_stay(
    held: Lake, select: str, told: str
):
    before = kept(held)

    with pytest.raises(SegmentFailed) as failed:
        kept_anew(held, select)

    assert told in str(failed.value)
    assert "sql/segments/some.sql" in failed.value.what
    assert kept(held) == before


@pytest.mark.parametrize("kind", ["tinyint", "usmallint", "integer", "ubigint", "hugeint"])
def test_any_whole_number_is_an_id(held: Lake, kind: str):
    kept_anew(held, IN_TYPES.format(kind))

    rows = held.read("segments.some").sort("contact_id").collect()
    assert rows.schema["contact_id"] == pl.Int64
    assert rows["contact_id"].to_list() == [0, 1, 2]


def test_a_sum_of_whole_numbers_is_kept_as_one(held: Lake):
    kept_anew(
        held,
        "select contact_id, sum(contact_id) as total from core.contacts where contact_id < 3"
        " group by contact_id",
    )

    rows = held.read("segments.some").sort("contact_id").collect()
    assert rows.schema["total"] == pl.Int64
    assert rows["total"].to_list() == [0, 1, 2]


def test_of_a_handful_of_contacts_everybody_may_be_in_a_segment(lake: Lake):
    add(lake, *range(MANY - 21))

    kept_anew(lake, EVERYBODY)

    assert lake.count("segments.some") == MANY - 21


def test_a_segment_that_failed_is_kept_again_once_it_is_mended(held: Lake):
    with pytest.raises(LettermillError):
        kept_anew(held, "select 999 as contact_id")

    kept_anew(held, "select contact_id from core.contacts where contact_id in (2, 3)")

    stays = held.read("segments.history").sort("contact_id").collect()
    assert stays["contact_id"].to_list() == [1, 2, 3]
    assert stays["left_at"].to_list() == [NOON + timedelta(days=1), None, None]
