"""A compiled message's HTML as lint reads it: elements, the words in them, and how they look.

Every branch of a template is there, each loop once; what is filled in per person stands as VALUE.
Inherited are colours, size and what is hidden, from inline styles and attributes alone: style
sheets are inlined before, and what they keep is for media queries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipelines.message.compiled import LINK, CompiledMessage
from pipelines.message.lint.colour import WHITE, colour_of

# A private-use character: no message has it, and no pattern takes it for a letter or a brace.
VALUE = "\ue000"
DEFAULT_PIXELS = 16.0

_VALUE = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_BLOCK = re.compile(r"\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_HEADING_PIXELS = {"h1": 32.0, "h2": 24.0, "h3": 18.7}
_UNREAD = frozenset({"head", "style", "script", "title", "template", "noscript"})
_FOR_OUTLOOK = re.compile(r"<!--\s*\[if [^]!]*\bmso\b")
_PIXELS = re.compile(r"(\d+(?:\.\d+)?)px")


def plain_template(template: str) -> str:
    """A template with VALUE for what is filled in, and without conditions and loops."""
    return _VALUE.sub(VALUE, _BLOCK.sub("", template))


@lru_cache(maxsize=4096)
def declarations(style: str) -> Mapping[str, str]:
    """Property → value of a style attribute, lower case; the last of two wins."""
    pairs = (part.partition(":") for part in style.split(";") if ":" in part)
    return {name.strip().lower(): value.strip().lower() for name, _, value in pairs}


@dataclass(frozen=True)
class Look:
    """How words in an element look; None for a colour nobody can tell."""

    colour: str | None = "#000000"
    ground: str | None = WHITE
    pixels: float = DEFAULT_PIXELS
    is_hidden: bool = False


@dataclass(frozen=True)
class Element:
    """One element. `has_fallback` when a part for Outlook alone stands right before it; `link` is
    the link it is in, `words` what it says itself."""

    tag: str
    attributes: Mapping[str, str]
    style: Mapping[str, str]
    look: Look
    has_fallback: bool
    link: Element | None = None
    words: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"<{self.tag}>"


class Page:
    """The HTML of one message, parsed once."""

    def __init__(self, compiled: CompiledMessage) -> None:
        self._links = compiled.links
        self._tree = LexborHTMLParser(plain_template(compiled.html))
        self._spoken: list[str] = []
        self.elements = list(self._read())

    @cached_property
    def words(self) -> str:
        """What can be read, in order."""
        return " ".join(self._spoken)

    @cached_property
    def sheets(self) -> str:
        """All style sheets of the page."""
        return "\n".join(node.text() for node in self._tree.css("style"))

    @cached_property
    def names(self) -> frozenset[str]:
        """What a link within the message may lead to."""
        named = (each.attributes.get(name) for each in self.elements for name in ("id", "name"))
        return frozenset(name for name in named if name)

    def matching(self, selector: str) -> list[LexborNode]:
        return self._tree.css(selector)

    def target(self, href: str) -> str:
        """Where a link leads: the address behind its mark."""
        mark = LINK.fullmatch(href)
        number = int(mark[1]) if mark else -1
        return self._links[number] if 0 <= number < len(self._links) else href

    def is_numbered(self, href: str) -> bool:
        return self.target(href) is not href

    def _read(self) -> Iterator[Element]:
        known: dict[int, Element] = {}
        nothing = Element("", {}, {}, Look(), has_fallback=False)
        root = self._tree.root
        for node in root.traverse(include_text=True) if root else ():
            tag = node.tag or ""
            parent = known.get(node.parent.mem_id, nothing) if node.parent else nothing
            if tag == "-text":
                self._hear(node.text(deep=False), parent)
            elif not tag.startswith(("-", "!")):
                known[node.mem_id] = _element(node, tag, parent)
                yield known[node.mem_id]

    def _hear(self, text: str, element: Element) -> None:
        if text.strip() and not element.look.is_hidden:
            element.words.append(text.strip())
            self._spoken.append(text)


def _element(node: LexborNode, tag: str, parent: Element) -> Element:
    attributes = {name: value or "" for name, value in node.attributes.items()}
    style = declarations(attributes.get("style", ""))
    before = node.prev
    comment = before.html if before is not None and before.tag == "-comment" else None
    has_fallback = _FOR_OUTLOOK.match(comment or "") is not None
    look = _look(tag, attributes, style, parent.look)
    link = parent if parent.tag == "a" else parent.link
    return Element(tag, attributes, style, look, has_fallback, link)


def _look(tag: str, given: Mapping[str, str], style: Mapping[str, str], around: Look) -> Look:
    is_hidden = around.is_hidden or tag in _UNREAD or style.get("display", "") == "none"
    pixels = _HEADING_PIXELS.get(tag, around.pixels)
    if "font-size" in style:
        size = _PIXELS.match(style["font-size"])
        pixels = float(size[1]) if size else pixels
    colour = around.colour
    if "color" in style or "color" in given:
        colour = colour_of(style.get("color") or given["color"])
    elif tag == "a":
        colour = None  # every mail program has its own
    return Look(colour, _ground(given, style, around.ground), pixels, is_hidden)


def _ground(given: Mapping[str, str], style: Mapping[str, str], around: str | None) -> str | None:
    named = style.get("background-color") or style.get("background") or given.get("bgcolor")
    has_picture = "background" in given or any(
        "url(" in style.get(name, "") or "gradient(" in style.get(name, "")
        for name in ("background", "background-image")
    )
    if has_picture:
        return None
    if not named or named in ("none", "transparent", "inherit"):
        return around
    return colour_of(named)
