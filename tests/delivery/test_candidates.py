"""Whom a campaign's segments name: by the texts that were approved, with the campaign's own parameters."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from pipelines.campaigns.campaign import Campaign
from pipelines.campaigns.sources import changed_since
from pipelines.delivery import approval, candidates
from pipelines.demo.prepare import Demo
from pipelines.errors import CampaignInvalid, Problem, SegmentFailed
from pipelines.lake import Lake
from pipelines.schema import CONTACTS, ORDERS

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
HEADER = "/*\ndescription: A file of the tests\nowner: team:tests\n{}*/\n"
BUYERS = "select contact_id from core.orders group by contact_id"


def text(sql: str, header: str = "") -> str:
    return HEADER.format(header) + sql


def campaign(include: list[str], *exclude: str, **parameters: dict[str, Any]) -> Campaign:
    return Campaign.model_validate({
        "slug": "spring", "owner": "owner@shop.example", "topic": "news", "brand": "mill",
        "audience": {"include": include, "exclude": list(exclude), "parameters": parameters},
        "variants": [{"name": "a", "subject": "A"}],
    })  # fmt: skip


def write(project: Path, **texts: str) -> Path:
    for name, written in texts.items():
        layer, _, stem = name.rpartition("__")
        path = project / "sql" / (layer or "segments") / f"{stem}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written)
    return project


@pytest.fixture
def people(lake: Lake) -> Lake:
    contacts = pl.DataFrame({"contact_id": [1, 2, 3, 4], "city": ["Paris", "Oslo", None, "Rome"]})
    orders = pl.DataFrame({"contact_id": [1, 2, 2], "amount_minor": [100, 200, 300]})
    for table, rows in ((CONTACTS, contacts), (ORDERS, orders)):
        lake.append(table, pl.concat([table.empty(), rows], how="diagonal"))
    return lake


def chosen(asked: Campaign, lake: Lake, texts: dict[str, str], **pins: int) -> pl.DataFrame:
    named = {f"segments.{name}": written for name, written in texts.items()}
    found = candidates.candidates(
        asked, named, lake=lake, pins={n.replace("__", "."): v for n, v in pins.items()}, as_of=NOON
    )
    return found.sort("contact_id")


def test_who_is_in_any_included_segment_and_in_no_excluded_one_is_a_candidate(people: Lake):
    texts = {
        "buyers": text(BUYERS),
        "parisians": text("select contact_id from core.contacts where city = 'Paris'"),
        "romans": text("select contact_id from core.contacts where city in ('Rome', 'Oslo')"),
    }

    found = chosen(campaign(["buyers", "romans"], "parisians"), people, texts)

    assert found["contact_id"].to_list() == [2, 4]


def test_of_a_column_of_two_segments_the_first_one_s_value_counts_where_it_has_any(people: Lake):
    texts = {
        "a": text(
            "select contact_id, 'a' as of, null as town from core.contacts where contact_id < 3"
        ),
        "b": text(
            "select contact_id, 'b' as of, city as town from core.contacts where contact_id > 1"
        ),
    }

    found = chosen(campaign(["a", "b"]), people, texts)

    assert found.rows() == [(1, "a", None), (2, "a", "Oslo"), (3, "b", None), (4, "b", "Rome")]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("7", "'seven'", ["7", "seven"]),
        ("date '2026-01-02'", "$as_of", ["2026-01-02", "2026-11-02 12:00:00.000000+00:00"]),
        ("7", "7.5::double", [7.0, 7.5]),
        ("7::smallint", "7", [7, 7]),
        ("true", "'yes'", ["true", "yes"]),
        ("null", "7", [None, "7"]),
    ],
    ids=[
        "a number and a text",
        "a day and a moment",
        "numbers",
        "whole numbers",
        "a yes",
        "nothing",
    ],
)
def test_columns_of_one_name_and_other_types_go_together(
    people: Lake, one: str, other: str, expected: list[Any]
):
    texts = {
        "a": text(f"select contact_id, {one} as said from core.contacts where contact_id = 1"),
        "b": text(f"select contact_id, {other} as said from core.contacts where contact_id = 2"),
    }

    assert chosen(campaign(["a", "b"]), people, texts)["said"].to_list() == expected


def test_a_campaign_gives_a_segment_its_own_parameters(people: Lake):
    least = text(f"{BUYERS} having sum(amount_minor) >= $least", "parameters: {least: 100}\n")

    usual = chosen(campaign(["rich"]), people, {"rich": least})
    asked = chosen(campaign(["rich"], rich={"least": 400}), people, {"rich": least})

    assert (usual["contact_id"].to_list(), asked["contact_id"].to_list()) == ([1, 2], [2])


def test_everything_is_read_at_one_set_of_versions(people: Lake):
    more = pl.concat([ORDERS.empty(), pl.DataFrame({"contact_id": [4]})], how="diagonal")
    people.append(ORDERS, more)
    texts = {"buyers": text("select contact_id from segments.base"), "base": text(BUYERS)}

    before = chosen(campaign(["buyers"]), people, texts, core__orders=0)
    now = chosen(campaign(["buyers"]), people, texts)

    assert (before["contact_id"].to_list(), now["contact_id"].to_list()) == ([1, 2], [1, 2, 4])


def test_an_empty_segment_gives_no_candidates_and_a_wrong_one_stops(people: Lake):
    nobody = {"buyers": text(f"{BUYERS} having false")}
    twice = {"buyers": text("select contact_id from core.orders")}

    assert chosen(campaign(["buyers"]), people, nobody).is_empty()
    with pytest.raises(SegmentFailed, match="stands more than once"):
        chosen(campaign(["buyers"]), people, twice)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(
        tmp_path,
        sound=text(
            "select contact_id from marts.value where orders >= $least", "parameters: {least: 2}\n"
        ),
        marts__value=text("select contact_id, count(*) as orders from core.orders group by 1"),
        draft=text(BUYERS, "status: draft\n"),
        on_draft=text("select contact_id from segments.draft"),
        old=text(BUYERS, "status: deprecated\n"),
        spoilt="select 1",
        on_nothing=text("select contact_id\nfrom segments.nowhere"),
        checked=text(BUYERS, "checks: {no_rows: [sane]}\n"),
        checks__sane=text("select contact_id from members join marts.value using (contact_id)"),
    )


@pytest.mark.parametrize(
    ("segment", "where", "what"),
    [
        ("soundd", "segment", "'soundd' does not exist. Did you mean 'sound'?"),
        ("draft", "segment draft", "is a draft, and a draft is not mailed"),
        (
            "on_draft",
            "segment on_draft",
            "reads segments.draft, a draft, and a draft is not mailed",
        ),
        ("spoilt", "segment spoilt", "cannot be read; see: lettermill segment check spoilt"),
        (
            "on_nothing",
            "segment on_nothing, line 6",
            "reads segments.nowhere, and there is no sql/segments/nowhere.sql.",
        ),
    ],
)
def test_a_segment_that_cannot_be_mailed_is_told(
    project: Path, segment: str, where: str, what: str
):
    assert candidates.problems(campaign([segment]), project) == [Problem(where, what)]
    assert candidates.problems(campaign(["sound"], segment), project) == [Problem(where, what)]


@pytest.mark.parametrize("segment", ["sound", "old", "checked"])
def test_a_live_or_a_deprecated_segment_may_be_mailed(project: Path, segment: str):
    assert candidates.problems(campaign([segment]), project) == []


@pytest.mark.parametrize(
    ("parameters", "where", "what"),
    [
        ({"sound": {"least": "two"}}, "segment sound, least", "must be a whole number, not 'two'"),
        (
            {"sound": {"leest": 3}},
            "segment sound, leest",
            "is no parameter of sound. Did you mean 'least'?",
        ),
        (
            {"old": {"least": 3}},
            "audience.parameters.old",
            "is no segment that the campaign includes or excludes",
        ),
    ],
    ids=["a word for a number", "a parameter there is not", "a segment it does not name"],
)
def test_a_parameter_a_segment_cannot_take_is_told(
    project: Path, parameters: dict[str, Any], where: str, what: str
):
    assert candidates.problems(campaign(["sound"], **parameters), project) == [Problem(where, what)]


def test_the_texts_to_approve_are_those_of_all_a_segment_stands_on_and_is_checked_by(project: Path):
    texts = candidates.texts(campaign(["sound"], "checked"), project)

    assert set(texts) == {"segments.sound", "marts.value", "segments.checked", "checks.sane"}
    assert texts["marts.value"] == (project / "sql/marts/value.sql").read_text()
    assert candidates.tables(campaign(["sound"], "checked"), texts) == ["core.orders"]


def use(demo: Demo, segment: str, **audience: Any) -> None:
    path = demo.workspace.project / "assets/campaigns" / demo.campaign / "campaign.yaml"
    values = yaml.safe_load(path.read_text())
    values["audience"] = {"include": [segment], **audience}
    path.write_text(yaml.safe_dump(values))


def approve(demo: Demo) -> None:
    approval.approve(demo.campaign, by="test", workspace=demo.workspace)


def frozen(demo: Demo) -> list[int]:
    plan = approval.freeze_audience(demo.campaign, demo.workspace)
    return plan.frame["contact_id"].sort().to_list()


TOP = text("select contact_id, orders from segments.middle")
MIDDLE = text(
    "select contact_id, count(*) as orders from core.orders group by contact_id having count(*) >= $least",
    "parameters: {least: 1}\n",
)


@pytest.mark.slow
def test_what_a_segment_stands_on_is_frozen_with_it_and_told_when_it_changed(demo: Demo):
    project = write(demo.workspace.project, top=TOP, middle=MIDDLE)
    use(demo, "top")
    approve(demo)
    before = frozen(demo)

    write(project, middle=MIDDLE.replace("least: 1", "least: 3"))

    assert frozen(demo) == before != []
    bundle = approval.approved(demo.campaign, demo.workspace)
    assert changed_since(bundle, project) == ["sql/segments/middle.sql"]
    assert set(bundle.segments) == {"segments.top", "segments.middle"}


@pytest.mark.slow
def test_parameters_of_the_campaign_are_approved_with_it(demo: Demo):
    # A text that looks like a date is one to whoever reads the approval again.
    dated = "parameters: {least: 1, since: 2020-01-01, until: '2020-01-02'}"
    asked = "having $since < $until::date and"
    middle = MIDDLE.replace("having", asked).replace("parameters: {least: 1}", dated)
    write(demo.workspace.project, middle=middle)
    use(demo, "middle", parameters={"middle": {"least": 3, "until": "2026-01-01"}})

    approve(demo)

    orders = demo.workspace.lake.read("core.orders").group_by("contact_id").len()
    often = orders.filter(pl.col("len") >= 3).collect()["contact_id"]
    assert frozen(demo) == often.sort().to_list() != []


@pytest.mark.slow
def test_a_draft_further_up_is_not_approved(demo: Demo):
    write(demo.workspace.project, top=TOP, middle=MIDDLE.replace("*/", "status: draft\n*/"))
    use(demo, "top")

    with pytest.raises(CampaignInvalid, match=r"reads segments\.middle, a draft"):
        approve(demo)


def test_a_candidate_is_told_which_of_the_message_s_segments_they_are_in(people: Lake):
    texts = {
        "buyers": text(BUYERS),
        "parisians": text("select contact_id from core.contacts where city = 'Paris'"),
        "everybody": text("select contact_id from core.contacts"),
    }
    asked = campaign(["buyers"]).model_copy(update={"segments": ["parisians", "everybody"]})

    found = chosen(asked, people, texts)

    told = dict(found.select("contact_id", "segments").rows())
    assert told == {1: ["parisians", "everybody"], 2: ["everybody"]}
