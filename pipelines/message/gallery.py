"""The gallery: every block and starter of a project as a page, wide, on a phone, by day and by night,
starters in each of their languages.

Knows a sample contact and how the page is filled (assets/templates/reports/gallery.html.j2). The
pictures of the examples are drawn here, so the page needs no network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from babel import Locale

from pipelines.campaigns.brands import load_brand
from pipelines.campaigns.campaign import Campaign
from pipelines.campaigns.topics import load_topics
from pipelines.errors import Refused, TemplateInvalid
from pipelines.message.check import SAMPLE
from pipelines.message.compile import compile_example, compile_message
from pipelines.message.compiled import CompiledMessage
from pipelines.message.fill import Filled, Filler, made_up
from pipelines.message.library import Block, Starter, blocks, starters
from pipelines.settings import CHECKOUT

FILE = "templates.html"
PAGES = CHECKOUT / "assets" / "templates" / "reports"
# A block stands alone: in the head of every layout, without header and footer.
ALONE = (
    '<mjml lang="en"><mj-head>[% include "layouts/head.mjml.j2" %]</mj-head>'
    '<mj-body css-class="ground" background-color="[[ brand.colours.ground ]]" width="600px">'
    "{}</mj-body></mjml>"
)
# What segments and sources might know of the sample contact, beside what every contact has.
FIELDS: dict[str, Any] = {
    "product_name": "Fern, a sheet of deep green",
    "product_id": "fern",
    "favourite_category": "green papers",
    "attributes": {},
    "recommended": [
        {"id": "moss", "name": "Moss", "price_minor": 400, "currency": "GBP"},
        {"id": "oat", "name": "Oat", "price_minor": 320, "currency": "GBP"},
        {"id": "slate", "name": "Slate", "price_minor": 360, "currency": "GBP"},
    ],
}
_PICTURE = re.compile(r"<img\b[^>]*>")
_SOURCE = re.compile(r'(\ssrc=")https://[a-z0-9.-]+\.example/[^"]*(")')
_SQUARE = re.compile(r'\swidth="(?:\d\d|1[0-3]\d)"')
DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 {height}">'
    '<rect width="600" height="{height}" fill="#d9e3dc"/>'
    '<circle cx="430" cy="{sun}" r="56" fill="#f0ead6"/>'
    '<path d="M0 {height}V{far}Q150 {near} 320 {far}T600 {near}V{height}Z" fill="#9dbdb0"/>'
    '<path d="M0 {height}V{low}Q220 {far} 600 {low}V{height}Z" fill="#5f8f7f"/></svg>'
)


@dataclass(frozen=True)
class Letter:
    """A starter in one language, and how its readers call that; neither where it has only one."""

    language: str
    subject: str
    preheader: str
    html: str
    text: str

    @property
    def called(self) -> str:
        return Locale.parse(self.language, sep="-").get_display_name() or self.language


@dataclass(frozen=True)
class Shown:
    """One starter as the sample contact would get it, in each of its languages."""

    starter: Starter
    letters: list[Letter]


def gallery_page(project: Path, *, brand: str, made_at: datetime) -> str:
    """The whole gallery as HTML. Raises TemplateInvalid when a block or starter does not compile,
    CampaignInvalid when brand or starter cannot be read."""
    page = {
        "blocks": [(each, block_html(each, project, brand=brand)) for each in blocks(project)],
        "starters": [_shown(each, project, brand) for each in starters(project)],
        "brand": load_brand(project, brand),
        "made_at": f"{made_at:%Y-%m-%d %H:%M} UTC",
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("gallery.html.j2").render(page=page)


def block_html(block: Block, project: Path, *, brand: str) -> str:
    """The documented example of a block, as the sample contact would see it."""
    campaign = _example_campaign(project, brand)
    try:
        compiled = compile_example(ALONE.format(block.example), campaign, project=project)
    except TemplateInvalid as invalid:
        do = f"Fix the block {block.name} or its Example, then run: lettermill template gallery"
        raise TemplateInvalid(
            f"the example of {block.name} does not compile", invalid.problems, do=do
        ) from None
    return drawn(filled(compiled).html)


def filled(compiled: CompiledMessage, **fields: Any) -> Filled:
    """A message for the sample contact, untracked: links show where they lead."""
    filler = Filler(
        compiled, public_url="https://edge.example", campaign="gallery", link_key=b"gallery"
    )
    recipient = made_up(next(iter(compiled.subjects)), {**SAMPLE, **FIELDS, **fields})
    try:
        return filler.fill(recipient)
    except Refused as refused:
        raise TemplateInvalid(f"the sample contact cannot be mailed: {refused}") from refused


def drawn(html: str) -> str:
    """The page with drawings in place of pictures whose addresses are examples."""

    def picture(match: re.Match[str]) -> str:
        height = 600 if _SQUARE.search(match[0]) else 380
        parts = {"sun": height * 0.3, "far": height * 0.62, "near": height * 0.5}
        svg = DRAWING.format(height=height, low=height * 0.8, **parts)
        return _SOURCE.sub(rf"\g<1>data:image/svg+xml,{quote(svg)}\g<2>", match[0])

    return _PICTURE.sub(picture, html)


def _shown(starter: Starter, project: Path, brand: str) -> Shown:
    campaign = starter.campaign.model_copy(update={"brand": brand})
    compiled = compile_message(campaign, project=project, folder=starter.folder)
    if not compiled.translations:
        return Shown(starter, [_letter(compiled, "")])
    return Shown(starter, [_letter(compiled, each.language) for each in compiled.every()])


def _letter(compiled: CompiledMessage, language: str) -> Letter:
    found = filled(compiled, locale=language) if language else filled(compiled)
    return Letter(language, found.subject, found.preheader, drawn(found.html), found.text)


def _example_campaign(project: Path, brand: str) -> Campaign:
    return Campaign.model_validate(
        {
            "slug": "example",
            "owner": "nobody@shop.example",
            "topic": next(iter(load_topics(project))),
            "brand": brand,
            "audience": {"include": ["nobody"]},
            "variants": [{"name": "only", "subject": "An example"}],
        }
    )
