"""Campaign files: read whole, refused with every problem at once."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pipelines.campaigns.brands import Address, load_brand
from pipelines.campaigns.campaign import (
    Campaign,
    campaign_key,
    discover,
    load,
    segment_problems,
    slug_of,
)
from pipelines.campaigns.topics import load_topics
from pipelines.errors import CampaignInvalid
from pipelines.message.headers import envelope_address

SLUG = "autumn-thanks"


@pytest.fixture
def workshop(project: Path, tmp_path: Path) -> Path:
    shutil.copytree(project / "assets/templates/brands", tmp_path / "assets/templates/brands")
    shutil.copytree(project / "assets/campaigns" / SLUG, tmp_path / "assets/campaigns" / SLUG)
    shutil.copy(project / "assets/topics.yaml", tmp_path / "assets/topics.yaml")
    return tmp_path


@pytest.fixture
def written(workshop: Path):
    """Loads the campaign with some fields replaced; None takes a field away."""

    def run(**fields: object) -> Campaign:
        path = workshop / "assets/campaigns" / SLUG / "campaign.yaml"
        values = {**yaml.safe_load(path.read_text()), **fields}
        kept = {name: value for name, value in values.items() if value is not None}
        path.write_text(yaml.safe_dump(kept))
        return load(workshop, SLUG)

    return run


def test_the_example_reads_as_it_was_written(project):
    campaign = load(project, SLUG)

    assert campaign.send_at == datetime(2026, 11, 2, 9, 0)  # noqa: DTZ001
    assert campaign.time_zone == "recipient"
    assert campaign.as_of == datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
    assert campaign.audience.include == ["bought_last_30_days"]
    assert [variant.share for variant in campaign.variants] == [0.5, 0.5]
    assert campaign.late_by == timedelta(hours=2)
    assert campaign.hold_out == 0.1


def test_a_bare_date_as_of_is_its_first_moment_in_utc(project):
    campaign = load(project, "online-retail-top")

    assert campaign.as_of == datetime(2011, 11, 1, tzinfo=UTC)


def test_every_problem_is_said_at_once_in_the_house_words(written):
    with pytest.raises(CampaignInvalid) as raised:
        written(
            topic="newz",
            brand="mil",
            time_zone=None,
            hold_out=0.9,
            ownr="x",
            late_by="soon",
            variants=[{"name": "a", "subject": "s", "share": 0.7}] * 2,
        )

    said = str(raised.value)
    assert said.startswith("CampaignInvalid: assets/campaigns/autumn-thanks/campaign.yaml has 8 ")
    for part in (
        "topic      'newz' is not in assets/topics.yaml. Did you mean 'news'?",
        "brand      'mil' is not a brand. Did you mean 'mill'?",
        "send_at    '2026-11-02 09:00' has no time_zone beside it.",
        "ownr       is not a field here. Did you mean 'owner'?",
        "hold_out   0.9: input should be less than or equal to 0.5",
        "late_by    'soon': ",
        "variants   name 'a' is used 2 times",
        "variants   shares add up to 1.4, not to 1",
    ):
        assert part in said
    assert said.endswith("Fix the file, then run: lettermill campaign check autumn-thanks")


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"time_zone": "Europe/Pariss"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"send_at": "2026-11-02T09:00:00Z"}, "send_at"),
        ({"as_of": "2026-11-02 09:00"}, "as_of"),
        ({"owner": "nobody"}, "owner"),
        ({"once_per": "month"}, "once_per"),
        ({"audience": {"include": []}}, "audience.include"),
        ({"audience": {"include": ["a"], "excludes": ["b"]}}, "audience.excludes"),
        ({"variants": [{"name": "a", "subject": "one\ntwo"}]}, "variants[1].subject"),
        ({"variants": []}, "variants"),
        ({"topic": None}, "topic"),
        ({"coupon": "fern", "fields": {"coupon": "NONE-YET"}}, "fields.coupon"),
        ({"segments": ["vip"], "fields": {"segments": "none"}}, "fields.segments"),
    ],
)
def test_a_field_that_cannot_be_is_named(written, fields, where):
    with pytest.raises(CampaignInvalid) as raised:
        written(**fields)

    assert [problem.where for problem in raised.value.problems] == [where]


def test_one_bad_folder_spoils_no_other(workshop):
    other = workshop / "assets/campaigns/other"
    other.mkdir()
    (other / "campaign.yaml").write_text("topic: [\n")

    found = discover(workshop)

    assert isinstance(found[SLUG], Campaign)
    assert isinstance(found["other"], CampaignInvalid)
    assert found["other"].problems[0].where == "line 2"


def test_a_segment_that_is_not_known_is_named_with_a_near_one(project):
    campaign = load(project, SLUG)

    problems = segment_problems(campaign, ["bought_last_30_day", "other"])

    assert [problem.what for problem in problems] == [
        "'bought_last_30_days' does not exist. Did you mean 'bought_last_30_day'?"
    ]
    assert segment_problems(campaign, ["bought_last_30_days"]) == []


def test_a_campaign_that_is_not_there_is_said_with_a_near_one(project):
    with pytest.raises(CampaignInvalid, match="Did you mean 'autumn-thanks'"):
        load(project, "autumn-thank")


@pytest.mark.parametrize("key", ["../x", "a/b", "", "A", "a@", "a@../b", "a" * 61])
def test_a_key_that_could_leave_its_folder_is_refused(key):
    with pytest.raises(CampaignInvalid):
        campaign_key(key)


def test_a_key_knows_its_campaign():
    assert slug_of(campaign_key("weekly@2026-W45")) == "weekly"


def test_topics_have_a_name_for_every_reader(project):
    news = load_topics(project)["news"]

    assert news.name("de-AT") == "Neuigkeiten"
    assert news.name("pt-BR") == news.name() == "News and stories"


def test_a_brand_says_every_problem(workshop):
    path = workshop / "assets/templates/brands/mill.yaml"
    values = {**yaml.safe_load(path.read_text()), "feedback_sender_id": "x", "bounce_domain": "-"}
    path.write_text(yaml.safe_dump(values))

    with pytest.raises(CampaignInvalid) as raised:
        load_brand(workshop, "mill")

    assert {problem.where for problem in raised.value.problems} == {
        "feedback_sender_id",
        "bounce_domain",
    }


@pytest.mark.parametrize("field", ["sender_address", "reply_to"])
@pytest.mark.parametrize(
    "address",
    ["a..b@mill.example", ".a@mill.example", "a.@mill.example", "a@-mill.example", "a@mill-.example",
     "a@mill.e", f"{'a' * 65}@mill.example", f"a@{'b' * 64}.example", f"a@{'b.' * 130}example"],
)  # fmt: skip
def test_a_brand_has_no_address_that_no_envelope_takes(workshop, field, address):
    path = workshop / "assets/templates/brands/mill.yaml"
    values = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**values, field: address}))

    with pytest.raises(CampaignInvalid) as raised:
        load_brand(workshop, "mill")

    assert [problem.where for problem in raised.value.problems] == [field]


@settings(max_examples=200, deadline=None)
@given(
    address=st.from_regex(
        r"[a-z0-9!'+=.-]{1,66}@([a-z0-9-]{1,64}\.){1,4}[a-z0-9-]{1,64}", fullmatch=True
    )
)
def test_what_a_brand_takes_for_an_address_an_envelope_takes_too(address):
    try:
        TypeAdapter(Address).validate_python(address)
    except ValidationError:
        return

    assert envelope_address(address) == address


@pytest.mark.parametrize(
    ("domain", "counts"),
    [
        ("mill.example", True),
        ("m.mill.example", True),
        ("paper.example", False),
        ("ill.example", False),
    ],
)
def test_a_brand_is_signed_for_a_domain_that_is_its_own(workshop, domain, counts):
    path = workshop / "assets/templates/brands/mill.yaml"
    values = {**yaml.safe_load(path.read_text()), "dkim": {"domain": domain, "selectors": ["a1"]}}
    path.write_text(yaml.safe_dump(values))

    if counts:
        assert load_brand(workshop, "mill").dkim.domain == domain
        return
    with pytest.raises(CampaignInvalid) as raised:
        load_brand(workshop, "mill")
    assert [problem.where for problem in raised.value.problems] == ["dkim.domain"]
