"""Cases: given these rows and this time, these contacts or rows come out, or the difference is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import SegmentInvalid
from pipelines.segments.cases import Case, case_files, outcome, read_case
from pipelines.segments.project import SqlFiles, parsed
from pipelines.segments.segment import SqlFile

HEADER = "/*\ndescription: A file of the tests\nowner: team:tests\n{}*/\n"
AS_OF = "2026-11-01T08:00:00Z"
FILES = parsed({
    "segments.buyers": HEADER.format("")
    + "select contact_id from core.orders where ordered_at <= $as_of group by contact_id",
    "marts.value": HEADER.format("") + (
        "select contact_id, count(*) as orders, max(ordered_at) as last_at,"
        " max(ordered_at)::date as last_on, sum(amount_minor) / 3 as third"
        " from core.orders group by contact_id"
    ),
    "segments.regulars": HEADER.format("parameters: {least: 2}\n") + (
        "select contact_id, orders, last_at, last_on, third from marts.value"
        " semi join segments.buyers using (contact_id) where orders >= $least"
    ),
    "segments.twice": HEADER.format("") + "select contact_id from core.orders",
})  # fmt: skip
TWO_ORDERS = [
    {"contact_id": 1, "ordered_at": "2026-10-01T10:00:00Z", "amount_minor": 50},
    {"contact_id": 1, "ordered_at": "2026-10-02T10:00:00Z", "amount_minor": 50},
    {"contact_id": 2, "ordered_at": "2026-10-03T10:00:00Z", "amount_minor": 50},
]


def file(table: str, files: SqlFiles = FILES) -> SqlFile:
    entry = files.by_table[table]
    assert isinstance(entry, SqlFile), str(entry)
    return entry


def write(folder: Path, text: str) -> Path:
    path = folder / "case.yaml"
    path.write_text(text)
    return path


def case(given: str, expect: str, *, more: str = "") -> str:
    return f"description: A case\nas_of: {AS_OF}\ngiven:\n{given}\nexpect: {expect}\n{more}"


def rows(table: str, *given: str) -> str:
    return f"  {table}:\n" + "\n".join(f"    - {{{each}}}" for each in given)


ORDERS = rows("core.orders", *(str(each)[1:-1].replace("'", "") for each in TWO_ORDERS))


def judged(folder: Path, text: str, table: str = "segments.regulars") -> str | None:
    return outcome(file(table), FILES, read_case(write(folder, text)), folder / "lake")


@pytest.mark.parametrize(
    "expect",
    [
        "[1]",
        "[{contact_id: 1}]",
        "[{contact_id: 1, orders: 2}]",
        "[{last_at: 2026-10-02T10:00:00Z}]",
        "[{last_at: 2026-10-02T12:00:00+02:00}]",
        "[{last_on: 2026-10-02}]",
        "[{third: 33.333333}]",
    ],
    ids=["ids", "rows", "some columns", "a time", "the same in another zone", "a day", "a part"],
)
def test_a_case_that_expects_what_comes_out_passes(tmp_path: Path, expect: str):
    assert judged(tmp_path, case(ORDERS, expect)) is None


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ("[2]", "missing [2], not expected [1]"),
        ("[]", "missing [], not expected [1]"),
        ("[1, 1]", "missing [1], not expected []"),
        (
            "[{contact_id: 1, orders: 3}]",
            "missing {'contact_id': 1, 'orders': 3}, not expected {'contact_id': 1, 'orders': 2}",
        ),
        (
            "[{contact_id: 1, order: 2}]",
            "it returns no column order; there are contact_id, orders, last_at, last_on, third",
        ),
    ],
    ids=["another", "nobody", "one twice", "another value", "another column"],
)
def test_what_differs_is_told(tmp_path: Path, expect: str, told: str):
    assert judged(tmp_path, case(ORDERS, expect)) == told


def test_a_case_gives_its_own_parameters(tmp_path: Path):
    assert judged(tmp_path, case(ORDERS, "[1, 2]", more="parameters: {least: 1}")) is None


def test_a_parameter_there_is_not_is_told(tmp_path: Path):
    told = judged(tmp_path, case(ORDERS, "[1, 2]", more="parameters: {leest: 1}"))

    assert told is not None
    assert "leest   is no parameter of regulars. Did you mean 'least'?" in told


def test_rows_of_a_mart_and_a_segment_stand_in_their_place(tmp_path: Path):
    value = (
        "contact_id: {}, orders: {}, last_at: 2026-10-01T10:00:00Z, last_on: 2026-10-01, third: 0.5"
    )
    given = "\n".join([
        rows("marts.value", value.format(7, 2), value.format(8, 2), value.format(9, 1)),
        rows("segments.buyers", "contact_id: 7", "contact_id: 9"),
    ])  # fmt: skip

    assert judged(tmp_path, case(given, "[7]")) is None


def test_nobody_at_all_may_be_given_for_a_segment(tmp_path: Path):
    given = f"{ORDERS}\n  segments.buyers: []"

    assert judged(tmp_path, case(given, "[]")) is None


def test_a_case_of_a_mart_expects_rows(tmp_path: Path):
    expected = "[{contact_id: 1, orders: 2}, {contact_id: 2, orders: 1}]"

    assert judged(tmp_path, case(ORDERS, expected), "marts.value") is None


def test_contacts_are_known_whether_a_case_lists_them_or_not(tmp_path: Path):
    given = f"{ORDERS}\n" + rows("core.contacts", "contact_id: 1, city: Paris")

    assert judged(tmp_path, case(given, "[1, 2]"), "segments.buyers") is None


def test_what_a_segment_must_not_return_fails_its_case(tmp_path: Path):
    told = judged(tmp_path, case(ORDERS, "[1, 1, 2]"), "segments.twice")

    assert told is not None
    assert "stands more than once for 1 contacts, such as 1" in told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            rows("core.orders", "contactid: 1, colour: red"),
            "colour      is not a column.\n  contactid   is not a column. Did you mean 'contact_id'?",
        ),
        (
            rows("core.orders", "contact_id: 1, ordered_at: 2026-10-01T10:00:00"),
            "ordered_at   2026-10-01 10:00:00 has no time zone; write it like 2026-10-01T10:00:00Z",
        ),
        (
            rows("segments.buyers", "contact_id: 1, seen_at: 2026-10-01T10:00:00"),
            "seen_at   2026-10-01 10:00:00 has no time zone; write it like 2026-10-01T10:00:00Z",
        ),
        (
            rows("core.orders", "contact_id: 1, ordered_at: yesterday"),
            "ordered_at   is TIMESTAMP WITH TIME ZONE in core.orders, not str",
        ),
        (
            rows("core.orders", "contact_id: 1, amount_minor: 1.5"),
            "amount_minor   is BIGINT in core.orders, not float",
        ),
        (
            rows("marts.valu", "contact_id: 1"),
            "marts.valu   is no file of sql/. Did you mean 'marts.value'?",
        ),
    ],
    ids=["columns", "a time without a zone", "the same of a segment", "a word", "a part", "a mart"],
)
def test_rows_that_cannot_be_given_are_told(tmp_path: Path, given: str, told: str):
    found = judged(tmp_path, case(given, "[1]"))

    assert found is not None
    assert told in found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (case(rows("core.order", "contact_id: 1"), "[]"), "Did you mean 'core.orders'?"),
        (case("  core.orders:", "[]"), "given   must be tables with lists of rows"),
        (case(ORDERS, "[one]"), "expect   must be a list of contact ids, or of rows"),
        (case(ORDERS, "[]", more="expected: []"), "is not known. Did you mean 'expect'?"),
        (
            case(ORDERS, "[]", more="parameters: {least: [1]}"),
            "parameters   must be values by the parameter's name",
        ),
        (
            case(ORDERS, "[]").replace(AS_OF, "2026-11-01T08:00:00"),
            "as_of   must be a time with its zone, such as 2026-11-01T08:00:00Z",
        ),
        ("description: A case\ngiven: {}\nexpect: []", "as_of   is missing; it must be a time"),
        ("- a", "case   must be lines of `field: value`"),
        ("description: [", "is not YAML"),
    ],
    ids=[
        "a table", "no rows", "words", "a field", "a parameter", "a time without a zone", "no time", "a list",
        "no YAML",
    ],
)  # fmt: skip
def test_a_file_that_is_no_case_is_told_in_words(tmp_path: Path, text: str, told: str):
    with pytest.raises(SegmentInvalid) as refused:
        read_case(write(tmp_path, text))

    assert told in str(refused.value)
    assert "Input should" not in str(refused.value)
    assert refused.value.do == "Cases are described in docs/segments.md"


def test_a_case_says_what_it_is_about_and_when(tmp_path: Path):
    found = read_case(write(tmp_path, case(ORDERS, "[1]")))

    assert isinstance(found, Case)
    assert (found.description, found.as_of.isoformat()) == ("A case", "2026-11-01T08:00:00+00:00")


def test_the_cases_of_a_file_are_found_by_its_layer_and_name(tmp_path: Path):
    for path in ("segments/buyers/b.yaml", "segments/buyers/a.yaml", "marts/value/c.yaml"):
        (tmp_path / "tests/sql" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tests/sql" / path).touch()

    assert [p.stem for p in case_files(tmp_path, file("segments.buyers"))] == ["a", "b"]
    assert [p.stem for p in case_files(tmp_path, file("marts.value"))] == ["c"]
    assert case_files(tmp_path, file("segments.twice")) == []
