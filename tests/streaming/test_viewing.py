"""A message again, as a page for the browser of whoever got it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from starlette.testclient import TestClient

from pipelines.campaigns import bundle
from pipelines.campaigns.campaign import CampaignKey, load
from pipelines.lake import Lake
from pipelines.message.compile import compile_message
from pipelines.message.tokens import Purpose, Token, sign
from pipelines.schema import AUDIENCE, CONTACTS

if TYPE_CHECKING:
    from conftest import Campaigning

KEY = "autumn-thanks"


@pytest.fixture
def sent(campaigning: Campaigning, lake: Lake, project: Path) -> Campaigning:
    """The example campaign, planned for Ada, who was mailed, and for contact 2, who was held out."""
    campaign = load(project, KEY)
    message = compile_message(campaign, project=project).model_dump(mode="json")
    like = bundle.load_current("spring", campaigning.home.approvals)
    assert like is not None
    changed = {"campaign": campaign, "key": CampaignKey(KEY), "message": message}
    bundle.save(like.model_copy(update=changed), campaigning.home.approvals)
    contacts = [
        {
            "contact_id": 1,
            "address": "ada@shop.example",
            "first_name": "Ada<b>",
            "attributes": "{}",
        },
        {"contact_id": 2, "address": "bert@shop.example", "first_name": "Bert", "attributes": "{}"},
    ]
    lake.append(CONTACTS, pl.DataFrame(contacts, schema=CONTACTS.schema))
    planned = [
        {"contact_id": 1, "decision": "mail", "variant": campaign.variants[0].name, "fields": "{}"},
        {"contact_id": 2, "decision": "hold_out", "fields": "{}"},
    ]
    rows = pl.DataFrame([{"campaign": KEY, **each} for each in planned], schema=AUDIENCE.schema)
    lake.append(AUDIENCE, rows)
    return campaigning


def address(sent: Campaigning, contact_id: int, *, campaign: str = KEY) -> str:
    return f"/v/{sign(Token(Purpose.VIEW, campaign, contact_id), sent.home.key('links'))}"


def test_who_got_it_sees_it_with_their_values_and_links_that_lead_straight(
    browser: TestClient, sent: Campaigning
) -> None:
    answer = browser.get(address(sent, 1))

    assert answer.status_code == 200
    assert "Ada&lt;b&gt;" in answer.text
    assert 'href="https://shop.example/' in answer.text
    assert "/u/" in answer.text
    assert "/c/" not in answer.text
    assert "/o/" not in answer.text


def test_looking_is_not_counted(browser: TestClient, sent: Campaigning) -> None:
    browser.get(address(sent, 1))
    browser.head(address(sent, 1))

    assert sent.logged() == []


def test_nothing_in_it_can_run_or_send(browser: TestClient, sent: Campaigning) -> None:
    policy = browser.get(address(sent, 1)).headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "form-action 'none'" in policy
    assert "script-src" not in policy
    assert "allow-scripts" not in policy


@pytest.mark.parametrize("contact_id", [2, 3])
def test_who_got_none_sees_none(browser: TestClient, sent: Campaigning, contact_id: int) -> None:
    assert browser.get(address(sent, contact_id)).status_code == 404


def test_whoever_is_gone_takes_the_page_along(
    browser: TestClient, sent: Campaigning, lake: Lake
) -> None:
    rest = pl.DataFrame(lake.read(CONTACTS.name).filter(pl.col("contact_id") != 1).collect())
    lake.replace(CONTACTS, rest)

    assert browser.get(address(sent, 1)).status_code == 404


def test_a_token_of_another_purpose_or_campaign_shows_nothing(
    browser: TestClient, sent: Campaigning
) -> None:
    click = sent.url(Purpose.CLICK).removeprefix("/c/")

    assert browser.get(f"/v/{click}").status_code == 404
    assert browser.get(address(sent, 1, campaign="never-approved")).status_code == 404
