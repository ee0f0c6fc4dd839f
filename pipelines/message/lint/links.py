"""Where the links and images of a message lead, and whether anybody can follow.

Knows the forms of an address; asks no network. Addresses that differ per person have VALUE in them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from pipelines.message.compiled import OWN_PAGES, CompiledMessage
from pipelines.message.lint.page import VALUE, Element, Page
from pipelines.message.lint.rule import Finding, Rule, Severity
from pipelines.message.public_web import is_public

EMPTY = Rule(
    "link-empty",
    Severity.ERROR,
    "A link or image without an address.",
    "Give it the address it should lead to, or take the link away.",
    may_be_allowed=False,
)
PLACEHOLDER = Rule(
    "link-placeholder",
    Severity.ERROR,
    "An address somebody meant to replace: `#`, `javascript:`, TODO, example.com, a merge tag.",
    "Write the address it should lead to.",
    may_be_allowed=False,
)
RELATIVE = Rule(
    "link-relative",
    Severity.ERROR,
    "An address without scheme or host; a mail has no page it could be relative to.",
    "Write the whole address, from https:// on.",
    may_be_allowed=False,
)
PRIVATE = Rule(
    "link-private-host",
    Severity.ERROR,
    "An address on this computer or in a private network.",
    "Write the address readers can reach.",
)
NOT_HTTPS = Rule(
    "link-not-https",
    Severity.ERROR,
    "A link or image that is not https; the edge's own address is exempt.",
    "Write https:// and see that the page answers there.",
)
BASE = Rule(
    "link-base",
    Severity.ERROR,
    "A <base>, which would lead every address of the message somewhere else.",
    "Take it away, and write whole addresses.",
    may_be_allowed=False,
)
RULES = (BASE, EMPTY, PLACEHOLDER, RELATIVE, PRIVATE, NOT_HTTPS)

# Attributes that are asked for as pictures are, wherever they stand.
_PICTURES = ("background", "poster", "xlink:href")
_CANDIDATE = re.compile(r"\s*([^\s,]\S*[^\s,])[^,]*(?:,|$)")
_IN_STYLE = re.compile(r"url\(\s*(?:\"([^\"]*)\"|'([^']*)'|([^)]*))", re.IGNORECASE)
_ELSEWHERE = ("mailto:", "tel:", "sms:")
_UNDONE = re.compile(r"(?<![a-z0-9])(todo|fixme|tbd|xxx+|your-?(link|url)(-?here)?)(?![a-z0-9])")
# Merge tags of other tools, and ours where they were not filled in or were encoded.
_TAG = re.compile(r"\{\{|\[\[|\}\}|\$\{|<%|%7b%7b|%5b%5b|\*\||%%[a-z_]+%%", re.IGNORECASE)
# RFC 2606: reserved for examples. The domain `.example` is what the demo's own shop has.
_EXAMPLES = re.compile(r"(.+\.)?example\.(com|net|org)")
# Browsers take 127.1 and 0x7f.1 for addresses; no name of the web ends in a number.
_NUMBER = re.compile(r"(^|\.)(0x[0-9a-f]*|[0-9]+)$")
_PRIVATE_ENDS = (".localhost", ".local", ".internal", ".lan", ".intranet", ".home.arpa")


def check(compiled: CompiledMessage, page: Page, public_url: str | None) -> Iterator[Finding]:
    """A finding for each address, the first rule it breaks."""
    if any(each.tag == "base" for each in page.elements):
        yield BASE.found("HTML", "has a <base>")
    own = public_url.rstrip("/") + "/" if public_url else None
    for address, is_image in dict.fromkeys(addresses(compiled, page)):
        if own and address.startswith(own):
            continue
        broken = _broken(address, page, is_image=is_image)
        if broken:
            rule, what = broken
            yield rule.found("link", what)


def addresses(compiled: CompiledMessage, page: Page) -> Iterator[tuple[str, bool]]:
    """Where links and images lead, and which is an image."""
    yield from ((address, False) for address in compiled.links)
    for element in page.elements:
        href = element.attributes.get("href")
        if element.tag in ("a", "area") and href is not None and not page.is_numbered(href):
            yield href.strip(), False
    for element in page.elements:
        if element.tag == "img":
            yield element.attributes.get("src", "").strip(), True
        yield from ((address, True) for address in _loaded(element))
    yield from ((address, True) for address in _in_style(page.sheets))


def _loaded(element: Element) -> Iterator[str]:
    """What a mail program would load for an element, beside the picture it may be."""
    given = element.attributes
    yield from (given[name].strip() for name in _PICTURES if name in given)
    yield from _CANDIDATE.findall(given.get("srcset", ""))
    yield from _in_style(given.get("style", ""))


def _in_style(style: str) -> Iterator[str]:
    for found in _IN_STYLE.findall(style):
        address = "".join(found).strip()
        if not address.startswith("#"):  # a part of the page itself
            yield address


def _broken(address: str, page: Page, *, is_image: bool) -> tuple[Rule, str] | None:
    shown = f"'{address[:80].replace(VALUE, '…')}'"
    if address in OWN_PAGES:
        return None
    if not address:
        return EMPTY, f"{'an image' if is_image else 'a link'} has no address"
    if address.startswith("#"):
        leads = len(address) > 1 and address[1:] in page.names
        return None if leads else (PLACEHOLDER, f"{shown} leads nowhere")
    if address.lower().startswith(_ELSEWHERE) and not is_image:
        rest = address.partition(":")[2]
        return None if rest.strip() else (EMPTY, f"{shown} names nobody")
    if address.lower().startswith("cid:") and is_image:
        return None
    parts = _split(address)
    if _is_placeholder(address, parts):
        return PLACEHOLDER, f"{shown} is a placeholder"
    if (
        parts is None
        or not parts.scheme
        or (parts.scheme in ("http", "https") and not parts.netloc)
    ):
        return RELATIVE, f"{shown} is not a whole web address"
    if _is_private(parts.hostname or ""):
        return PRIVATE, f"{shown} leads to a private host"
    return None if parts.scheme == "https" else (NOT_HTTPS, f"{shown} is not https")


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        _ = parts.port, parts.hostname  # read only here are they found to be none
    except ValueError:
        return None
    return parts


def _is_placeholder(address: str, parts: SplitResult | None) -> bool:
    if _TAG.search(address) or address.startswith(VALUE):
        return True
    if parts is None:
        return False
    if parts.scheme == "javascript" or VALUE in parts.netloc:
        return True
    place = f"{parts.hostname or ''}{parts.path}#{parts.fragment}".lower()
    return bool(_EXAMPLES.fullmatch(parts.hostname or "") or _UNDONE.search(place))


def _is_private(host: str) -> bool:
    host = host.rstrip(".")
    try:
        return not is_public(str(ipaddress.ip_address(host)))
    except ValueError:
        is_name = "." in host and not host.endswith(_PRIVATE_ENDS) and not _NUMBER.search(host)
        return bool(host) and not is_name
