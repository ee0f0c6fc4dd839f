"""The comment at the top of a SQL file: what it may say, and how a mistake in it is told."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import Problem
from pipelines.segments.header import (
    Checks,
    Header,
    Parameter,
    Refresh,
    Status,
    read_header,
)

BASE = ("description: Contacts who bought lately", "owner: team:analytics")
# The comment opens on line 1, the two fields every header has follow, so what a test adds begins here.
FIRST = 4
PYDANTIC = ("Input should", "String should", "Field required", "Extra inputs", "pydantic", "type=")


def read(*lines: str, base: tuple[str, ...] = BASE) -> tuple[Header | None, list[Problem]]:
    problems: list[Problem] = []
    text = "\n".join(["/*", *base, *lines, "*/", "select contact_id from core.contacts"])
    return read_header(text, problems)[0], problems


def sound(*lines: str) -> Header:
    header, problems = read(*lines)
    assert header is not None, problems
    return header


def told(*lines: str, base: tuple[str, ...] = BASE) -> list[tuple[str, str]]:
    return [(each.where, each.what) for each in read(*lines, base=base)[1]]


def test_a_header_says_everything_there_is_to_say_about_a_file():
    header = sound(
        "grain: one row per household",
        "status: deprecated",
        "replaced_by: recent_buyers",
        "refresh: weekly",
        "parameters:",
        "  days: {default: 30, description: how far back}",
        "checks:",
        "  rows_at_least: 10",
        "  rows_at_most: 1000",
        "  share_at_most: 0.5",
        "  growth_at_most: 0.2",
        "  no_rows: [everybody_has_an_address]",
    )

    assert header.description == "Contacts who bought lately"
    assert (header.owner, header.grain) == ("team:analytics", "one row per household")
    assert (header.status, header.replaced_by) == (Status.DEPRECATED, "recent_buyers")
    assert header.refresh is Refresh.WEEKLY
    assert header.parameters == {"days": Parameter(default=30, description="how far back")}
    assert header.checks == Checks(
        rows_at_least=10,
        rows_at_most=1000,
        share_at_most=0.5,
        growth_at_most=0.2,
        no_rows=["everybody_has_an_address"],
    )


def test_a_header_needs_no_more_than_a_description_and_an_owner():
    header = sound()

    assert (header.status, header.refresh, header.grain) == ("live", "daily", "one row per contact")
    assert (header.parameters, header.checks) == ({}, Checks())


@pytest.mark.parametrize("owner", ["team:crm", "ines@shop.example"])
def test_a_team_or_a_person_answers_for_a_file(owner: str):
    header, _ = read(base=(BASE[0], f"owner: {owner}"))

    assert header is not None
    assert header.owner == owner


@pytest.mark.parametrize(
    ("short", "long", "value"),
    [
        ("30", "{default: 30}", 30),
        ("0.5", "{default: 0.5}", 0.5),
        ("true", "{default: true}", True),
        ("Paris", "{default: Paris}", "Paris"),
        ("2026-11-01", "{default: 2026-11-01}", date(2026, 11, 1)),
    ],
    ids=["whole number", "number", "yes or no", "text", "date"],
)
def test_the_short_form_of_a_parameter_says_the_same_as_the_long_one(
    short: str, long: str, value: Any
):
    in_short = sound("parameters:", f"  x: {short}").parameters["x"]

    assert in_short == sound("parameters:", f"  x: {long}").parameters["x"]
    assert (in_short.default, type(in_short.default)) == (value, type(value))


MISTAKES: dict[str, tuple[list[str], str, str]] = {
    "a field there is not": (
        ["statos: live"],
        "line 4, statos",
        "is not known. Did you mean 'status'?",
    ),
    "a field like no other": (["xyz: 1"], "line 4, xyz", "is not known."),
    "a field without a name": (["3: live"], "line 4, 3", "is not known."),
    "a field twice": (["status: live", "status: draft"], "line 5, status", "stands twice"),
    "a check twice": (
        ["checks:", "  rows_at_least: 1", "  rows_at_least: 2"],
        "line 6, rows_at_least",
        "stands twice",
    ),
    "a status there is not": (
        ["grain: one row", "status: deprecatd"],
        "line 5, status",
        "must be one of draft, live, deprecated. Did you mean 'deprecated'?",
    ),
    "a status that is no text": (
        ["status: 3"],
        "line 4, status",
        "must be one of draft, live, deprecated.",
    ),
    "a refresh there is not": (
        ["refresh: dayly"],
        "line 4, refresh",
        "must be one of hourly, daily, weekly, on_change. Did you mean 'daily'?",
    ),
    "a grain that is no text": (
        ["grain: 3"],
        "line 4, grain",
        "must be a text such as 'one row per contact', not '3'",
    ),
    "a replacement that is no name": (
        ["status: deprecated", "replaced_by: That One"],
        "line 5, replaced_by",
        "must be the name of another file, not 'That One'",
    ),
    "a check there is not": (
        ["checks:", "  row_at_least: 3"],
        "line 5, checks.row_at_least",
        "is not known. Did you mean 'rows_at_least'?",
    ),
    "checks that are none": (
        ["checks: 5"],
        "line 4, checks",
        "must be lines of rows_at_least, rows_at_most, share_at_most, growth_at_most, no_rows, not '5'",
    ),
    "rows below nothing": (
        ["checks:", "  rows_at_least: -1"],
        "line 5, checks.rows_at_least",
        "must be a whole number, 0 or more, not '-1'",
    ),
    "rows that are a part": (
        ["checks:", "  rows_at_most: 1.5"],
        "line 5, checks.rows_at_most",
        "must be a whole number, 0 or more, not '1.5'",
    ),
    "rows that are a yes": (
        ["checks:", "  rows_at_most: yes"],
        "line 5, checks.rows_at_most",
        "must be a whole number, 0 or more, not 'True'",
    ),
    "rows that no segment can have": (
        ["checks:", "  rows_at_least: 10", "  rows_at_most: 5"],
        "line 6, checks.rows_at_most",
        "is 5, and rows_at_least is 10: no segment has both",
    ),
    "a share in per cent": (
        ["checks:", "  share_at_most: 50%"],
        "line 5, checks.share_at_most",
        "must be a share between 0 and 1, not '50%'",
    ),
    "a share above all": (
        ["checks:", "  share_at_most: 50"],
        "line 5, checks.share_at_most",
        "must be a share between 0 and 1, not '50'",
    ),
    "growth that is none": (
        ["checks:", "  growth_at_most: 0"],
        "line 5, checks.growth_at_most",
        "must be a share above 0; 0.5 allows half as much again, not '0'",
    ),
    "endless growth": (
        ["checks:", "  growth_at_most: .inf"],
        "line 5, checks.growth_at_most",
        "must be a share above 0; 0.5 allows half as much again, not 'inf'",
    ),
    "one assertion without a list": (
        ["checks:", "  no_rows: everybody_has_bought"],
        "line 5, checks.no_rows",
        "must be a list of names of sql/checks/, not 'everybody_has_bought'",
    ),
    "an assertion by the name of a check": (
        ["checks:", "  no_rows: [not_empty]"],
        "line 5, checks.no_rows",
        "not_empty is the name of a check there is anyway; name it otherwise",
    ),
    "parameters in a list": (
        ["parameters: [days]"],
        "line 4, parameters",
        "must be lines like `days: {default: 30, description: how far back}`, not '['days']'",
    ),
    "a parameter with a capital": (
        ["parameters:", "  Days: 30"],
        "line 5, parameters.Days",
        "must be small letters, digits and _, beginning with a letter, not 'Days'",
    ),
    "a parameter by the name of the time": (
        ["parameters:", "  as_of: 2026-11-01"],
        "line 4, parameters",
        "as_of is given by whoever runs it, and cannot be declared",
    ),
    "a parameter without a value": (
        ["parameters:", "  days: {description: how far back}"],
        "line 5, parameters.days.default",
        "is missing; it must be a text, a number, a date, true or false",
    ),
    "a parameter of many values": (
        ["parameters:", "  days: [1, 2]"],
        "line 5, parameters.days.default",
        "must be a text, a number, a date, true or false, not '[1, 2]'",
    ),
    "a parameter that is a moment": (
        ["parameters:", "  since: 2026-11-01T08:00:00Z"],
        "line 5, parameters.since.default",
        "must be a text, a number, a date, true or false, not '2026-11-01 08:00:00+00:00'",
    ),
    "a parameter that is no number": (
        ["parameters:", "  share: .nan"],
        "line 5, parameters.share.default",
        "must be a text, a number, a date, true or false, not 'nan'",
    ),
    "a parameter described by a number": (
        ["parameters:", "  days: {default: 3, description: 4}"],
        "line 5, parameters.days.description",
        "must be a text, not '4'",
    ),
    "a field of a parameter there is not": (
        ["parameters:", "  days:", "    default: 3", "    descripton: how far back"],
        "line 7, parameters.days.descripton",
        "is not known. Did you mean 'description'?",
    ),
}


@pytest.mark.parametrize(("lines", "where", "what"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_words_with_its_line(lines: list[str], where: str, what: str):
    assert told(*lines) == [(where, what)]


@pytest.mark.parametrize(
    ("base", "what"),
    [
        (("owner: team:analytics",), "is missing; it must say in a sentence who is in it"),
        (
            ("description: Buyers", "owner: team:analytics"),
            "must say in a sentence who is in it, not 'Buyers'",
        ),
        (
            ("description: Contacts who bought lately",),
            "is missing; it must be team:NAME or an e-mail address",
        ),
        (
            ("description: Contacts who bought lately", "owner: ines"),
            "must be team:NAME or an e-mail address, not 'ines'",
        ),
    ],
    ids=["no description", "a description of one word", "no owner", "an owner nobody can write to"],
)
def test_who_is_in_it_and_who_answers_for_it_must_be_said(base: tuple[str, ...], what: str):
    assert [each for _, each in told(base=base)] == [what]


def test_every_mistake_is_told_at_once():
    found = told("status: lve", "refresh: dayly", "chekcs: 3", base=("descripton: x",))

    assert [where for where, _ in found] == [
        "line 1, description",
        "line 1, owner",
        "line 3, status",
        "line 4, refresh",
        "line 2, descripton",
        "line 5, chekcs",
    ]


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.DEPRECATED])
def test_only_a_deprecated_file_is_replaced(status: Status):
    found = told(f"status: {status}", "replaced_by: other")

    assert found == [
        ("line 5, replaced_by", "is said of a deprecated file only; set status: deprecated")
    ]


def test_a_file_that_does_not_say_its_status_is_live_and_so_not_replaced():
    assert [where for where, _ in told("replaced_by: other")] == ["line 4, replaced_by"]


@pytest.mark.parametrize(
    ("lines", "line", "word"),
    [
        (["status: ["], "line 5", "node"),
        (["\tstatus: live"], "line 4", "cannot start any token"),
        (["grain: one: two"], "line 4", "mapping values"),
        (["grain: !!python/name:os.system"], "line 4", "constructor"),
        (["grain: a\x00b"], "line 1", "cannot be read"),
    ],
    ids=["not closed", "a tab", "two colons", "code", "a byte that is no text"],
)
def test_what_is_not_yaml_is_told_with_its_line(lines: list[str], line: str, word: str):
    [(where, what)] = told(*lines)

    assert where == line
    assert what.startswith("the header is not YAML: ")
    assert word in what


@pytest.mark.parametrize("line", ["- one", "only words", "3"])
def test_a_comment_that_holds_no_fields_is_told(line: str):
    assert told(line, base=()) == [("line 1", "the header must be lines of `field: value`")]


@pytest.mark.parametrize(
    "text",
    ["select 1", "-- a comment\nselect 1", "select 1 /* too late */", ""],
    ids=["none", "of another kind", "behind", "nothing at all"],
)
def test_a_file_without_a_header_is_told_what_to_write(text: str):
    problems: list[Problem] = []

    header, start = read_header(text, problems)

    assert (header, start) == (None, 0)
    assert [each.where for each in problems] == ["line 1"]
    assert "write /* description: …, owner: … */ above the SELECT" in problems[0].what


def test_lines_count_from_the_top_of_the_file_wherever_the_header_begins():
    problems: list[Problem] = []

    read_header("\n\n/*\ndescription: Contacts who bought lately\nowner: me\n*/ select 1", problems)

    assert [each.where for each in problems] == ["line 5, owner"]


@settings(deadline=None)
@given(above=st.integers(0, 5), below=st.integers(0, 5))
def test_a_mistake_s_line_is_where_it_stands_among_the_others(above: int, below: int):
    others = [f"  p{number}: {number}" for number in range(above + below)]
    lines = ["parameters:", *others[:above], "  Bad: 1", *others[above:]]

    assert [where for where, _ in told(*lines)] == [f"line {FIRST + 1 + above}, parameters.Bad"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
PLACES = st.sampled_from([
    *Header.model_fields, *(f"checks/{name}" for name in Checks.model_fields),
    "parameters/days", "parameters/days/default", "parameters/days/description", "something",
])  # fmt: skip


@settings(deadline=None)
@given(place=PLACES, value=ANYTHING)
def test_whatever_is_written_anywhere_is_read_or_told_in_our_own_words(place: str, value: Any):
    values: dict[str, Any] = {"description": "Contacts who bought lately", "owner": "team:crm"}
    field, *inner = place.split("/")
    for part in reversed(inner):
        value = {part: value}
    values[field] = value

    header, problems = read(base=(yaml.safe_dump(values).replace("*/", ""),))

    assert (header is None) == bool(problems)
    assert all(each.where.startswith("line ") for each in problems)
    words = " ".join(each.what for each in problems)
    assert [each for each in PYDANTIC if each in words] == []
