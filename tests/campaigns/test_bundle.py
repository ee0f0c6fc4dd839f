"""Approvals: stored whole, found again, and not to be tampered with."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.campaigns.brands import load_brand
from pipelines.campaigns.bundle import (
    Bundle,
    approved_keys,
    load,
    load_current,
    save,
)
from pipelines.campaigns.campaign import campaign_key
from pipelines.campaigns.campaign import load as load_campaign
from pipelines.campaigns.sources import changed_since, fingerprints
from pipelines.campaigns.topics import load_topics
from pipelines.errors import SendHeld

SLUG = "autumn-thanks"


@pytest.fixture
def workshop(project: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "project"
    shutil.copytree(project / "assets/templates", copy / "assets/templates")
    shutil.copytree(project / "assets/campaigns" / SLUG, copy / "assets/campaigns" / SLUG)
    shutil.copy(project / "assets/topics.yaml", copy / "assets/topics.yaml")
    (copy / "sql/segments").mkdir(parents=True)
    (copy / "sql/segments/bought_last_30_days.sql").write_text("select 1 as contact_id")
    return copy


@pytest.fixture
def bundle(workshop, clock) -> Bundle:
    campaign = load_campaign(workshop, SLUG)
    return Bundle(
        campaign=campaign,
        key=campaign_key(SLUG),
        segments={"bought_last_30_days": "select 1 as contact_id"},
        message={"html": "<p>é</p>"},
        topic=load_topics(workshop)["news"],
        brand=load_brand(workshop, "mill"),
        sources=fingerprints(campaign, workshop),
        approved_by="marketing@mill.example",
        approved_at=clock.now(),
        expected_recipients=1532,
        environment="development",
        home_id="a-home",
    )


def test_a_saved_approval_is_the_current_one(bundle, home):
    path = save(bundle, home.approvals)

    assert path.name == f"{bundle.content_hash}.json"
    assert load_current(SLUG, home.approvals) == bundle
    assert approved_keys(home.approvals) == [SLUG]


def test_an_older_approval_can_still_be_read(bundle, home):
    save(bundle, home.approvals)
    newer = bundle.model_copy(update={"message": {"html": "new"}})
    save(newer, home.approvals)

    assert load(SLUG, home.approvals) == newer
    assert load(SLUG, home.approvals, bundle.content_hash) == bundle


def test_nothing_approved_is_none(home):
    assert load_current(SLUG, home.approvals) is None


def test_who_and_when_are_not_the_content(bundle):
    again = bundle.model_copy(
        update={
            "approved_by": "other@mill.example",
            "approved_at": bundle.approved_at + timedelta(days=1),
            "expected_recipients": 1,
        }
    )

    assert again.content_hash == bundle.content_hash
    assert bundle.model_copy(update={"segments": {}}).content_hash != bundle.content_hash


@pytest.mark.parametrize("damage", ["", "{}", "1532", '"html":"<p>é</p>"'])
def test_an_approval_that_was_changed_holds_the_send(bundle, home, damage):
    path = save(bundle, home.approvals)
    whole = path.read_text()
    path.write_text(whole.replace("select 1", "select 2") if damage == "1532" else damage)

    with pytest.raises(SendHeld, match="Approve it again: lettermill campaign approve"):
        load_current(SLUG, home.approvals)


def test_files_edited_added_or_gone_since_are_named(bundle, workshop):
    folder = workshop / "assets/campaigns" / SLUG
    unchanged = changed_since(bundle, workshop)
    (folder / "body.mjml.j2").write_text("new")
    (folder / "body.txt.j2").write_text("added")
    (workshop / "sql/segments/bought_last_30_days.sql").unlink()

    assert unchanged == []
    assert changed_since(bundle, workshop) == [
        "assets/campaigns/autumn-thanks/body.mjml.j2",
        "assets/campaigns/autumn-thanks/body.txt.j2",
        "sql/segments/bought_last_30_days.sql",
    ]
