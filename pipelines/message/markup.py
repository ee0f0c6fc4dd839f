"""From MJML to the HTML that is sent: rendered, styles inlined, links numbered.

Works on markup whose fill-time tags are protected (tags.py). Reads no file and asks no network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from urllib.parse import quote, urlsplit, urlunsplit

import css_inline
import idna
import mrml
from jinja2 import TemplateSyntaxError, nodes

from pipelines.errors import Problem
from pipelines.message.compiled import OWN_PAGES, PIXEL, PREHEADER, link_mark
from pipelines.message.sandbox import fill_environment
from pipelines.message.tags import Tag, Tags

ATTRIBUTE = r'\s+[\w:@.-]+(?:="[^"]*")?'
_HREF = re.compile(rf'(<(?:a|area)\b(?:{ATTRIBUTE})*?\s+href=")([^"]*)(")')
_IMAGE = re.compile(rf'<img\b(?:{ATTRIBUTE})*?\s+src="([^"]*)"')
_XLINK = re.compile(r"\sxlink:href\s*=\s*(\"[^\"]*\"|'[^']*')", re.IGNORECASE)
_TABLE = re.compile(r"(<table\b[^>]*>)(?=\s*(?:<!--LMTAG\d+X-->\s*)+<tr\b)")
_BODY = re.compile(r"<body\b[^>]*>")
_HOST = re.compile(r"https?://[a-z0-9.-]+(:\d+)?(/|\?|#)", re.IGNORECASE)
_SPACED = re.compile(r">\s+<")
_WEB = re.compile(r"https?://[^\s<>\"]+")
_ENDS, _BRACKETS = ".,;:!?)]'", {")": "(", "]": "["}
_OTHER = ("mailto:", "tel:", "#")
URI_SAFE = "%/:=&?~#+!$,;'@()*[]"
LONGEST, DEEPEST = 1_000_000, 150
_ENCODING = frozenset({"url", "urlencode"})
_HALF = re.compile("[\ud800-\udfff]")
_ELEMENT = re.compile(r"<(/?)([A-Za-z][\w:.-]*)(?:[^<>\"']|\"[^\"]*\"|'[^']*')*?(/?)>")
# No end, or one that may be left out, so that many stand beside each other without any.
_ALONE = frozenset({
    "area", "base", "br", "col", "dd", "dt", "hr", "img", "input", "li", "link", "meta", "option", "p",
    "source", "td", "th", "tr", "wbr",
})  # fmt: skip


def unbounded(source: str) -> str | None:
    """Why markup is too much for a message; None when it is not.

    The parsers of MJML, CSS and HTML call themselves for each element within another: some thousands of
    them end the whole process (measured: 20,000 do, in all three).
    """
    if len(source) > LONGEST:
        return f"the message has {len(source):,} characters before it is compiled; {LONGEST:,} may"
    depth = deepest = 0
    for ends, name, is_empty in _ELEMENT.findall(source):
        if ends:
            depth -= name.lower() not in _ALONE and depth > 0
        elif not is_empty and name.lower() not in _ALONE:
            depth += 1
            deepest = max(deepest, depth)
    if deepest > DEEPEST:
        return f"elements stand in each other {deepest:,} deep, or are not closed; {DEEPEST} may"
    return None


def unwritable(source: str) -> str | None:
    """Why no file or message can hold a text; None when it can. Half a character comes of an escape."""
    half = _HALF.search(source)
    return (
        f"has half a character, U+{ord(half[0]):04X}, which no message can hold" if half else None
    )


def as_uri(address: str) -> str:
    """A web address as a header carries it: host as A-labels, the rest percent-encoded (RFC 3987, 3.1)."""
    # A template reads braces as tags; in an address they are not allowed as they stand (RFC 3986, 2).
    address = address.replace("{", "%7B").replace("}", "%7D")
    if address.isascii():
        return address
    parts = urlsplit(address)
    try:
        host = idna.encode(parts.hostname or "", uts46=True).decode()
    except idna.IDNAError:
        return address
    port = f":{parts.port}" if parts.port else ""
    rest = (quote(each, safe=URI_SAFE) for each in (parts.path, parts.query, parts.fragment))
    return urlunsplit((parts.scheme, host + port, *rest))


def from_mjml(source: str) -> str:
    """MJML as HTML. Raises OSError with the parser's words; `mj-include` is not supported."""
    source = source.strip()  # of which mrml takes some at the end for words
    try:
        return _rendered(source)
    except OSError:
        # Between some elements mrml takes a space for words, and a line end for nothing.
        return _rendered(_SPACED.sub(">\n<", source))


def _rendered(source: str) -> str:
    # No fonts: the defaults are style sheets on somebody else's server.
    options = mrml.RenderOptions(fonts={})
    # What follows the last element it takes for words, unless it is line ends only.
    return str(mrml.to_html(source.rstrip(), render_options=options).content)


def inlined(markup: str) -> str:
    """The page with its styles on the elements; media queries stay in the head."""
    # A row that follows a tag has no <tbody> yet; without one the parser opens it behind the tag,
    # and a loop that starts at the tag would open one for each round.
    markup = _TABLE.sub(r"\1<tbody>", markup)
    inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=True)
    return str(inliner.inline(markup))


def marked(markup: str) -> str:
    """The page with marks where preheader and pixel belong."""
    body = _BODY.search(markup)
    at = body.end() if body else 0
    end = markup.rfind("</body>")
    end = len(markup) if end < 0 else end
    return markup[:at] + PREHEADER + markup[at:end] + PIXEL + markup[end:]


def image_addresses(markup: str) -> list[str]:
    return [unescape(address) for address in _IMAGE.findall(markup)]


@dataclass
class Links:
    """The links of a message by number, and what is wrong with those that have none."""

    tags: Tags
    addresses: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = {address: number for number, address in enumerate(self.addresses)}

    def number(self, address: str) -> str:
        """The mark of an address; the same address has the same number everywhere."""
        plain = as_uri(address)
        if plain not in self._numbers:
            self._numbers[plain] = len(self.addresses)
            self.addresses.append(plain)
        return link_mark(self._numbers[plain])

    def in_html(self, markup: str) -> str:
        """The page with marks in place of addresses that are the same for everybody."""
        told = "stands in xlink:href, where it could be any address; write href"
        personal = self.tags.within("".join(_XLINK.findall(markup)))
        self.problems += [Problem(each.place, f"'{each.source}' {told}") for each in personal]
        return _HREF.sub(lambda match: match[1] + self._target(match[2]) + match[3], markup)

    def in_text(self, text: str) -> str:
        """The same for addresses in text that somebody wrote."""

        def mark(match: re.Match[str]) -> str:
            address = _without_end(match[0])
            end = match[0][len(address) :]
            if not self.tags.within(address):
                return self.number(address) + end
            if not self._has_host(address):
                self.problems.append(self._not_whole(address))
            return self.tags.rewrite(address, _url_encoded) + end

        return _WEB.sub(mark, text)

    def _target(self, escaped: str) -> str:
        address = unescape(escaped).strip()
        if address in OWN_PAGES or address.startswith(_OTHER):
            return escaped
        personal = self.tags.within(address)
        if not personal and _WEB.fullmatch(address):
            return self.number(address)
        if personal and self._has_host(address):
            return self.tags.rewrite(escaped, _url_encoded)
        self.problems.append(self._not_whole(address))
        return escaped

    def _has_host(self, address: str) -> bool:
        """Whether it leads to one host, whoever follows it."""
        host = _HOST.match(address)
        return host is not None and not self.tags.within(host[0])

    def _not_whole(self, address: str) -> Problem:
        personal = self.tags.within(address)
        what = f"'{self.tags.restore(address)[:80]}' is not a whole web address"
        if personal:
            what += ": its host must be the same for everybody"
        return Problem(personal[0].place if personal else "a link", what)


def _without_end(address: str) -> str:
    """An address in running text, without the marks that end a sentence; a bracket it opened is its own."""
    while address and address[-1] in _ENDS:
        opens = _BRACKETS.get(address[-1], "")
        if opens and address.count(opens) >= address.count(address[-1]):
            break
        address = address[:-1]
    return address


def _url_encoded(tag: Tag) -> Tag:
    """The same tag with its value encoded for a URL."""
    if tag.is_block or _is_encoded(tag.source):
        return tag
    return Tag("{{ (" + tag.source[2:-2].strip("-+ \n") + ")|url }}", tag.file, tag.line)


def _is_encoded(source: str) -> bool:
    """Whether a tag encodes all of its value: of `{{ a ~ b|url }}` the filter has the end alone."""
    try:
        tree = fill_environment(autoescape=False).parse(source)
    except TemplateSyntaxError:
        return False  # told with its place when the message is read
    shown = [each for output in tree.find_all(nodes.Output) for each in output.nodes]
    return [each.name in _ENCODING for each in shown if isinstance(each, nodes.Filter)] == [True]
