"""`lettermill template …`, run in this process on a project that is each test's own."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from pipelines.message.library import STARTERS
from pipelines.settings import CHECKOUT, Home

from .said import Call, calling

WHOLE = sorted(path.name for path in (CHECKOUT / STARTERS).iterdir())


@pytest.fixture
def workshop(tmp_path: Path) -> Path:
    """A project with the checkout's templates and segments, and without a campaign."""
    root = tmp_path / "project"
    for part in ("assets/templates", "sql"):
        shutil.copytree(CHECKOUT / part, root / part)
    shutil.copy(CHECKOUT / "assets/topics.yaml", root / "assets/topics.yaml")
    return root


@pytest.fixture
def call(
    workshop: Path, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    return calling(home.root, workshop, monkeypatch, capsys)


def test_starters_and_blocks_are_listed_with_what_they_are(call: Call):
    said = call("template", "list").fine()

    assert [name for name in WHOLE if name not in said.out] == []
    assert "One button, the thing to do." in said.out


def test_the_list_as_json_holds_both_kinds(call: Call):
    found = json.loads(call("template", "list", "--json").fine().out)

    assert sorted(found["starters"]) == WHOLE
    assert found["blocks"]["button"] == "One button, the thing to do."


@pytest.mark.parametrize("starter", WHOLE)
def test_a_new_campaign_can_be_approved_as_it_is(call: Call, starter: str):
    said = call("template", "new", "mine", "--from", starter).fine()

    assert "assets/campaigns/mine/campaign.yaml" in said.err
    assert "lettermill campaign check mine" in said.err
    assert "✓ mine can be approved" in call("campaign", "check", "mine").fine().err


def test_the_owner_of_a_new_campaign_may_be_given(call: Call, workshop: Path):
    call("template", "new", "mine", "--from", "welcome", "--owner", "ines@shop.example").fine()

    text = (workshop / "assets/campaigns/mine/campaign.yaml").read_text()
    assert "\nowner: ines@shop.example\n" in text
    assert "marketing@mill.example" not in text


def test_a_new_campaign_takes_nobody_s_place(call: Call, workshop: Path):
    call("template", "new", "mine", "--from", "welcome").fine()
    before = (workshop / "assets/campaigns/mine/campaign.yaml").read_text()

    call("template", "new", "mine", "--from", "newsletter").refused(
        "assets/campaigns/mine is there already"
    )

    assert (workshop / "assets/campaigns/mine/campaign.yaml").read_text() == before


def test_a_starter_there_is_not_is_told_with_a_near_one(call: Call, workshop: Path):
    call("template", "new", "mine", "--from", "welcom").refused(
        "there is no starter 'welcom'. Did you mean 'welcome'?", "lettermill template list"
    )

    assert not (workshop / "assets/campaigns").exists()


@pytest.mark.parametrize("slug", ["../x", "Mine", "a b", "a/b", "", "x" * 61])
def test_a_new_campaign_needs_a_name_a_folder_may_have(call: Call, workshop: Path, slug: str):
    call("template", "new", slug, "--from", "welcome").refused("cannot name a campaign")

    assert not (workshop / "assets/campaigns").exists()


@pytest.mark.parametrize("owner", ["not an address", "a@b.example\nbrand: x"])
def test_an_owner_who_is_no_address_begins_nothing(call: Call, workshop: Path, owner: str):
    call("template", "new", "mine", "--from", "welcome", "--owner", owner).refused("owner")

    assert not (workshop / "assets/campaigns").exists()


def test_the_gallery_is_one_page_in_the_reports_of_the_home(call: Call, home: Home):
    said = call("template", "gallery").fine()

    assert said.out == f"{home.reports / 'templates.html'}\n"
    page = (home.reports / "templates.html").read_text()
    assert 'id="starter-newsletter"' in page
    assert 'id="block-coupon"' in page
    called = re.findall(r'<h3 lang="\w+">([^<]+)</h3>', page)
    assert called == ["English", "Deutsch", "français"]
    assert "Guten Tag, Ada" in page


def test_a_gallery_in_a_brand_there_is_not_is_refused(call: Call, home: Home):
    call("template", "gallery", "--brand", "mil").refused("Did you mean 'mill'?")

    assert not (home.reports / "templates.html").exists()
