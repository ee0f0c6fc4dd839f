"""How messages look by day and by night, whether they can be read, and where one can see that."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.campaigns.brands import Brand, contrast, load_brand
from pipelines.campaigns.campaign import load
from pipelines.errors import CampaignInvalid
from pipelines.message.compile import compile_message
from pipelines.message.gallery import gallery_page
from pipelines.message.library import STARTERS, blocks
from pipelines.message.lint.rules import lint
from pipelines.settings import CHECKOUT

PAGE = CHECKOUT / "docs/templates.md"
BLOCKS = blocks(CHECKOUT)
WHOLE = sorted(path.name for path in (CHECKOUT / STARTERS).iterdir())


def test_a_heading_carries_its_whole_style_for_who_reads_no_style_sheets(compiled):
    (style,) = re.findall(r'<h1 style="([^"]*)">', compiled("[[ heading('Hi', level=1) ]]").html)

    assert unescape(style).startswith("font-family: Georgia, 'Times New Roman', serif;")
    for said in ("font-weight: normal", "line-height: 1.25", "font-size: 30px"):
        assert said in style


def test_a_letter_knows_day_and_night(compiled):
    page = compiled().html

    assert '<meta name="color-scheme" content="light dark"' in page
    assert "@media (prefers-color-scheme: dark)" in page


def test_a_brand_without_colours_for_the_night_is_light_at_all_hours(compiled, workshop):
    rewrite(workshop, dark_colours={})

    page = compiled().html

    assert '<meta name="color-scheme" content="light"' in page
    assert "prefers-color-scheme" not in page


def test_a_brand_with_a_logo_shows_it_in_place_of_its_name(compiled, workshop):
    rewrite(workshop, logo="https://shop.example/logo.png")

    (logo,) = re.findall(r"<img\b[^>]*logo.png[^>]*>", compiled().html)

    assert 'alt="The Paper Mill"' in logo
    assert 'width="140"' in logo


def test_a_brand_without_other_places_has_no_links_to_them(compiled, workshop):
    rewrite(workshop, social={})

    assert "instagram" not in compiled("[[ social_links() ]]").html


def test_a_text_nobody_could_read_and_a_colour_not_there_are_problems_of_a_brand(workshop):
    colours = load_brand(workshop, "mill").colours
    dark = {"ink": "#ffffff", "paper": "#000000"}
    rewrite(workshop, colours={**colours, "quiet": "#bbbbbb"}, dark_colours=dark)

    with pytest.raises(CampaignInvalid) as raised:
        load_brand(workshop, "mill")

    said = {problem.where: problem.what for problem in raised.value.problems}
    assert "text needs 4.5" in said["colours.quiet"]
    assert said["dark_colours.accent"] == "is missing; the blocks are drawn with it"
    assert "dark_colours.ink" not in said


def test_contrast_is_what_the_standard_says():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_social_links_lead_to_https_and_a_language_is_a_code(workshop):
    rewrite(workshop, social={"Blog": "http://shop.example"}, languages=["English"])

    with pytest.raises(CampaignInvalid) as raised:
        load_brand(workshop, "mill")

    assert {each.where for each in raised.value.problems} == {"social.Blog", "languages[1]"}


def test_a_brand_approved_before_there_were_more_fields_is_kept_as_it_was(project):
    brand = load_brand(project, "mill")
    later = {"dark_colours", "social", "languages"}

    before = Brand.model_validate(brand.model_dump(exclude=later))

    assert not later & set(before.model_dump(mode="json"))
    assert before.languages == ["en"]


# The gallery and the page that explains it


def test_the_page_names_every_block_with_its_parameters_and_every_starter():
    page = PAGE.read_text()

    rows = {
        block.name: ", ".join(f"`{each}`" for each in block.parameters) or "–" for block in BLOCKS
    }

    assert [name for name in rows if f"| `{name}` | {rows[name]} | " not in page] == []
    assert [name for name in WHOLE if f"| `{name}` |" not in page] == []


def test_the_letters_of_the_page_can_be_sent(workshop):
    mjml, markdown, *loops = re.findall(r"```jinja\n(.*?)```", PAGE.read_text(), re.DOTALL)
    within = [mjml.replace("[% endblock %]", f"{loop}[% endblock %]") for loop in loops]
    folder = workshop / "assets/campaigns/autumn-thanks"
    campaign = load(workshop, "autumn-thanks")

    findings = []
    for body in (mjml, *within):
        (folder / "body.mjml.j2").write_text(body)
        findings += lint(compile_message(campaign, project=workshop))
    (folder / "body.mjml.j2").unlink()
    (folder / "body.md").write_text(markdown)
    findings += lint(compile_message(campaign, project=workshop))

    assert findings == []
    assert len(loops) == 2


def test_the_gallery_shows_every_block_and_starter_and_asks_no_network(clock):
    page = gallery_page(CHECKOUT, brand="mill", made_at=clock.now())

    assert [each.name for each in BLOCKS if f'id="block-{each.name}"' not in page] == []
    assert [name for name in WHOLE if f'id="starter-{name}"' not in page] == []
    assert (
        page.count("<iframe")
        == page.count("sandbox=")
        == 2 * len([*BLOCKS, *WHOLE, "German", "French"])
    )
    assert not re.search(r"\ssrc=(&#34;|\")https?:", page)


def rewrite(project: Path, **fields: Any) -> None:
    path = project / "assets/templates/brands/mill.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **fields}))
