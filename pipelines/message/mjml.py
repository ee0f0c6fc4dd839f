"""What is wrong with MJML, element by element: what mrml refuses without saying where, and what it
swallows without a word.

Knows how MJML and the HTML within it are written; its elements are data, mjml_facts.py. A flaw is told
at an offset of the markup; whose line that is, is known to places.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.errors import did_you_mean
from pipelines.message.mjml_facts import EVERYWHERE, VOID, Fact, Holds, elements

SHOWN = 40
# Elements in it are defaults: without content, and with the attributes of any.
DEFAULTS = "mj-attributes"
# Elements in which mrml bears no comment, though MJML does.
_UNCOMMENTED = (DEFAULTS, "mj-accordion-element", "mj-carousel")

_TOKEN = re.compile(r"<!--(?P<comment>.*?)-->|<(?P<end>/?)(?P<name>[^\W\d][\w.-]*)", re.DOTALL)
_ATTRIBUTE = re.compile(
    r"(?P<space>\s*)(?P<name>:?[^\W\d][\w.-]*)(?:\s*=\s*(?P<value>\"[^\"]*\"|'[^']*'|[^\s\"'<>]+))?"
)
_TAG_END = re.compile(r"\s*(?P<empty>/?)>")
# What XML cannot hold, and an end of what never began.
_FORBIDDEN = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ufffe\\uffff]|]]>")
# Within quotes: a tag there means that they were never closed.
_TAG_WITHIN = re.compile(r"</?[A-Za-z]")


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong, and the offset of what it is about."""

    at: int
    what: str


@dataclass(frozen=True)
class _Open:
    """An element that is not closed yet."""

    name: str
    at: int
    holds: Holds


def flaws(source: str) -> list[Flaw]:
    """Everything that is wrong, in order. What cannot be read any further ends the list."""
    return list(_Reading(source).flaws())


class _Reading:
    """One pass through the markup: where it is, and which elements are open."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.open: list[_Open] = []
        self.bodies = 0
        self.is_lost = False

    def flaws(self) -> Iterator[Flaw]:
        if forbidden := _FORBIDDEN.search(self.source):
            yield self._lost(forbidden.start(), f"{forbidden[0]!r} cannot stand in MJML")
        while not self.is_lost and (start := self.source.find("<", self.at)) >= 0:
            yield from self._words(self.at, start)
            token = _TOKEN.match(self.source, start)
            if token is None:
                yield self._lost(start, _unreadable(self.source, start))
            elif token["comment"] is not None:
                self.at = token.end()
                yield from self._comment(token)
            elif token["end"]:
                yield from self._closed(token)
            else:
                yield from self._opened(token)
        if self.is_lost:
            return
        yield from self._words(self.at, len(self.source))
        if self.open:
            yield Flaw(self.open[-1].at, f"<{self.open[-1].name}> is not closed")
        elif not self.source.strip():
            yield Flaw(0, "is empty; MJML begins with <mjml>")

    def _lost(self, at: int, what: str) -> Flaw:
        self.is_lost = True
        return Flaw(at, what)

    def _words(self, start: int, end: int) -> Iterator[Flaw]:
        words = self.source[start:end]
        around = self.open[-1] if self.open else None
        if not words.strip() or (around and around.holds in (Holds.HTML, Holds.TEXT)):
            return
        at = start + len(words) - len(words.lstrip())
        shown = " ".join(words.split())[:SHOWN]
        where = f"in <{around.name}>, outside of any <mj-text>" if around else "outside of <mjml>"
        yield Flaw(at, f"'{shown}' stands {where}")

    def _comment(self, token: re.Match[str]) -> Iterator[Flaw]:
        around = self.open[-1] if self.open else None
        if "--" in f"{token['comment']}-":
            # mrml reads a comment up to the first --, whatever follows.
            yield Flaw(token.start(), "a comment holds --, which ends it too early")
        elif around is not None and (
            around.holds in (Holds.TEXT, Holds.NOTHING) or around.name in _UNCOMMENTED
        ):
            yield Flaw(token.start(), f"'{token[0][:SHOWN]}' cannot stand in <{around.name}>")

    def _opened(self, token: re.Match[str]) -> Iterator[Flaw]:
        name, start = token["name"], token.start()
        fact = elements().get(name)
        yield from self._misplaced(name, start, fact)
        self.at = token.end()
        seen: set[str] = set()
        while not (end := _TAG_END.match(self.source, self.at)):
            attribute = _ATTRIBUTE.match(self.source, self.at)
            broken = _broken(attribute, self.source, self.at)
            if broken or attribute is None:
                yield self._lost(start, f"<{name}> {broken}")
                return
            self.at = attribute.end()
            yield from _attribute(name, attribute, seen, start, self._fact_of(name, fact))
        self.at = end.end()
        if end["empty"] or (not name.startswith("mj") and name.lower() in VOID):
            return
        holds = fact.holds if fact else Holds.HTML
        if self.open and self.open[-1].name == DEFAULTS:
            holds = Holds.NOTHING
        self.open.append(_Open(name, start, holds))

    def _fact_of(self, name: str, fact: Fact | None) -> Fact | None:
        """What an element's attributes may be: of defaults, those of any element."""
        within = self.open[-1].name if self.open else ""
        is_default = within == DEFAULTS
        return None if is_default or not name.startswith("mj") else fact

    def _misplaced(self, name: str, at: int, fact: Fact | None) -> Iterator[Flaw]:
        around = self.open[-1] if self.open else None
        if name == "mj-include":
            yield Flaw(at, "<mj-include> is not supported: include a template with [% include %]")
        elif name.startswith("mj-") and fact is None:
            near = did_you_mean(name, elements())
            yield Flaw(at, f"<{name}> is no element of MJML.{near}")
        elif name.lower().startswith("mj-") and fact is None:
            yield Flaw(at, f"<{name}> is no element of MJML. Did you mean '{name.lower()}'?")
        elif around is None:
            if name != "mjml" or at > len(self.source) - len(self.source.lstrip()):
                yield from self._outside(name, at)
        elif around.name == DEFAULTS and fact is not None:
            return
        elif fact is not None and around.name not in fact.within:
            may = " or ".join(f"<{each}>" for each in fact.within[:2])
            yield Flaw(at, f"<{name}> cannot stand in <{around.name}>; put it into {may}")
        elif fact is None and around.holds is not Holds.HTML:
            into = "<mj-raw>" if around.name == "mj-head" else "<mj-text> or <mj-raw>"
            yield Flaw(at, f"<{name}> cannot stand in <{around.name}>; put it into {into}")
        elif name == "mj-body":
            self.bodies += 1
            if self.bodies > 1:
                yield Flaw(at, "<mj-body> stands there a second time; there can be one")

    def _outside(self, name: str, at: int) -> Iterator[Flaw]:
        if self.source[:at].strip() and name != "mjml" and "<mjml" in self.source[:at]:
            yield Flaw(at, f"<{name}> stands behind </mjml>")
        elif name != "mjml":
            yield Flaw(at, f"<{name}> stands outside of <mjml>")

    def _closed(self, token: re.Match[str]) -> Iterator[Flaw]:
        name, at = token["name"], token.start()
        end = re.compile(r"\s*>").match(self.source, token.end())
        if end is None:
            yield self._lost(at, f"</{name} is not closed: write </{name}>")
            return
        self.at = end.end()
        if self.open and self.open[-1].name == name:
            self.open.pop()
        elif any(each.name == name for each in self.open):
            # Its own end comes later than that of what it stands in: it has none.
            last = self.open[-1]
            yield self._lost(last.at, f"<{last.name}> is not closed before </{name}>")
        else:
            last_open = f"; the element open there is <{self.open[-1].name}>" if self.open else ""
            yield self._lost(at, f"</{name}> closes nothing{last_open}")


def _attribute(
    name: str, attribute: re.Match[str], seen: set[str], at: int, fact: Fact | None
) -> Iterator[Flaw]:
    given, value = attribute["name"], attribute["value"]
    if given in seen:
        yield Flaw(at, f"<{name}> has the attribute '{given}' twice")
    seen.add(given)
    if fact is None or fact.attributes is None:
        return
    known = {*fact.attributes, *EVERYWHERE}
    if given not in known:
        near = did_you_mean(given, known)
        yield Flaw(at, f"'{given}' is no attribute of <{name}>: it would do nothing.{near}")
    elif value is None:
        yield Flaw(at, f"<{name}> has the attribute '{given}' without a value")


def _broken(attribute: re.Match[str] | None, source: str, at: int) -> str:
    """Why a tag cannot be read from here on; empty when it can."""
    if attribute is None or not source[at:].strip():
        found = source[at:].strip()[:1]
        if not found or found == "<":
            return "is not ended with >"
        return f"has {found} where an attribute or > should be"
    name, value = attribute["name"], attribute["value"]
    rest = source[attribute.end() :].lstrip()
    if value is None and rest.startswith("="):
        unquoted = rest[1:].lstrip()[:1]
        closed = "is not closed" if unquoted in ("'", '"') else "has no value"
        return (
            f"has an attribute '{name}' whose quote {closed}" if unquoted else "is not ended with >"
        )
    if value is not None and value[0] not in "\"'":
        return f'has an attribute without quotes: write {name}="{value[:SHOWN]}"'
    if value is not None and _TAG_WITHIN.search(value):
        return f"has an attribute '{name}' whose quote is not closed"
    if not attribute["space"]:
        return f"has no space before the attribute '{name}'"
    return ""


def _unreadable(source: str, at: int) -> str:
    if source.startswith("<!--", at):
        return "a comment is not closed with -->"
    if source.startswith(("<!", "<?"), at):
        shown = source[at : at + SHOWN].partition(">")[0]
        return f"'{shown}>' is nothing MJML knows; take it away"
    return "a '<' that begins no element is written &lt;"
