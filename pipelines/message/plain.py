"""Plain text from HTML: what a reader without pictures or colours gets.

Knows elements and what separates them. Layout tables of mail are rows below each other, so this
draws no tables; fill-time tags that stand as comments come through as words.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

_APART = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "table"})
_LINE = frozenset({"div", "tr", "li", "br", "section", "article", "header", "footer", "hr"})
_UNSEEN = frozenset({"head", "style", "script", "title", "template"})
_VOID = frozenset({"br", "img", "hr", "meta", "link", "input", "col", "area", "base", "wbr"})
_HIDDEN = re.compile(r"display\s*:\s*none")
_TOKEN = re.compile(r"\s*(LMTAG\d+X)\s*")


def plain_text(markup: str) -> str:
    """The text of a page; links as `label <address>`."""
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    lines = [re.sub(r"[ \t\xa0]+", " ", line).strip() for line in "".join(reader.out).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self._unseen = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if self._unseen or tag in _UNSEEN or _HIDDEN.search(attributes.get("style") or ""):
            self._unseen += tag not in _VOID
            return
        self._separate(tag)
        if tag == "li":
            self.out.append("* ")
        elif tag == "a":
            self._links.append((attributes.get("href") or "", len(self.out)))
        elif tag == "img" and attributes.get("alt"):
            self.out.append(f"{attributes['alt']}")

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            self._unseen -= tag not in _VOID
            return
        if tag == "a" and self._links:
            address, start = self._links.pop()
            label = "".join(self.out[start:]).strip()
            if address and not address.startswith("#") and address != label:
                self.out.append(f" <{address.removeprefix('mailto:')}>")
        elif tag in ("td", "th"):
            self.out.append(" ")
        self._separate(tag)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.out.append(re.sub(r"\s+", " ", data))

    def handle_comment(self, data: str) -> None:
        if not self._unseen and (match := _TOKEN.fullmatch(data)):
            self.out.append(match[1])

    def _separate(self, tag: str) -> None:
        if tag in _APART:
            self.out.append("\n\n")
        elif tag in _LINE:
            self.out.append("\n")
