"""The pages name everything there is to set, and nothing there is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pipelines.campaigns.campaign import Audience, Campaign
from pipelines.cli import command
from pipelines.contacts.source import Entity, Source
from pipelines.segments.cases import Case, outcome
from pipelines.segments.checks import FRESH_HOURS
from pipelines.segments.header import Checks, Header
from pipelines.segments.project import sql_files
from pipelines.segments.sandbox import Limits
from pipelines.segments.segment import Segment
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


def test_every_field_of_a_header_and_every_command_of_a_segment_is_described():
    page = (DOCS / "segments.md").read_text()
    fields = set(Header.model_fields) - {"checks"}
    fields |= {f"checks.{name}" for name in Checks.model_fields}
    known = command.segment.app.registered_commands
    commands = [each.name or each.callback.__name__ for each in known if each.callback]

    assert [name for name in fields if f"`{name}`" not in page] == []
    assert [name for name in commands if f"lettermill segment {name}" not in page] == []


def test_the_segment_and_the_case_of_the_page_can_be_used(tmp_path: Path):
    page = (DOCS / "segments.md").read_text()
    (sql,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    (case,) = blocks(page)
    files = sql_files(CHECKOUT)
    segment = Segment.parse("example", sql, Path("docs/segments.md"))

    assert outcome(segment, files, Case.model_validate(case), tmp_path) is None


def test_the_limits_of_a_query_are_told_as_they_are():
    page = (DOCS / "segments.md").read_text()
    limits = Limits()

    for told in (
        f"{limits.memory_mib:,} MiB",
        f"processor time ({limits.cpu_seconds} s)",
        f"time ({limits.wall_seconds:.0f} s)",
        f"output ({limits.output_mib:,} MiB)",
        f"{FRESH_HOURS} hours",
    ):
        assert told in page.replace("\n", " ")


def test_the_library_lists_every_segment_and_mart():
    page = (DOCS / "segments-library.md").read_text()
    tables = sql_files(CHECKOUT).by_table

    missing = [
        table
        for table in tables
        if table.startswith(("segments.", "marts.")) and f"`{table.partition('.')[2]}`" not in page
    ]

    assert missing == []


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_readme_leads_to_every_page(page: str):
    assert f"docs/{page}" in (CHECKOUT / "README.md").read_text()
