"""Whose line a piece of composed markup is: layouts, blocks and a body are one text once Jinja is done.

Sources are marked before Jinja reads them, and the marks taken out of what comes of it. Only done where
something is to be told: a message that is sent never had marks.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from pipelines.errors import Problem

_JINJA = re.compile(r"\[\[.*?\]\]|\[%.*?%\]|\[#.*?#\]", re.DOTALL)
# What a macro begins and ends with comes out wherever it is called, and nobody calls a layout: these ask
# for nothing that is to be told with their line.
_CALLS_NOTHING = re.compile(r"\[%[-+]?\s*(?:macro|endmacro|extends)\b")
_MARK = re.compile("\ue001([(=)])(\\d+)\ue002")


@dataclass(frozen=True)
class Place:
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass
class Places:
    """Every line met so far, by number."""

    known: list[Place] = field(default_factory=list)

    def marked(self, source: str, file: str) -> str:
        """The source with marks where lines begin and around what Jinja fills in."""
        out, at, line = [], 0, 1
        for tag in _JINJA.finditer(source):
            out.append(self._lines(source[at : tag.start()], file, line))
            line += source.count("\n", at, tag.start())
            is_quiet = bool(_CALLS_NOTHING.match(tag[0]))
            out.append("" if is_quiet else self._mark("(", file, line))
            out.append(tag[0])
            line += tag[0].count("\n")
            out.append(self._mark("=" if is_quiet else ")", file, line))
            at = tag.end()
        return "".join([*out, self._lines(source[at:], file, line)])

    def taken(self, composed: str) -> tuple[str, Origins]:
        """The markup without marks, and where each part of it comes from."""
        parts, origins, callers = [], Origins(), list[Place]()
        at = length = 0
        for mark in _MARK.finditer(composed):
            parts.append(composed[at : mark.start()])
            length += len(parts[-1])
            at = mark.end()
            place = self.known[int(mark[2])]
            if mark[1] == "(":
                callers.append(place)
            elif mark[1] == ")" and callers:
                callers.pop()
            origins.add(length, place, callers)
        return "".join([*parts, composed[at:]]), origins

    def _lines(self, text: str, file: str, line: int) -> str:
        """Text outside of Jinja's brackets: a mark at the start of each line."""
        first, *rest = text.split("\n")
        marked = [
            self._mark("=", file, line + number) + each for number, each in enumerate(rest, 1)
        ]
        start = self._mark("=", file, line) if line == 1 else ""
        return "\n".join([start + first, *marked])

    def _mark(self, kind: str, file: str, line: int) -> str:
        self.known.append(Place(file, line))
        return f"\ue001{kind}{len(self.known) - 1}\ue002"


@dataclass
class Origins:
    """Where each part of a composed markup comes from, by offset."""

    offsets: list[int] = field(default_factory=list)
    places: list[tuple[Place, ...]] = field(default_factory=list)

    def add(self, offset: int, place: Place, callers: list[Place]) -> None:
        self.offsets.append(offset)
        self.places.append((place, *reversed(callers)))

    def problem(self, at: int, what: str, *, own: str, body: str) -> Problem:
        """What is wrong at an offset, told where its author can mend it.

        own   the campaign's folder: its line comes first, a block fails for where it is put
        body  told where no line is known
        """
        found = bisect_right(self.offsets, at) - 1
        if found < 0:
            return Problem(body, what)
        place, *callers = self.places[found]
        if place.file.startswith(own):
            return Problem(str(place), what)
        caller = next((each for each in callers if each.file.startswith(own)), None)
        return Problem(str(caller), f"{what} ({place})") if caller else Problem(str(place), what)
