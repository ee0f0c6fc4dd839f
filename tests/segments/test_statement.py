"""The one SELECT of a file: what it reads, where a mistake stands, and how values are put into it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.errors import Problem
from pipelines.segments.header import Value
from pipelines.segments.statement import Statement, bind, read_statement, said_by_duckdb

# The SELECT of these tests begins on line 4.
HEADER = "/*\ndescription: Contacts who bought lately\n*/\n"
AS_OF = datetime(2026, 11, 1, 8, tzinfo=UTC)


def read(sql: str, *declared: str) -> tuple[Statement | None, list[Problem]]:
    problems: list[Problem] = []
    return read_statement(HEADER + sql, len(HEADER), declared, problems), problems


def sound(sql: str, *declared: str) -> Statement:
    statement, problems = read(sql, *declared)
    assert statement is not None
    assert problems == []
    return statement


def told(sql: str, *declared: str) -> list[tuple[str, str]]:
    return [(each.where, each.what) for each in read(sql, *declared)[1]]


@pytest.fixture(scope="module")
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    return connection


def answer(database: duckdb.DuckDBPyConnection, sql: str, **values: Value | datetime) -> Any:
    row = database.execute(bind(sql, values)).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


MISTAKES = {
    "a table there is not": (
        "select contact_id\nfrom core.order",
        "line 5",
        "'core.order' is not a table that can be read here. Did you mean 'core.orders'?",
    ),
    "the same behind parameters": (
        "select contact_id\nfrom core.orders\nwhere\n    ordered_at > $as_of - interval 3 days\n"
        "    and ordered_at < $as_of\n    and contact_id in (\n        select contact_id\n"
        "        from core.contact)",
        "line 11",
        "'core.contact' is not a table that can be read here. Did you mean 'core.contacts'?",
    ),
    "the same behind comments": (
        "-- one $as_of\n/* two\n   'three */\nselect contact_id\nfrom core.contact -- $as_of",
        "line 8",
        "'core.contact' is not a table that can be read here. Did you mean 'core.contacts'?",
    ),
    "the same behind letters of more than a byte": (
        "-- ü€😀 ü€😀 ü€😀\nselect contact_id, '😀' as face\nfrom core.contact",
        "line 6",
        "'core.contact' is not a table that can be read here. Did you mean 'core.contacts'?",
    ),
    "a raw table": (
        "select contact_id\nfrom raw.shop_orders",
        "line 5",
        "'raw.shop_orders' is not a table that can be read here.",
    ),
    "a table of the reports": (
        "select 1 as contact_id\nfrom reports.campaign",
        "line 5",
        "'reports.campaign' is not a table that can be read here.",
    ),
    "a table function": (
        "select 1 as contact_id\n\nfrom range(3)",
        "line 6",
        "RANGE(0, 3) is a table function; only tables of the lake are read",
    ),
    "a parameter there is not": (
        "select contact_id\nfrom core.orders\nwhere ordered_at > $as_off",
        "line 6",
        "$as_off is not declared in the header; there is $as_of. Did you mean 'as_of'?",
    ),
    "a parameter by number": (
        "select contact_id from core.orders\nwhere contact_id = $1",
        "line 5",
        "$1 is not declared in the header; there is $as_of.",
    ),
    "the time of day": (
        "-- ü\nselect contact_id\nfrom core.orders\nwhere ordered_at < now()",
        "line 7",
        "now() is not the same each time; use $as_of",
    ),
    "today in a word": (
        "select contact_id\nfrom core.orders\nwhere ordered_at < CURRENT_DATE",
        "line 6",
        "current_date is not the same each time; use $as_of",
    ),
    "an age from today": (
        "select contact_id\nfrom core.orders\nwhere age(ordered_at) > interval 1 day",
        "line 6",
        "age() of one time is not the same each time; use $as_of",
    ),
    "chance": (
        "select contact_id\nfrom core.orders\norder by random()",
        "line 6",
        "random() is not fixed by the tables read",
    ),
    "words in no order": (
        "select contact_id\nfrom core.orders\nwhere and status = 'completed'",
        "line 6",
        'syntax error at or near "and"',
    ),
    "a text without an end": (
        "select contact_id\nfrom core.orders where status = 'completed",
        "line 5",
        "unterminated string literal",
    ),
    "a comment without an end": (
        "select contact_id\nfrom core.orders\n/* and then",
        "line 6",
        'unterminated /* comment at or near "/* and then"',
    ),
    "a bracket without an end": (
        "select contact_id\nfrom core.orders\nwhere (status = 'completed'",
        "line 6",
        "syntax error at or near \"'completed'\"",
    ),
    "another statement": (
        "\ninsert into core.contacts values (1)",
        "line 5",
        "is INSERT, not a SELECT; a file holds exactly one SELECT",
    ),
    "two statements": (
        "select contact_id from core.orders;\nselect 2",
        "line 4",
        "holds 2 statements; a file holds exactly one SELECT",
    ),
    "nothing": ("-- to do", "line 4", "holds no statement; a file holds exactly one SELECT"),
}


@pytest.mark.parametrize(("sql", "where", "what"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_the_line_of_the_file(sql: str, where: str, what: str):
    assert told(sql) == [(where, what)]


def test_a_declared_parameter_that_is_not_used_is_told():
    found = told("select contact_id from core.orders where contact_id > $least", "least", "days")

    assert found == [("parameter days", "is declared and not used")]


@pytest.mark.parametrize(
    "sql",
    [
        "select contact_id from core.orders where contact_id = ?",
        "select contact_id from core.orders where ordered_at < @as_of",
        "select contact_id from core.orders where ordered_at < $ as_of",
    ],
    ids=["a question mark", "an at sign", "a dollar that stands alone"],
)
def test_a_parameter_without_a_name_is_told(sql: str):
    found = [what for _, what in told(sql)]

    assert found == ["a parameter stands where it cannot be one, or has no name"]


@pytest.mark.parametrize(
    "end",
    [";", ";;", "; -- and that is all", ";\n/* really\n */\n", "; /* well */ ;", "   \n\n"],
    ids=[
        "one",
        "two",
        "a comment behind",
        "comments behind",
        "one behind a comment",
        "white space",
    ],
)
def test_what_stands_behind_the_end_of_the_select_is_left_out(end: str):
    statement = sound(f"select contact_id from core.orders{end}")

    assert statement.sql == "\n\n\nselect contact_id from core.orders"


def test_the_statement_keeps_the_lines_it_has_in_its_file():
    statement = sound("select\n    contact_id\nfrom core.orders")

    assert statement.sql.splitlines()[3:] == ["select", "    contact_id", "from core.orders"]


def test_what_it_reads_are_tables_files_and_not_its_own_ctes():
    statement = sound(
        "with Recent as (select contact_id from core.orders), old as (select * from recent)\n"
        'select contact_id from recent join "marts"."rfm" using (contact_id)\n'
        "where contact_id in (select contact_id from segments.vip) and $as_of > '2020-01-01'"
    )

    assert statement.inputs == ("core.orders", "marts.rfm", "segments.vip")
    assert statement.parameters == ("as_of",)


@pytest.mark.parametrize(
    "same",
    [
        "select  contact_id\n\n  from core.orders where status = 'completed'",
        "SELECT contact_id FROM core.orders WHERE status = 'completed';",
        "-- why\nselect contact_id /* who */ from core.orders where status = 'completed'",
    ],
    ids=["white space", "capitals", "comments"],
)
def test_how_it_is_written_does_not_change_what_it_is(same: str):
    usual = sound("select contact_id from core.orders where status = 'completed'")

    assert sound(same).code_hash == usual.code_hash


@pytest.mark.parametrize(
    "other",
    [
        "select contact_id from core.orders where status = 'Completed'",
        "select contact_id from core.orders where status <> 'completed'",
        "select distinct contact_id from core.orders where status = 'completed'",
    ],
    ids=["a capital in a text", "an operator", "a word"],
)
def test_what_it_asks_changes_what_it_is(other: str):
    usual = sound("select contact_id from core.orders where status = 'completed'")

    assert sound(other).code_hash != usual.code_hash


@pytest.mark.parametrize(
    ("sql", "warns"),
    [
        ("select contact_id from core.engagement where opened_90_days = 0", True),
        ("select contact_id from core.engagement where last_opened_at is null", True),
        ("select contact_id from core.engagement_events where kind = 'open'", True),
        (
            "select contact_id from core.engagement where opened_90_days = 0"
            " and tracked_sent_90_days > 0",
            False,
        ),
        (
            "select contact_id from core.engagement_events as e join campaigns.sends as s"
            " using (contact_id) where e.kind = 'open' and s.is_tracked",
            False,
        ),
        ("select contact_id from core.engagement where clicked_90_days = 0", False),
    ],
    ids=["a count", "a time", "events", "of tracked mail", "events of tracked mail", "clicks"],
)
def test_who_asks_about_opens_must_ask_who_could_be_seen_to_open(sql: str, *, warns: bool):
    warnings = sound(sql).warnings

    assert [each.where for each in warnings] == (["opens"] if warns else [])
    assert all("is unknown, not false" in each.what for each in warnings)


@settings(deadline=None)
@given(text=st.text())
@example(text="it's")
@example(text="two\nlines\r\n")
@example(text="$$ $as_of $x$ $other")
@example(text="-- no /* comment */ ;")
@example(text="a\x00b")
@example(text="\\' \\n E'\\''")
@example(text="Ünï 😀 ﷽")
def test_any_text_comes_back_from_the_query_as_it_was(
    database: duckdb.DuckDBPyConnection, text: str
):
    assert answer(database, "select $x as x", x=text) == text


@settings(deadline=None)
@given(
    number=st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_number_comes_back_as_it_was(database: duckdb.DuckDBPyConnection, number: float):
    assert answer(database, "select 0 - -$x::double as x", x=number) == float(number)


@settings(deadline=None)
@given(
    value=st.booleans()
    | st.dates()
    | st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones())  # noqa: DTZ001
)
def test_any_day_moment_or_yes_comes_back_as_it_was(
    database: duckdb.DuckDBPyConnection, value: bool | date | datetime
):
    kind = {bool: "BOOLEAN", date: "DATE", datetime: "TIMESTAMP WITH TIME ZONE"}[type(value)]
    # Of two times in different zones Python says no when one is in the hour that a clock repeats.
    same = value.astimezone(UTC) if isinstance(value, datetime) else value

    assert answer(database, "select $x, typeof($x)", x=value) == (same, kind)


@settings(deadline=None)
@given(text=st.text(alphabet=st.sampled_from("$x as_of'\"\n-/*;{}"), max_size=30))
def test_a_parameter_in_a_text_a_name_or_a_comment_is_left_alone(
    database: duckdb.DuckDBPyConnection, text: str
):
    quoted, comment = text.replace("'", "''"), text.replace("*/", "").replace("/*", "")
    name = text.replace('"', '""')
    sql = f"select '{quoted}' as \"{name}_\", $x /* {comment} */ -- {comment.splitlines()[:1]}"

    assert answer(database, sql, x=7) == (text, 7)


@pytest.mark.parametrize("quote", ["$$", "$tag$", "$as_of$"])
def test_a_parameter_between_dollars_is_left_alone(database: duckdb.DuckDBPyConnection, quote: str):
    sql = f"select {quote}at $x it's{quote}, $x"

    assert answer(database, sql, x=7) == ("at $x it's", 7)


def test_a_value_is_put_in_wherever_its_name_stands_and_nowhere_else(
    database: duckdb.DuckDBPyConnection,
):
    sql = "select $day, $days, $day_s, [$day][1], $days::varchar"

    assert answer(database, sql, day=1, days=2, day_s=3) == (1, 2, 3, 1, "2")


def test_a_negative_number_is_no_comment(database: duckdb.DuckDBPyConnection):
    assert answer(database, "select 5 -$x", x=-3) == 8


def test_lines_stay_where_they_are_when_values_are_put_in():
    sql = "select\n    $as_of,\n    $days,\n    nothing"

    bound = bind(sql, {"as_of": AS_OF, "days": 30})

    assert [line.strip() for line in bound.splitlines()][3] == "nothing"
    assert len(bound.splitlines()) == 4


def test_a_value_that_would_end_its_statement_is_never_run():
    with pytest.raises(ValueError, match="where its value cannot be put"):
        bind("select $x; select 2", {"x": 1})


@pytest.mark.parametrize(
    ("message", "where", "what"),
    [
        (
            'Binder Error: Referenced column "cty" not found in FROM clause!\n'
            'Candidate bindings: "city", "country"\n\nLINE 7: select cty\n               ^',
            "line 7",
            'Referenced column "cty" not found in FROM clause. There are: "city", "country"',
        ),
        (
            'Catalog Error: Table with name x does not exist!\nDid you mean "y"?\n\nLINE 2: x',
            "line 2",
            'Table with name x does not exist. Did you mean "y"?',
        ),
        ("Invalid Input Error: More than one row\n", "SQL", "More than one row"),
        ("Out of Memory Error: failed to allocate", "SQL", "failed to allocate"),
    ],
    ids=["a column", "a table", "an error of two words", "an error of three"],
)
def test_what_duckdb_says_becomes_one_problem_with_a_place(message: str, where: str, what: str):
    assert said_by_duckdb(message) == Problem(where, what)
