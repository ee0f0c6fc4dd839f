"""What the HTML of a message must have and must not: the footer, its size, images, and contrast.

Knows the law's two demands and what readers can see. Which CSS a mail program shows is in
clients.py, where links lead in links.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.campaigns.brands import contrast
from pipelines.errors import did_you_mean
from pipelines.message.compiled import UNSUBSCRIBE, CompiledMessage
from pipelines.message.lint.page import VALUE, Element, Page
from pipelines.message.lint.rule import Finding, Rule, Severity
from pipelines.message.lint.size import sent_bytes

# Gmail cuts a message off at 102 kB, the unsubscribe link with it.
LARGEST_HTML = 100_000
WIDEST_IMAGE = 1200
# WCAG 2.2, success criterion 1.4.3; text of 24 px or more may have less.
CONTRAST, CONTRAST_LARGE, LARGE_PIXELS = 4.5, 3.0, 24.0

UNSUBSCRIBE_MISSING = Rule(
    "unsubscribe-missing",
    Severity.ERROR,
    "HTML or plain text without the unsubscribe link.",
    "Add [[ footer() ]] to the body, and [[ unsubscribe_url ]] to a body.txt.j2 of its own.",
    may_be_allowed=False,
)
POSTAL_MISSING = Rule(
    "postal-address-missing",
    Severity.ERROR,
    "HTML or plain text without the brand's postal address, which the law asks for.",
    "Add [[ footer() ]] to the body, and [[ brand.postal_address ]] to a body.txt.j2 of its own.",
    may_be_allowed=False,
)
TOO_LARGE = Rule(
    "html-too-large",
    Severity.ERROR,
    f"More than {LARGEST_HTML:,} bytes of HTML as sent: click addresses, pixel and values in it.",
    "Shorten the message: leave sections out, or link to them.",
    may_be_allowed=False,
)
ACTIVE = Rule(
    "active-content",
    Severity.ERROR,
    "A script, form, frame or event handler, which no mail program runs.",
    "Take it away, and link to a page that does it.",
    may_be_allowed=False,
)
MJML_LEFT = Rule(
    "mjml-unknown-element",
    Severity.ERROR,
    "An MJML element there is none of; it would be sent as it was written.",
    "Write an element MJML has.",
    may_be_allowed=False,
)
ALT_MISSING = Rule(
    "image-alt-missing",
    Severity.WARNING,
    "An image without alt text, or with an empty one where it is all there is of a link.",
    'Add alt="what it says"; alt="" for one that only decorates.',
)
WIDTH_MISSING = Rule(
    "image-width-missing",
    Severity.WARNING,
    "An image without a width in pixels; Outlook shows it as wide as its file.",
    'Add width="280", the width it is shown at.',
)
TOO_WIDE = Rule(
    "image-too-wide",
    Severity.WARNING,
    f"An image declared wider than {WIDEST_IMAGE:,} pixels.",
    "Give it the width it is shown at; 600 pixels are a whole message.",
)
CONTRAST_LOW = Rule(
    "contrast-low",
    Severity.WARNING,
    f"Text with a contrast under {CONTRAST}:1, or {CONTRAST_LARGE:g}:1 from {LARGE_PIXELS:g} px on.",
    "Make the text darker or its background lighter, or the other way round.",
)
RULES = (
    UNSUBSCRIBE_MISSING,
    POSTAL_MISSING,
    TOO_LARGE,
    ACTIVE,
    MJML_LEFT,
    ALT_MISSING,
    WIDTH_MISSING,
    TOO_WIDE,
    CONTRAST_LOW,
)

_ACTIVE = frozenset({"script", "form", "iframe", "object", "embed"})
# Every element of MJML, without its mj-.
_MJML = frozenset(
    {
        *("accordion", "accordion-element", "accordion-text", "accordion-title", "all"),
        *("attributes", "body", "breakpoint", "button", "carousel", "carousel-image", "class"),
        *("column", "divider", "font", "group", "head", "hero", "image", "navbar", "navbar-link"),
        *("preview", "raw", "section", "social", "social-element", "spacer", "style", "table"),
        *("text", "title", "wrapper"),
    }
)
_WIDTH = re.compile(r"\s*(\d+)(?:\.\d+)?\s*(?:px)?\s*")


def check(compiled: CompiledMessage, page: Page, public_url: str | None) -> Iterator[Finding]:
    yield from _must_have(compiled, page)
    size = sent_bytes(compiled, public_url)
    if size > LARGEST_HTML:
        what = f"has {size:,} bytes as sent; more than {LARGEST_HTML:,} are cut off"
        yield TOO_LARGE.found("HTML", what)
    yield from _active(page)
    yield from _left_of_mjml(page)
    yield from _images(page)
    yield from _contrast(page)


def _must_have(compiled: CompiledMessage, page: Page) -> Iterator[Finding]:
    ways_out = {"HTML": _leads_out(page), "plain text": UNSUBSCRIBE in compiled.text}
    for where, words in (("HTML", page.words), ("plain text", compiled.text)):
        if not ways_out[where]:
            what = "has no unsubscribe link; add [[ footer() ]]"
            yield UNSUBSCRIBE_MISSING.found(where, what)
        if _squeezed(compiled.postal_address) not in _squeezed(words):
            yield POSTAL_MISSING.found(where, "has no postal address; add [[ footer() ]]")


def _leads_out(page: Page) -> bool:
    """Whether a link that can be seen leads out, or its address can be read."""
    seen = [each for each in page.elements if not each.look.is_hidden]
    links = [each for each in seen if each.attributes.get("href") == UNSUBSCRIBE]
    shown = [each for each in seen if each.words or each.tag == "img"]
    return UNSUBSCRIBE in page.words or any(
        part is link or part.link is link for link in links for part in shown
    )


def _squeezed(text: str) -> str:
    """Without spaces: an address may be broken into lines, or have elements within."""
    return "".join(text.split())


def _active(page: Page) -> Iterator[Finding]:
    found: dict[str, None] = {}
    for each in page.elements:
        if each.tag in _ACTIVE:
            found[str(each)] = None
        found |= {name: None for name in each.attributes if name.startswith("on")}
    for name in found:
        yield ACTIVE.found("HTML", f"contains '{name}', which no mail program runs")


def _left_of_mjml(page: Page) -> Iterator[Finding]:
    known = [f"mj-{name}" for name in sorted(_MJML)]
    for tag in dict.fromkeys(each.tag for each in page.elements if each.tag.startswith("mj-")):
        what = f"contains <{tag}>, which is no element of MJML.{did_you_mean(tag, known)}"
        yield MJML_LEFT.found("HTML", what)


def _images(page: Page) -> Iterator[Finding]:
    alone = _alone_in_links(page)
    for image in page.elements:
        if image.tag != "img" or image.look.is_hidden:
            continue
        where = f"image '{page.target(image.attributes.get('src', ''))[-60:]}'"
        if "alt" not in image.attributes:
            yield ALT_MISSING.found(where, "has no alt text")
        elif id(image) in alone and not image.attributes["alt"].strip():
            yield ALT_MISSING.found(where, "is all there is of a link and has no alt text")
        width = _width(image)
        if width is None:
            yield WIDTH_MISSING.found(where, "has no width in pixels")
        elif width > WIDEST_IMAGE:
            yield TOO_WIDE.found(where, f"is {width:,} pixels wide")


def _width(image: Element) -> int | None:
    for declared in (image.attributes.get("width", ""), image.style.get("width", "")):
        if match := _WIDTH.fullmatch(declared):
            return int(match[1][:9])
    return None


def _alone_in_links(page: Page) -> set[int]:
    """Images whose link says nothing else."""
    within: dict[int, list[Element]] = {}
    for each in page.elements:
        if each.link is not None:
            within.setdefault(id(each.link), [each.link]).append(each)
    return {
        id(image)
        for parts in within.values()
        for image in parts
        if image.tag == "img"
        and not any(part.words for part in parts)
        and not any(part.attributes.get("alt", "").strip() for part in parts if part.tag == "img")
    }


def _contrast(page: Page) -> Iterator[Finding]:
    seen = set()
    for each in page.elements:
        look = each.look
        pair = (look.colour, look.ground, look.pixels >= LARGE_PIXELS)
        words = " ".join(each.words)
        is_read = any(letter.isalnum() or letter == VALUE for letter in words)
        if not is_read or pair in seen or look.colour is None or look.ground is None:
            continue
        seen.add(pair)
        needed = CONTRAST_LARGE if look.pixels >= LARGE_PIXELS else CONTRAST
        ratio = contrast(look.colour, look.ground)
        if ratio < needed:
            shown = words[:40].replace(VALUE, "…")
            what = (
                f"is {look.colour} on {look.ground}, a contrast of {ratio:.1f}:1; "
                f"text of {look.pixels:g} px needs {needed:g}:1"
            )
            yield CONTRAST_LOW.found(f"text '{shown}'", what)
