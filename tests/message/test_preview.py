"""The preview page: whole in itself, every variant for every contact, nobody's address."""

from __future__ import annotations

import json
import re
from html import unescape

import dagster as dg
import polars as pl
import pytest

from assets.previews import preview
from pipelines.message.preview import HARD
from pipelines.message.previewing import Desk, write_preview
from pipelines.partitions import CAMPAIGN
from pipelines.resources import LakeResource, WorkspaceResource
from pipelines.schema import AUDIENCE, CONTACTS

SLUG = "autumn-thanks"


@pytest.fixture
def contacts(lake, ada, bert, cleo, clock):
    people = [
        {
            **dict.fromkeys(CONTACTS.columns),
            "contact_id": person.contact_id,
            "address": person.address,
            "first_name": person.first_name,
            "last_name": person.last_name,
            "city": "Oslo",
            "created_at": clock.now(),
            "attributes": json.dumps({"tier": "gold"}),
        }
        for person in (ada, bert, cleo)
    ]
    lake.append(CONTACTS, pl.DataFrame(people, schema=CONTACTS.schema))


@pytest.fixture
def audience(lake, contacts, ada, bert, cleo, clock):
    decided = [(ada, "mail", None), (bert, "mail", None), (cleo, "excluded", "unsubscribed")]
    rows = [
        {
            **dict.fromkeys(AUDIENCE.columns),
            "campaign": SLUG,
            "contact_id": person.contact_id,
            "decision": decision,
            "reason": reason,
            "fields": "{}",
            "planned_at": clock.now(),
        }
        for person, decision, reason in decided
    ]
    lake.append(AUDIENCE, pl.DataFrame(rows, schema=AUDIENCE.schema))


@pytest.fixture
def desk(lake, home, project) -> Desk:
    return Desk(lake, home, project, "https://edge.mill.example")


def test_both_variants_are_shown_for_each_contact_in_two_widths(desk, contacts, clock):
    made = write_preview(SLUG, desk, now=clock.now())

    page = made.path.read_text()
    frames = re.findall(r'<iframe sandbox="" title="([^"]*)"', page)
    assert len(frames) == 2 * (3 + len(HARD)) * 2
    assert "thanks, Bert B., phone" in frames
    assert "Ada, thank you for this autumn" in page
    assert page.count("<pre>") == 2 * (3 + len(HARD))
    assert made.samples == 3
    assert not made.is_approved


def test_the_page_asks_nobody_for_anything_and_names_no_address(desk, contacts, clock):
    page = write_preview(SLUG, desk, now=clock.now()).path.read_text()

    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="http', page)
    assert "@shop.example" not in unescape(page)


def test_only_the_audience_is_shown_once_there_is_one(desk, audience, clock):
    page = write_preview(SLUG, desk, now=clock.now()).path.read_text()

    assert "Cleo" not in page
    assert "<dt>To mail</dt><dd>2</dd>" in page
    assert "<dt>Left out: unsubscribed</dt><dd>1</dd>" in page


def test_a_lake_without_contacts_has_a_preview_all_the_same(desk, clock):
    assert write_preview(SLUG, desk, now=clock.now()).samples == 0


def test_the_asset_writes_the_page_and_says_where(home, project, contacts, monkeypatch):
    monkeypatch.setenv("LETTERMILL_HOME", str(home.root))
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(CAMPAIGN.name, [SLUG])

    result = dg.materialize(
        [preview],
        instance=instance,
        partition_key=SLUG,
        resources={"lake": LakeResource(), "workspace": WorkspaceResource()},
    )

    (made,) = result.asset_materializations_for_node("campaigns__preview")
    assert made.metadata["page"].value == str(home.previews / f"{SLUG}.html")
    assert (home.previews / f"{SLUG}.html").is_file()
