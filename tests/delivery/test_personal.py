"""What is personal goes the whole road: from segments and pools to what the sink received."""

from __future__ import annotations

import json
import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import polars as pl
import pytest
import yaml

from pipelines.campaigns.bundle import save
from pipelines.delivery import approval
from pipelines.delivery.coupons import Coupons, Pool
from pipelines.delivery.sending import send_campaign
from pipelines.demo.prepare import Demo
from pipelines.errors import CampaignInvalid, SendHeld
from pipelines.schema import AUDIENCE

pytestmark = pytest.mark.slow
LETTER = """[% extends "layouts/letter.mjml.j2" %][% block content %][% call text() %]
<p>Code {{ coupon }}.{% if 'vip' in segments %} Best of all.{% endif %}</p>[% endcall %][% endblock %]"""


@pytest.fixture
def coded(demo: Demo) -> Demo:
    """The shop, its campaign written anew with codes and a segment that reads something else."""
    folder = demo.workspace.project / "assets/campaigns" / demo.campaign
    (folder / "body.mjml.j2").write_text(LETTER)
    file = folder / "campaign.yaml"
    values = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**values, "coupon": "autumn", "segments": ["vip"]}))
    return demo


def frozen(demo: Demo) -> dict[int, dict[str, object]]:
    """What the audience holds for each contact to mail, beside the contact's own fields."""
    rows = demo.workspace.lake.read(AUDIENCE.name).filter(
        pl.col("campaign") == demo.campaign, pl.col("decision") == "mail"
    )
    found = pl.DataFrame(rows.select("contact_id", "fields").collect())
    return {contact: json.loads(fields) for contact, fields in found.rows()}


def received(demo: Demo) -> list[EmailMessage]:
    mails = (demo.home.sink / "new").glob("*")
    return [message_from_bytes(path.read_bytes(), policy=default) for path in mails]  # type: ignore[misc]


def load(demo: Demo, count: int) -> Coupons:
    coupons = Coupons(demo.home.coupons)
    coupons.load("autumn", [f"AUT-{number:05}" for number in range(count)])
    return coupons


def test_without_a_pool_or_with_too_few_codes_nothing_is_approved(coded: Demo):
    with pytest.raises(CampaignInvalid, match="there is no pool of coupons 'autumn'"):
        approval.approve(coded.campaign, by="test", workspace=coded.workspace)
    load(coded, 3)
    with pytest.raises(CampaignInvalid) as refused:
        approval.approve(coded.campaign, by="test", workspace=coded.workspace)

    assert "codes too few" in refused.value.problems[0].what


def test_everybody_is_mailed_a_code_of_their_own_and_members_read_something_else(coded: Demo):
    coupons = load(coded, 1_000)
    approval.approve(coded.campaign, by="test", workspace=coded.workspace)
    approval.freeze_audience(coded.campaign, coded.workspace)
    planned = frozen(coded)

    send_campaign(coded.campaign, coded.workspace)

    texts = [mail.get_body(("plain",)).get_content() for mail in received(coded)]  # type: ignore[union-attr]
    codes = [re.findall(r"Code (AUT-\d{5})", text) for text in texts]
    assert sorted(code for found in codes for code in found) == sorted(
        str(fields["coupon"]) for fields in planned.values()
    )
    assert len({code for found in codes for code in found}) == len(planned)
    best = sum("Best of all" in text for text in texts)
    assert best == sum(fields["segments"] == ["vip"] for fields in planned.values())
    assert 0 < best < len(texts)
    assert coupons.pools() == [Pool("autumn", 1_000, len(planned))]


def test_whoever_is_planned_again_has_the_same_code(coded: Demo):
    load(coded, 1_000)
    approval.approve(coded.campaign, by="test", workspace=coded.workspace)
    approval.freeze_audience(coded.campaign, coded.workspace)
    first = frozen(coded)

    approval.freeze_audience(coded.campaign, coded.workspace)

    assert frozen(coded) == first


def test_only_the_columns_a_message_may_name_are_kept_for_it(demo: Demo):
    sql = demo.workspace.project / "sql/segments/bought_last_30_days.sql"
    odd = "'X' as coupon, 'tlh' as locale, 5 as _open, contact_id"
    sql.write_text(sql.read_text().replace("    contact_id,", f"    {odd},", 1))
    approval.approve(demo.campaign, by="test", workspace=demo.workspace)

    approval.freeze_audience(demo.campaign, demo.workspace)

    assert {tuple(fields) for fields in frozen(demo).values()} == {()}


def test_an_audience_far_from_what_was_approved_takes_no_codes(coded: Demo):
    coupons = load(coded, 1_000)
    bundle = approval.approve(coded.campaign, by="test", workspace=coded.workspace)
    save(bundle.model_copy(update={"expected_recipients": 10}), coded.home.approvals)

    with pytest.raises(SendHeld, match="is held"):
        approval.freeze_audience(coded.campaign, coded.workspace)

    assert coupons.pools() == [Pool("autumn", 1_000, 0)]
