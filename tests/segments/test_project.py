"""What the SQL files of a project are to each other, and what a reviewer would say of one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import Problem, SegmentInvalid
from pipelines.segments import project as projects
from pipelines.segments.project import SqlFiles, parsed, remarks
from pipelines.segments.segment import Assertion, Mart, Segment, SqlFile

HEADER = "/*\ndescription: Contacts of the tests\nowner: team:tests\n{}*/\n"
# The SELECT of a file without more in its header begins on this line.
LINE = 5


def text(*reads: str, header: str = "", more: str = "") -> str:
    """A file that reads these tables, one a line."""
    return (
        HEADER.format(header) + "select 1 as contact_id from " + "\ncross join ".join(reads) + more
    )


def files(**texts: str) -> SqlFiles:
    """Files by name; `marts__rfm` is marts.rfm, `vip` is segments.vip."""
    named = {
        name.replace("__", ".") if "__" in name else f"segments.{name}": t
        for name, t in texts.items()
    }
    return parsed(named)


def file(found: SqlFiles, table: str) -> SqlFile:
    entry = found.by_table[table]
    assert isinstance(entry, SqlFile), str(entry)
    return entry


def behind(found: SqlFiles, table: str) -> list[str]:
    return [each.table for each in found.behind(file(found, table))]


def refused(found: SqlFiles, table: str) -> SegmentInvalid:
    with pytest.raises(SegmentInvalid) as error:
        found.behind(file(found, table))
    return error.value


def test_what_a_file_stands_on_comes_before_what_stands_on_it():
    found = files(
        marts__rfm=text("core.orders"),
        vip=text("marts.rfm"),
        at_risk=text("marts.rfm", "core.contacts"),
        vip_at_risk=text("segments.vip", "segments.at_risk"),
    )

    assert behind(found, "segments.vip_at_risk") == [
        "marts.rfm",
        "segments.at_risk",
        "segments.vip",
    ]
    assert behind(found, "marts.rfm") == []


@settings(max_examples=25, deadline=None)
@given(
    edges=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda e: e[0] > e[1]))
)
def test_however_files_read_each_other_each_stands_once_and_after_what_it_reads(
    edges: list[tuple[int, int]],
):
    found = files(**{
        f"s{n}": text("core.contacts", *sorted({f"segments.s{low}" for high, low in edges if high == n}))
        for n in range(8)
    })  # fmt: skip

    order = [*behind(found, "segments.s7"), "segments.s7"]

    assert len(order) == len(set(order))
    for table in order:
        reads = {name for name in file(found, table).inputs if name.startswith("segments.")}
        assert reads <= set(order[: order.index(table)])


@pytest.mark.parametrize(
    ("texts", "circle"),
    [
        ({"a": text("segments.a")}, "segments.a → segments.a"),
        (
            {"a": text("segments.b"), "b": text("core.orders", "segments.a")},
            "segments.a → segments.b → segments.a",
        ),
        (
            {
                "a": text("segments.b"),
                "b": text("marts.m"),
                "marts__m": text("segments.a"),
            },
            "segments.a → segments.b → marts.m → segments.a",
        ),
    ],
    ids=["of one", "of two", "through a mart"],
)
def test_a_circle_is_told_as_it_goes(texts: dict[str, str], circle: str):
    error = refused(files(**texts), "segments.a")

    assert [each.what for each in error.problems] == [f"is built on itself: {circle}"]


def test_a_circle_further_up_is_told_without_the_way_to_it():
    found = files(a=text("segments.b"), b=text("segments.c"), c=text("segments.b"))

    [problem] = refused(found, "segments.a").problems

    assert problem.what == "is built on itself: segments.b → segments.c → segments.b"


def test_a_file_that_is_missing_is_told_with_the_line_and_the_name_that_may_be_meant():
    found = files(a=text("core.contacts", "segments.vipp"), vip=text("core.contacts"))

    error = refused(found, "segments.a")

    assert error.problems == (
        Problem(
            f"line {LINE + 1}",
            "reads segments.vipp, and there is no sql/segments/vipp.sql. Did you mean 'vip'?",
        ),
    )
    assert error.do == "Mend it, then run: lettermill segment check a"


def test_nobody_is_told_to_read_themselves():
    found = files(vip_at_risk=text("segments.vip"))

    [problem] = refused(found, "segments.vip_at_risk").problems

    assert problem.what == "reads segments.vip, and there is no sql/segments/vip.sql."


def test_what_is_wrong_with_a_file_further_up_is_told_with_the_file_to_mend():
    found = files(a=text("segments.b"), b=text("marts.rfm"), marts__rfm=text("core.order"))

    error = refused(found, "segments.a")

    assert error.what == "sql/segments/b.sql cannot be run"
    assert [each.where for each in error.problems] == [f"line {LINE}", f"line {LINE}"]
    assert error.problems[0].what == "reads marts.rfm, which cannot be read"
    assert "'core.order' is not a table" in error.problems[1].what
    assert error.do == "Mend the file, then run: lettermill mart check rfm"


def test_the_version_of_a_file_changes_with_any_file_it_stands_on_or_is_checked_by():
    checked = text("segments.b", header="checks: {no_rows: [sane]}\n")
    usual = {"a": checked, "b": text("marts.rfm"), "marts__rfm": text("core.orders")}
    usual["checks__sane"] = text("members")

    def version(**changed: str) -> str:
        found = files(**{**usual, **changed})
        return found.code_version(file(found, "segments.a"))

    others = [
        version(marts__rfm=text("core.orders", more=" where contact_id > 0")),
        version(b=text("marts.rfm", more=" where contact_id > 0")),
        version(a=checked + " where contact_id > 0"),
        version(checks__sane=text("members", more=" where contact_id > 0")),
        version(a=text("segments.b", header="checks: {no_rows: [sane], rows_at_most: 9}\n")),
    ]
    assert len({version(), *others}) == 1 + len(others)


def test_the_version_of_a_file_does_not_change_with_words_and_white_space():
    usual = files(a=text("segments.b"), b=text("core.orders"))
    other = files(
        a=text("segments.b", more=" -- who"),
        b=text("core.orders", header="refresh: weekly\n", more="\n\n/* why */"),
    )

    assert other.code_version(file(other, "segments.a")) == usual.code_version(
        file(usual, "segments.a")
    )


def test_a_file_asks_the_time_when_one_it_stands_on_or_is_checked_by_does():
    timed = text("core.orders", more=" where ordered_at < $as_of")
    found = files(
        timeless=text("core.contacts"),
        above=text("segments.timed"),
        further=text("segments.above"),
        timed=timed,
        checked=text("core.contacts", header="checks: {no_rows: [late]}\n"),
        checks__late=text("members", more=" where $as_of > '2020-01-01'"),
    )

    asking = {t for t in found.by_table if found.asks_the_time(file(found, t))}

    assert asking == {f"segments.{name}" for name in ("above", "further", "timed", "checked")} | {
        "checks.late"
    }


def test_what_a_campaign_needs_of_a_segment_is_all_it_stands_on_and_its_shared_checks():
    found = files(
        a=text("segments.b", header="checks: {no_rows: [sane]}\n"),
        b=text("core.orders"),
        c=text("core.orders"),
        checks__sane=text("members", "marts.rfm"),
        marts__rfm=text("core.orders"),
    )

    needed = {each.table for each in found.needed_by(["a", "nowhere"])}

    assert needed == {"segments.a", "segments.b", "checks.sane", "marts.rfm"}


@pytest.mark.parametrize(
    ("checks", "told"),
    [
        ({}, "there is no sql/checks/sane.sql"),
        ({"checks__sane": text("core.order")}, "'core.order' is not a table"),
        ({"checks__sene": text("members")}, "Did you mean 'sene'?"),
    ],
    ids=["missing", "unreadable", "misspelt"],
)
def test_a_shared_check_that_cannot_be_used_is_told(checks: dict[str, str], told: str):
    found = files(a=text("core.orders", header="checks: {no_rows: [sane]}\n"), **checks)

    with pytest.raises(SegmentInvalid, match=r"sql/checks/sane\.sql cannot be used") as refused:
        found.stack(file(found, "segments.a"))

    assert any(told in each.what for each in refused.value.problems)


def test_a_name_a_case_gives_rows_for_is_a_table_and_not_a_file():
    usual = files(a=text("segments.b", "core.orders"), b=text("core.contacts"))
    given = SqlFiles(usual.by_table, stored=frozenset({"segments.b"}))

    assert given.behind(file(given, "segments.a")) == ()
    assert given.tables([file(given, "segments.a")]) == ["core.orders", "segments.b"]


def test_who_reads_a_table_directly_is_known():
    found = files(a=text("segments.b"), b=text("core.orders"), c=text("core.order"))

    assert [each.table for each in found.read_by("segments.b")] == ["segments.a"]
    assert [each.table for each in found.read_by("core.orders")] == ["segments.b"]


def test_a_live_file_without_a_case_is_remarked_and_a_draft_is_not():
    found = files(live=text("core.orders"), draft=text("core.orders", header="status: draft\n"))

    def said(table: str, cases: int) -> list[Problem]:
        return remarks(file(found, table), found, cases=cases)

    assert said("segments.live", 0) == [
        Problem("cases", "is live and has no case under tests/sql/segments/live/")
    ]
    assert said("segments.live", 1) == said("segments.draft", 0) == []


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("status: deprecated\n", "reads segments.old, which is deprecated"),
        (
            "status: deprecated\nreplaced_by: new\n",
            "reads segments.old, which is deprecated; read new instead",
        ),
        ("status: draft\n", "is live and reads segments.old, which is a draft"),
    ],
    ids=["deprecated", "replaced", "a draft"],
)
def test_who_reads_what_is_not_live_is_told_on_the_line_of_it(status: str, told: str):
    found = files(
        a=text("core.orders", "segments.old"),
        old=text("core.orders", header=status),
        new=text("core.orders"),
    )

    said = remarks(file(found, "segments.a"), found, cases=1)

    assert said == [Problem(f"line {LINE + 1}", told)]


def test_a_draft_may_read_a_draft():
    draft = "status: draft\n"
    found = files(a=text("segments.b", header=draft), b=text("core.orders", header=draft))

    assert remarks(file(found, "segments.a"), found, cases=0) == []


def test_a_replacement_there_is_not_is_remarked():
    found = files(a=text("core.orders", header="status: deprecated\nreplaced_by: b\n"))

    said = remarks(file(found, "segments.a"), found, cases=1)

    assert said == [Problem("replaced_by", "there is no segments.b")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with a segment, a broken one, a mart and a shared check."""
    for path, written in {
        "segments/vip.sql": text("marts.rfm"),
        "segments/broken.sql": "select 1",
        "marts/rfm.sql": text("core.orders"),
        "checks/sane.sql": text("members"),
    }.items():
        (tmp_path / "sql" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sql" / path).write_text(written)
    return tmp_path


def test_a_project_s_files_are_found_and_one_that_cannot_be_read_spoils_no_other(folder: Path):
    found = projects.sql_files(folder).by_table

    assert {table: type(entry) for table, entry in found.items()} == {
        "segments.broken": SegmentInvalid,
        "segments.vip": Segment,
        "marts.rfm": Mart,
        "checks.sane": Assertion,
    }
    assert list(projects.discover(folder)) == ["broken", "vip"]
    assert list(projects.discover_marts(folder)) == ["rfm"]


def test_one_file_is_loaded_by_its_name(folder: Path):
    assert projects.load(folder, "vip").path == Path("sql/segments/vip.sql")
    assert projects.load_mart(folder, "rfm").table == "marts.rfm"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("vipp", "there is no segment 'vipp'. Did you mean 'vip'?"),
        ("nothing_like_it", "there is no segment 'nothing_like_it'."),
        ("../marts/rfm", "there is no segment '../marts/rfm'."),
    ],
    ids=["misspelt", "unknown", "a path"],
)
def test_a_name_there_is_not_is_told_with_the_one_that_may_be_meant(
    folder: Path, name: str, told: str
):
    with pytest.raises(SegmentInvalid) as refused:
        projects.load(folder, name)

    assert refused.value.what == told
    assert refused.value.do == "See which there are: lettermill segment list"
