"""One SQL file: its name, its header and its SELECT together, and the values its parameters take."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import Problem, SegmentInvalid
from pipelines.segments.segment import Assertion, Mart, Segment, parse

AS_OF = datetime(2026, 11, 1, 8, tzinfo=UTC)
PATH = Path("sql/segments/buyers.sql")
HEADER = (
    "/*\ndescription: Contacts who bought in the last $days days\nowner: team:analytics\n{}*/\n"
)
PARAMETERS = """\
parameters:
  days: {default: 30, description: how far back}
  share: 0.5
  city: Paris
  since: 2026-01-01
  strict: true
"""
ASKED = (
    "select contact_id from core.orders where ordered_at > $as_of - to_days($days)"
    " and $share > 0 and status <> $city and ordered_at > $since and $strict"
)


def text(sql: str = "select contact_id from core.contacts", header: str = "") -> str:
    return HEADER.format(header) + sql


@pytest.fixture(scope="module")
def buyers() -> Segment:
    return parse("buyers", text(ASKED, PARAMETERS), PATH)


def problems(kind: type[Segment | Mart | Assertion], name: str, text: str) -> list[Problem]:
    with pytest.raises(SegmentInvalid) as refused:
        kind.parse(name, text, PATH)
    return list(refused.value.problems)


def test_a_file_knows_its_table_its_inputs_and_whether_it_asks_the_time(buyers: Segment):
    assert (buyers.table, buyers.inputs) == ("segments.buyers", ("core.orders",))
    assert buyers.uses_as_of


def test_what_is_wrong_with_header_and_select_is_told_together_with_what_to_do():
    with pytest.raises(SegmentInvalid) as refused:
        parse("buyers", text("select contact_id\nfrom core.order", "statos: live\n"), PATH)

    assert str(refused.value).splitlines() == [
        "SegmentInvalid: sql/segments/buyers.sql has 2 problems",
        "  line 4, statos   is not known. Did you mean 'status'?",
        "  line 7           'core.order' is not a table that can be read here."
        " Did you mean 'core.orders'?",
        "Mend the file, then run: lettermill segment check buyers",
    ]


def test_what_an_unreadable_header_declares_is_not_missed_in_the_select():
    found = problems(Segment, "buyers", text(ASKED, f"{PARAMETERS}statos: live\n"))

    assert [each.where for each in found] == ["line 10, statos"]


@pytest.mark.parametrize("name", ["history", "runs"])
def test_a_segment_cannot_take_the_table_that_holds_the_history_of_all(name: str):
    [found] = problems(Segment, name, text())

    assert found == Problem(name, "is a table that Lettermill keeps; name the file otherwise")


@pytest.mark.parametrize("name", ["Buyers", "2_buyers", "big buyers", "buyers-2", "käufer", ""])
def test_a_file_s_name_is_one_that_a_table_may_have(name: str):
    [found] = problems(Segment, name, text())

    assert "must be small letters, digits and _" in found.what


def test_a_mart_has_no_checks_of_members():
    [found] = problems(Mart, "rfm", text(header="checks: {rows_at_least: 3}\n"))

    assert found == Problem("checks", "are for segments; cases say what a mart must return")


def test_an_assertion_reads_the_members_and_a_segment_does_not():
    sql = "select contact_id from members where contact_id < 0"

    assertion = Assertion.parse("nobody_below", text(sql), Path("sql/checks/nobody_below.sql"))

    assert assertion.inputs == ()
    assert "'members' is not a table" in problems(Segment, "buyers", text(sql))[0].what


def test_parameters_have_their_defaults_until_others_are_given(buyers: Segment):
    defaults = {
        "days": 30,
        "share": 0.5,
        "city": "Paris",
        "since": date(2026, 1, 1),
        "strict": True,
    }

    assert buyers.values() == defaults
    assert buyers.values({"days": 60, "share": 1}) == {**defaults, "days": 60, "share": 1}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("days", 1.5, "must be a whole number, not '1.5'"),
        ("days", "30", "must be a whole number, not '30'"),
        ("days", True, "must be a whole number, not 'True'"),
        ("days", None, "must be a whole number, not 'None'"),
        ("share", "half", "must be a number, not 'half'"),
        ("share", float("inf"), "must be a number, not 'inf'"),
        ("share", False, "must be a number, not 'False'"),
        ("city", 75, "must be a text, not '75'"),
        ("since", "2026-01-01", "must be a date, not '2026-01-01'"),
        ("since", AS_OF, "must be a date, not '2026-11-01 08:00:00+00:00'"),
        ("strict", 1, "must be yes or no, not '1'"),
        ("dais", 60, "is no parameter of buyers. Did you mean 'days'?"),
        ("as_of", AS_OF, "is no parameter of buyers."),
    ],
)
def test_a_value_that_cannot_be_one_is_told(buyers: Segment, name: str, value: Any, told: str):
    with pytest.raises(SegmentInvalid, match="cannot be run with these parameters") as refused:
        buyers.values({name: value})

    assert refused.value.problems == (Problem(name, told),)


def test_a_text_that_looks_like_a_date_is_still_a_text(buyers: Segment):
    assert buyers.values({"city": date(2026, 1, 2)})["city"] == "2026-01-02"


def test_every_value_is_put_into_the_select(buyers: Segment):
    bound = buyers.bound(AS_OF, {"days": 60, "city": "L'Haÿ-les-Roses"})

    assert "$" not in bound
    assert "to_days((60))" in bound
    assert "timestamptz '2026-11-01T08:00:00+00:00'" in bound
    assert "'L''Haÿ-les-Roses'" in bound
    assert "date '2026-01-01'" in bound


def test_the_description_names_the_default_of_a_parameter(buyers: Segment):
    assert buyers.description == "Contacts who bought in the last 30 days"


@pytest.mark.parametrize(
    ("sql", "header", "same"),
    [
        (ASKED, PARAMETERS + "grain: one row per buyer\nrefresh: weekly\n", True),
        (ASKED + " -- and no more", PARAMETERS, True),
        (ASKED.replace(" and ", "\n    and "), PARAMETERS, True),
        (ASKED, PARAMETERS.replace("how far back", "days back"), True),
        (ASKED, PARAMETERS.replace("30", "31"), False),
        (ASKED + " and contact_id > 0", PARAMETERS, False),
    ],
    ids=["words", "a comment", "lines", "a description", "a default", "a condition"],
)
def test_its_version_changes_with_what_it_means_and_not_with_how_it_is_written(
    buyers: Segment, sql: str, header: str, *, same: bool
):
    other = parse("buyers", text(sql, header), PATH)

    assert (other.code_version == buyers.code_version) is same


def test_a_file_that_an_editor_began_with_a_mark_is_read(tmp_path: Path):
    path = tmp_path / "buyers.sql"
    path.write_text(text(), encoding="utf-8-sig")

    assert Segment.read(path, tmp_path).inputs == ("core.contacts",)


def test_a_file_that_is_no_text_is_told_by_its_path_in_the_project(tmp_path: Path):
    path = tmp_path / "sql/segments/buyers.sql"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"/* \xff */")

    with pytest.raises(SegmentInvalid, match=r"sql/segments/buyers\.sql cannot be read") as refused:
        Segment.read(path, tmp_path)

    assert str(tmp_path) not in str(refused.value)
