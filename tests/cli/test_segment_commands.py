"""`lettermill segment …` and `lettermill mart …`, run in this process on a small home of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.lake import Lake
from pipelines.schema import CONSENTS, CONTACTS, ORDERS, Table
from pipelines.settings import CHECKOUT, HomeKind, make_home

from .said import Call, calling

HEADER = "/*\ndescription: {}\nowner: team:crm\n{}*/\n"
BUYERS = (
    "select\n    contact_id,\n    max(ordered_at) as last_ordered_at\nfrom core.orders\nwhere\n"
    "    ordered_at > $as_of - to_days($days)\n    and ordered_at <= $as_of\ngroup by contact_id\n"
)
EVERYBODY = "select contact_id, first_name, address, birth_on from core.contacts\n"
CASE = """\
description: A month ago is too long ago [by a day]
as_of: 2026-11-01T08:00:00Z
given:
  core.orders:
    - {contact_id: 1, ordered_at: 2026-10-01T08:00:00Z}
    - {contact_id: 2, ordered_at: 2026-10-31T08:00:00Z}
expect: [2]
"""
PEOPLE = (
    ("ada@shop.example", "Ada"),
    ("bert@shop.example", "Bert"),
    ("cleo@shop.example", "Cleo [x]"),
    ("dora@shop.example", "Dora"),
)
GIT = (
    "git",
    "-c",
    "user.name=ines",
    "-c",
    "user.email=i@shop.example",
    "-c",
    "commit.gpgsign=false",
)


@dataclass(frozen=True)
class Place:
    """A home and a project."""

    home: Path
    project: Path

    @property
    def lake(self) -> Lake:
        return Lake(self.home / "lake")

    @property
    def versions(self) -> dict[str, int | None]:
        return {name: self.lake.version(name) for name in self.lake.names()}

    def write(self, path: str, text: str) -> None:
        file = self.project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def segment(self, name: str, sql: str, header: str = "", description: str = "") -> None:
        about = description or "Contacts of the tests"
        self.write(f"sql/segments/{name}.sql", HEADER.format(about, header) + sql)

    def order(self, contact: int, days_ago: float) -> None:
        at = datetime.now(UTC) - timedelta(days=days_ago)
        put(self.lake, ORDERS, {"contact_id": contact, "ordered_at": at, "status": "completed"})


def put(lake: Lake, table: Table, *rows: dict[str, Any]) -> None:
    whole = [{column: row.get(column) for column in table.columns} for row in rows]
    lake.append(table, pl.DataFrame(whole, schema=table.schema))


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ada (1) bought yesterday, bert (2) twenty days ago, cleo (3) two months ago, dora (4) never."""
    root = tmp_path_factory.mktemp("segments")
    place = Place(root / "home", root / "project")
    make_home(place.home, kind=HomeKind.DEVELOPMENT, at=datetime.now(UTC))
    born = date(1990, 4, 3)
    people = [
        {"contact_id": n, "address": a, "address_normalised": a, "first_name": f, "birth_on": born}
        for n, (a, f) in enumerate(PEOPLE, 1)
    ]
    put(place.lake, CONTACTS, *people)
    granted = {"purpose": "marketing", "status": "granted", "recorded_at": datetime.now(UTC)}
    put(place.lake, CONSENTS, *({"contact_id": n, "topic": "news", **granted} for n in (1, 3)))
    for contact, days in ((1, 1), (2, 20), (3, 60)):
        place.order(contact, days)
    place.segment("buyers", BUYERS, "parameters: {days: 30}\n", "Who bought in the last $days days")
    place.segment("everybody", EVERYBODY, description="Each contact [all] of them")
    place.segment("loyal", "select contact_id from segments.buyers where contact_id < 2\n")
    for name in ("buyers", "everybody", "loyal"):
        case = CASE if name == "buyers" else CASE.split("given")[0] + "given: {}\nexpect: []\n"
        place.write(f"tests/sql/segments/{name}/window.yaml", case)
    mart = "select contact_id, count(*) as orders from core.orders group by contact_id\n"
    place.write("sql/marts/value.sql", HEADER.format("Orders of each buyer", "") + mart)
    place.write("assets/campaigns/spring/campaign.yaml", "audience: {include: [buyers]}\n")
    place.write("assets/topics.yaml", (CHECKOUT / "assets/topics.yaml").read_text())
    return root


@pytest.fixture
def place(_made: Path, tmp_path: Path) -> Place:
    shutil.copytree(_made, tmp_path / "all")
    return Place(tmp_path / "all/home", tmp_path / "all/project")


@pytest.fixture
def call(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command, as `call("segment", "list")`: an error leaves words and no traceback."""
    return calling(place.home, place.project, monkeypatch, capsys)


def rows_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


# list, new, check, test


def test_segments_are_listed_with_status_owner_and_what_they_are_for(call: Call, place: Place):
    place.write("sql/segments/spoilt.sql", "select 1")

    said = call("segment", "list").fine()

    assert "Each contact [all] of them" in said.out
    assert rows_of(said.out)[0] == ["segment", "status", "owner", "description"]
    assert "lettermill segment check spoilt" in said.out
    assert "Who bought in the last 30 days" in said.out


def test_the_list_as_json_is_one_object_for_each_segment(call: Call, place: Place):
    place.segment("old", BUYERS.replace("$days", "3"), "status: deprecated\n")
    place.write("sql/segments/spoilt.sql", "select 1")

    found = {each["segment"]: each for each in call("segment", "list", "--json").fine().json()}

    assert {name: each["status"] for name, each in found.items()} == {
        "buyers": "live", "everybody": "live", "loyal": "live", "old": "deprecated", "spoilt": "unreadable",
    }  # fmt: skip
    assert found["buyers"]["owner"] == "team:crm"


def test_a_new_segment_is_a_draft_that_can_be_checked_tested_and_previewed_at_once(
    call: Call, place: Place
):
    said = call("segment", "new", "fresh", "--owner", "ines@shop.example").fine()

    assert "sql/segments/fresh.sql" in said.err
    assert "tests/sql/segments/fresh/first.yaml" in said.err
    assert "owner: ines@shop.example" in (place.project / "sql/segments/fresh.sql").read_text()
    assert "✓ 1 of 1 can be run" in call("segment", "check", "fresh").fine().err
    assert "✓ 1 cases" in call("segment", "test", "fresh").fine().err
    assert "2 contacts, 50.0% of 4" in call("segment", "preview", "fresh").fine().out


@pytest.mark.parametrize("name", ["Fresh", "a-b", "../x", "2nd", "a b", "history", "runs"])
def test_a_new_segment_needs_a_name_that_a_table_may_have(call: Call, place: Place, name: str):
    call("segment", "new", name).refused("that is no name for a segment", name)

    assert len(list((place.project / "sql/segments").iterdir())) == 3


def test_a_new_segment_takes_nobody_s_place(call: Call, place: Place):
    before = (place.project / "sql/segments/buyers.sql").read_text()

    call("segment", "new", "buyers").refused(
        "sql/segments/buyers.sql is there already", "lettermill segment check buyers"
    )

    assert (place.project / "sql/segments/buyers.sql").read_text() == before


def test_a_project_without_a_mistake_passes_its_check(call: Call):
    assert call("segment", "check").fine().err.splitlines()[-1] == "✓ 3 of 3 can be run"
    assert call("segment", "check", "loyal").fine().err == "✓ 1 of 1 can be run\n"


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select contact_id\nfrom core.order", "line 6   'core.order' is not a table"),
        (
            "select contact_id,\n    cty\nfrom core.contacts",
            'line 6   Referenced column "cty" not found',
        ),
        (
            "select first_name from core.contacts",
            "contact_id   must be returned, as a whole number",
        ),
        (
            "select contact_id from segments.wrong",
            "is built on itself: segments.wrong → segments.wrong",
        ),
        ("select contact_id from segments.buyer", "Did you mean 'buyers'?"),
    ],
    ids=["a table", "a column", "no contact_id", "a circle", "a segment there is not"],
)
def test_what_keeps_a_segment_from_running_is_told_and_nothing_else_is_wrong(
    call: Call, place: Place, sql: str, told: str
):
    place.segment("wrong", sql)

    one = call("segment", "check", "wrong").refused(told)
    everything = call("segment", "check").refused("✗ wrong", told)

    assert "Traceback" not in one.err
    assert everything.err.count("✗") == 1


def test_what_a_reviewer_would_say_is_a_warning_and_no_failure(call: Call, place: Place):
    place.segment(
        "silent",
        "select contact_id from core.engagement where opened_90_days = 0 and $as_of > '2020-01-01'",
    )

    without_a_case = call("segment", "check", "silent")
    case = "description: nobody\nas_of: 2026-11-01T08:00:00Z\ngiven: {}\nexpect: []\n"
    place.write("tests/sql/segments/silent/nobody.yaml", case)
    said = call("segment", "check", "silent").fine()

    assert "! silent" in said.err
    assert "asks who opened and not who could be seen to" in said.err
    without_a_case.refused("is live and has no case under tests/sql/segments/silent/")


def test_a_segment_there_is_not_is_told_with_the_one_that_may_be_meant(call: Call):
    call("segment", "check", "buyer").refused(
        "there is no segment 'buyer'. Did you mean 'buyers'?", "lettermill segment list"
    )


def test_a_segment_that_was_removed_names_who_needs_it(call: Call, place: Place):
    (place.project / "sql/segments/buyers.sql").unlink()

    one = call("segment", "check", "buyers").refused("there is no segment 'buyers'")
    everything = call("segment", "check").refused("buyers   is used by spring, and is not there.")

    assert "spring" in one.err
    assert "sql/segments/loyal.sql   reads it" in one.err
    assert "✗ loyal" in everything.err


def test_a_segment_that_was_renamed_is_told_to_the_campaign_that_uses_it(call: Call, place: Place):
    (place.project / "sql/segments/buyers.sql").rename(place.project / "sql/segments/buyers_2.sql")

    call("segment", "check").refused(
        "buyers   is used by spring, and is not there. Did you mean 'buyers_2'?"
    )


def test_a_case_that_fails_fails_the_command_with_the_difference(call: Call, place: Place):
    place.write("tests/sql/segments/buyers/window.yaml", CASE.replace("expect: [2]", "expect: [1]"))

    said = call("segment", "test", "buyers").refused("missing [1], not expected [2]")

    assert "✗ buyers/window: A month ago is too long ago [by a day]" in said.err
    assert "✗ 1 of 1 failed" in said.err


def test_the_cases_of_all_segments_are_run_and_one_that_cannot_be_read_fails(
    call: Call, place: Place
):
    assert "✓ 3 cases" in call("segment", "test").fine().err

    place.write("tests/sql/segments/loyal/more.yaml", "description: [")

    call("segment", "test").refused("✗ loyal/more", "is not YAML", "✗ 1 of 4 failed")


def test_a_segment_without_a_case_says_so(call: Call, place: Place):
    place.segment("bare", EVERYBODY)

    assert "there is no case to run" in call("segment", "test", "bare").fine().err


# preview


def test_a_preview_tells_size_change_reach_and_a_sample_and_writes_nothing(
    call: Call, place: Place
):
    before = place.versions

    said = call("segment", "preview", "buyers").fine()

    assert "Who bought in the last 30 days" in said.out
    assert "2 contacts, 50.0% of 4" in said.out
    assert "never run before: nothing to compare with" in said.out
    assert ["news", "1", "1", "0", "0", "0"] in rows_of(said.out)
    assert "a•••@shop.example" in said.out
    assert place.versions == before


def test_a_preview_after_a_run_tells_who_came_and_who_left_since(call: Call, place: Place):
    call("segment", "run", "buyers").fine()
    place.order(4, 2)

    found = call("segment", "preview", "buyers", "--json").fine().json()
    said = call("segment", "preview", "buyers").fine()

    assert (found["size"], found["joined"], found["left"]) == (3, 1, 0)
    assert datetime.fromisoformat(found["last_run"]).tzinfo is not None
    assert "since" not in found
    assert "1 joined, 0 left" in said.out


def test_a_preview_as_json_tells_everything_it_shows(call: Call):
    found = call("segment", "preview", "everybody", "--json").fine().json()

    assert (found["size"], found["contacts"], found["share"]) == (4, 4, 1.0)
    assert found["versions"] == {"core.contacts": 0}
    assert found["bytes_read"] > 0
    assert found["seconds"] > 0
    assert {each["topic"]: each["mailable"] for each in found["reach"]}["news"] == 2
    assert found["sample"][0]["address"] == "a•••@shop.example"
    assert found["failed_checks"] == found["overlap"] == found["read_as_now"] == []


def test_a_preview_tells_who_moved_since_a_date(call: Call, place: Place):
    early = datetime.now(UTC) - timedelta(days=10)
    call("segment", "run", "buyers", "--as-of", early.isoformat()).fine()
    call("segment", "run", "buyers").fine()

    known = call(
        "segment", "preview", "buyers", "--since", early.date().isoformat(), "--json"
    ).json()
    unknown = call("segment", "preview", "buyers", "--since", "2020-01-01").fine()
    after = (early + timedelta(days=1)).isoformat()
    moved = call("segment", "preview", "buyers", "--since", after, "--json").fine().json()

    assert (known["since_joined"], known["since_left"]) == (None, None)
    assert "since 2020-01-01: not known: no run of then" in unknown.out
    assert (moved["since_joined"], moved["since_left"]) == (1, 0)


def test_a_preview_takes_other_values_of_the_parameters(call: Call):
    found = call("segment", "preview", "buyers", "--set", "days=90", "--json").fine().json()

    assert found["size"] == 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("days", "--set 'days' has no value"),
        ("dais=9", "is no parameter of buyers. Did you mean 'days'?"),
        ("days=many", "must be a whole number, not 'many'"),
        ("days=[1", "must be a whole number, not '[1'"),
        ("days=1.5", "must be a whole number, not '1.5'"),
    ],
)
def test_a_value_that_no_parameter_takes_is_told(call: Call, given: str, told: str):
    said = call("segment", "preview", "buyers", "--set", given).refused(told)

    assert "Traceback" not in said.err


def test_a_preview_of_a_time_of_which_no_version_is_kept_says_so(call: Call):
    past = (datetime.now(UTC) - timedelta(days=10)).isoformat()

    found = call("segment", "preview", "buyers", "--as-of", past, "--json").fine().json()
    said = call("segment", "preview", "buyers", "--as-of", past).fine()

    assert found["size"] == 1
    assert found["read_as_now"] == ["core.consents", "core.contacts", "core.orders"]
    assert "for no version of then is kept: core.consents, core.contacts, core.orders" in said.err


def test_a_preview_of_a_time_reads_the_versions_of_then(call: Call, place: Place):
    then = datetime.now(UTC)
    place.order(4, 1)

    found = (
        call("segment", "preview", "buyers", "--as-of", then.isoformat(), "--json").fine().json()
    )

    assert (found["size"], found["read_as_now"]) == (2, [])


def test_a_time_that_is_none_is_told(call: Call):
    call("segment", "preview", "buyers", "--as-of", "soon").refused(
        "--as-of 'soon' is not a time", "2026-11-01T08:00:00+01:00"
    )


def test_a_preview_shows_which_checks_would_fail_and_does_not(call: Call, place: Place):
    place.segment("few", "select contact_id from core.contacts where contact_id > 9")

    said = call("segment", "preview", "few").fine()

    assert "! not_empty: nobody is in it" in said.out


def test_a_preview_of_ids_that_nobody_has_tells_so(call: Call, place: Place):
    call("segment", "run", "everybody").fine()
    place.segment("wrong", "select unnest([null, -1, 4611686018427387904]) as contact_id")

    said = call("segment", "preview", "wrong").fine()

    assert "contact_id_is_there: is empty in 1 rows" in said.out
    assert "contact_id_is_known: names 2 contacts the lake does not know" in said.out


def test_a_preview_shows_the_other_segments_that_share_most(call: Call):
    call("segment", "run").fine()

    found = call("segment", "preview", "buyers", "--json").fine().json()
    said = call("segment", "preview", "buyers").fine()

    assert found["overlap"] == [
        {"segment": "everybody", "shared": 2, "size": 4},
        {"segment": "loyal", "shared": 1, "size": 1},
    ]
    assert ["everybody", "2", "100%", "50%"] in rows_of(said.out)


# run and members


def test_a_run_keeps_the_members_and_tells_how_many_came_and_left(call: Call, place: Place):
    said = call("segment", "run", "buyers").fine()

    assert "✓ buyers: 2 contacts, +2 −0" in said.err
    assert said.out == ""
    assert place.lake.read("segments.buyers").collect()["contact_id"].sort().to_list() == [1, 2]


def test_what_cannot_have_changed_is_left_alone_until_it_is_forced(call: Call, place: Place):
    call("segment", "run", "everybody").fine()
    before = place.versions

    again = call("segment", "run", "everybody").fine()
    unchanged = place.versions
    forced = call("segment", "run", "everybody", "--force").fine()

    assert "– everybody: 4 contacts, nothing it reads has changed" in again.err
    assert unchanged == before
    assert "✓ everybody: 4 contacts, +0 −0" in forced.err
    assert place.versions["segments.everybody"] == 1


def test_what_asks_the_time_is_run_each_time(call: Call, place: Place):
    for _ in range(2):
        call("segment", "run", "loyal").fine()

    assert place.versions["segments.loyal"] == 1


def test_a_failing_check_keeps_the_last_good_members(call: Call, place: Place):
    call("segment", "run", "buyers").fine()
    before = place.versions
    place.segment("buyers", BUYERS.replace("$days", "3"), "checks: {rows_at_least: 5}\n")

    call("segment", "run", "buyers").refused(
        "At least 5 contacts are in it; there are 1",
        "Nothing was written; the last good members stay",
    )

    assert place.versions == {**before, "segments.runs": before["segments.runs"] + 1}


def test_one_that_fails_or_cannot_be_read_keeps_no_other_from_running(call: Call, place: Place):
    place.segment("draft", EVERYBODY, "status: draft\n")
    place.segment("few", "select contact_id from core.contacts where contact_id > 9")
    place.write("sql/segments/spoilt.sql", "select 1")

    said = call("segment", "run").refused("✗ few", "✗ spoilt", "✗ 2 of 5 failed")

    assert "draft" not in said.err
    assert [name for name in place.versions if name in ("segments.buyers", "segments.loyal")] == [
        "segments.buyers",
        "segments.loyal",
    ]


def test_a_run_of_an_earlier_time_is_refused(call: Call):
    call("segment", "run", "buyers").fine()

    early = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    call("segment", "run", "buyers", "--as-of", early).refused(
        "would be set back in time", "lettermill segment preview buyers --as-of TIME"
    )


def test_members_are_those_of_the_run_before_a_time(call: Call):
    early = datetime.now(UTC) - timedelta(days=10)
    call("segment", "run", "buyers", "--as-of", early.isoformat()).fine()
    call("segment", "run", "buyers").fine()

    then = call("segment", "members", "buyers", "--at", early.isoformat()).fine()
    now = call("segment", "members", "buyers").fine()

    assert (then.out, now.out) == ("2\n", "1\n2\n")
    assert "2 contacts in buyers at" in now.err
    call("segment", "members", "buyers", "--at", "2020-01-01").refused(
        "nobody knows who was in buyers at 2020-01-01", "its first run came later"
    )


def test_members_come_as_csv_and_json_and_with_addresses_only_when_asked(call: Call):
    call("segment", "run", "everybody").fine()

    csv = call("segment", "members", "everybody", "--csv").fine()
    found = call("segment", "members", "everybody", "--json", "--show-addresses").fine().json()

    assert csv.out.splitlines()[0] == "contact_id,joined_at"
    assert [each["address"] for each in found] == [address for address, _ in PEOPLE]


def test_members_of_a_segment_that_was_never_run_are_told_how_to_be_known(call: Call):
    call("segment", "members", "buyers").refused(
        "it was never run", "Run it: lettermill segment run buyers"
    )


# explain, why, diff


def test_explaining_tells_inputs_their_age_and_the_costly_steps(call: Call):
    said = call("segment", "explain", "loyal").fine()

    assert re.search(r"core\.orders +2 +\d+ min ago +3 +0\.0 MB", said.out)
    assert "stands on segments.buyers, which run with it" in said.out
    assert "reads core.orders (contact_id" in said.out
    assert "s of processor time" in said.out


def test_explaining_as_json_tells_the_same(call: Call):
    found = call("segment", "explain", "loyal", "--json").fine().json()

    assert [(each["table"], each["version"], each["rows"]) for each in found["inputs"]] == [
        ("core.orders", 2, 3)
    ]
    assert found["stands_on"] == ["segments.buyers"]
    assert found["steps"]


def test_why_shows_where_somebody_is_present_and_that_they_are_in_it(call: Call):
    said = call("segment", "why", "loyal", "ADA@shop.example").fine()

    assert "contact 1 is in loyal as of" in said.out
    assert "✓ file segments.buyers: 1 row" in said.out
    assert "✓ the final SELECT: 1 row" in said.out
    assert "last_ordered_at" in said.out


@pytest.mark.parametrize(
    ("address", "place_of"),
    [("cleo@shop.example", "the final SELECT"), ("bert@shop.example", "the final SELECT")],
)
def test_why_names_where_somebody_is_first_missing(call: Call, address: str, place_of: str):
    said = call("segment", "why", "loyal", address).fine()

    assert "is not in loyal" in said.out
    assert f"First missing from {place_of}." in said.out


def test_why_as_json_tells_each_stage(call: Call):
    found = call("segment", "why", "loyal", "cleo@shop.example", "--json").fine().json()

    assert [(each["kind"], each["name"], each["rows"]) for each in found] == [
        ("file", "segments.buyers", []),
        ("result", "loyal", []),
    ]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("nobody@shop.example", "no contact has that address"),
        ("nobody", "that is no e-mail address"),
        ("", "address is missing"),
    ],
)
def test_an_address_nobody_has_is_told_and_not_repeated(call: Call, address: str, told: str):
    said = call("segment", "why", "loyal", address).refused(told)

    assert not address or address not in said.err
    assert "Traceback" not in said.err


def commit(place: Place) -> None:
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "first")):
        subprocess.run([*GIT, *words], cwd=place.project, check=True, capture_output=True)


def test_a_diff_runs_both_versions_on_the_same_data(call: Call, place: Place):
    commit(place)
    place.segment("buyers", BUYERS.replace("$days", "10") + "union all select 4, null")

    found = call("segment", "diff", "buyers", "--from", "HEAD", "--json").fine().json()
    said = call("segment", "diff", "buyers", "--from", "HEAD").fine()

    assert {each: found[each] for each in ("before", "after", "joined", "left", "changed")} == {
        "before": 2, "after": 2, "joined": 1, "left": 1, "changed": 0,
    }  # fmt: skip
    assert found["only_now"][0]["address"] == "d•••@shop.example"
    assert found["only_before"][0]["address"] == "b•••@shop.example"
    assert "1 only now, 1 only before, 0 with other columns" in said.out


def test_a_diff_from_what_is_no_revision_is_told(call: Call, place: Place):
    call("segment", "diff", "buyers", "--from", "HEAD").refused("not a git repository")

    commit(place)

    call("segment", "diff", "buyers", "--from", "nowhere").refused(
        "that revision cannot be read", "such as --from HEAD~1"
    )


# what is shown of people


def test_no_name_no_birthday_and_no_address_is_shown_unless_asked_for(call: Call, place: Place):
    place.segment("everybody", EVERYBODY + "where contact_id > 1")
    commit(place)
    place.segment("everybody", EVERYBODY + "where contact_id < 4")
    commands = {
        words: call("segment", *words.split()).fine()
        for words in (
            "run everybody",
            "preview everybody",
            "preview everybody --json",
            "why everybody ada@shop.example",
            "why everybody ada@shop.example --json",
            "diff everybody --from HEAD",
            "diff everybody --from HEAD --json",
            "members everybody --csv",
            "explain everybody",
        )
    }

    personal = [*(word for each in PEOPLE for word in each), "1990-04-03"]
    shown = {
        words: [each for each in personal if each in said.out + said.err]
        for words, said in commands.items()
    }
    assert shown == {words: [] for words in commands}


def test_addresses_are_shown_to_who_asks_for_them(call: Call):
    call("segment", "run", "everybody").fine()

    shown = [
        call("segment", *words.split(), "--show-addresses").fine().out
        for words in (
            "preview everybody",
            "why everybody cleo@shop.example",
            "members everybody --csv",
        )
    ]

    assert all("cleo@shop.example" in text for text in shown)
    assert all("Cleo [x]" in text for text in shown[:2])


def test_what_a_shared_check_returns_is_told_without_names(call: Call, place: Place):
    place.write(
        "sql/checks/nobody.sql",
        HEADER.format("No member has an address", "")
        + "select address from members join core.contacts using (contact_id) order by all",
    )
    place.segment("buyers", BUYERS.replace("$days", "30"), "checks: {no_rows: [nobody]}\n")

    said = call("segment", "run", "buyers").refused("returned 2 rows, such as a•••, b•••")

    assert "ada" not in said.err


# marts, and the command itself


def test_marts_are_listed_checked_made_and_kept(call: Call, place: Place):
    assert ["value", "one", "row", "per", "contact", "Orders", "of", "each", "buyer"] in rows_of(
        call("mart", "list").fine().out
    )
    call("mart", "check").refused("is live and has no case under tests/sql/marts/value/")
    assert "there is no case to run" in call("mart", "test").fine().err

    said = call("mart", "run", "value").fine()

    assert "✓ marts.value: 3 rows" in said.err
    assert place.lake.read("marts.value").collect().height == 3


def test_a_mart_there_is_not_is_told(call: Call):
    call("mart", "run", "valu").refused(
        "there is no mart 'valu'. Did you mean 'value'?", "lettermill mart list"
    )


def test_a_command_without_its_segment_is_used_wrongly(call: Call):
    assert call("segment", "preview").code == 2
    assert call("segment", "diff", "buyers").code == 2


@pytest.mark.slow
def test_the_real_command_ends_with_1_and_words_on_stderr(place: Place):
    (place.project / "sql/segments/spoilt.sql").write_text("select 1")
    ours = {"LETTERMILL_HOME": str(place.home), "LETTERMILL_PROJECT": str(place.project)}
    others = {name: text for name, text in os.environ.items() if not name.startswith("LETTERMILL_")}

    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli.command", "segment", "check", "spoilt"],
        env={**others, **ours},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert "line 1   begins without a header" in done.stderr
    assert "Traceback" not in done.stderr
