"""The pages name everything there is to set, and nothing there is not."""

from __future__ import annotations

import re

import pytest
import yaml

from pipelines.campaigns.campaign import Audience, Campaign
from pipelines.contacts.source import Entity, Source
from pipelines.settings import CHECKOUT, PREFIX, Settings

DOCS = CHECKOUT / "docs"


def blocks(page: str) -> list[dict[str, object]]:
    """The YAML examples of a page."""
    return [yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]


def test_every_setting_is_described_and_no_other():
    page = (DOCS / "settings.md").read_text()

    named = set(re.findall(rf"`{PREFIX}([A-Z_]+)`", page))

    assert named == {name.upper() for name in Settings.model_fields}


def test_every_field_of_a_campaign_is_described():
    page = (DOCS / "campaigns.md").read_text()
    fields = set(Campaign.model_fields) - {"slug", "audience"}
    fields |= {f"audience.{name}" for name in Audience.model_fields}

    missing = {name for name in fields if f"`{name}`" not in page and f"{name}:" not in page}

    assert missing == set()


def test_the_smallest_campaign_of_the_page_is_one():
    (example,) = blocks((DOCS / "campaigns.md").read_text())

    assert Campaign.model_validate({"slug": "small", **example}).topic == "news"


def test_the_source_of_the_page_is_one_and_every_entity_is_named():
    page = (DOCS / "sources.md").read_text()
    (example,) = blocks(page)

    assert Source.model_validate({"name": "shop", **example}).exports["customers"].contacts
    assert [each for each in Entity if f"`{each}`" not in page] == []


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_readme_leads_to_every_page(page: str):
    assert f"docs/{page}" in (CHECKOUT / "README.md").read_text()
