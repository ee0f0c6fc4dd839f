"""Which campaigns use which segments, read from campaign files in whatever state they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.campaigns.uses import campaigns_using
from pipelines.settings import CHECKOUT


def write(project: Path, slug: str, text: str) -> None:
    path = project / "assets/campaigns" / slug / "campaign.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_included_and_excluded_segments_are_used_by_every_campaign_that_names_them(tmp_path: Path):
    write(tmp_path, "spring", "audience: {include: [vip, buyers], exclude: [lapsed]}\n")
    write(tmp_path, "autumn", "audience: {include: [buyers]}\n")

    assert campaigns_using(tmp_path) == {
        "buyers": ["autumn", "spring"],
        "vip": ["spring"],
        "lapsed": ["spring"],
    }


def test_a_campaign_that_names_a_segment_twice_uses_it_once(tmp_path: Path):
    write(tmp_path, "spring", "audience: {include: [vip, vip], exclude: [vip]}\n")

    assert campaigns_using(tmp_path) == {"vip": ["spring"]}


def test_a_campaign_that_is_wrong_in_another_place_counts_all_the_same(tmp_path: Path):
    write(tmp_path, "spring", "topic: nowhere\nowner: 3\naudience: {include: [vip], size: large}\n")

    assert campaigns_using(tmp_path) == {"vip": ["spring"]}


@pytest.mark.parametrize(
    "text",
    [
        "", "- a", "audience: [", "audience:", "audience: everybody", "audience: {include: vip}",
        "audience: {include: [[vip], 3, null]}",
    ],
)  # fmt: skip
def test_what_names_no_segment_uses_none(tmp_path: Path, text: str):
    write(tmp_path, "spring", text)

    assert campaigns_using(tmp_path) == {}


def test_a_project_without_campaigns_uses_none(tmp_path: Path):
    assert campaigns_using(tmp_path) == {}


def test_every_segment_the_checkout_s_campaigns_use_is_there():
    used = campaigns_using(CHECKOUT)

    assert used["bought_last_30_days"] == ["autumn-thanks"]
    assert [name for name in used if not (CHECKOUT / f"sql/segments/{name}.sql").exists()] == []
