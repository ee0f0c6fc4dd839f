"""A page of mail as it looks by day or by night, whatever the viewer's own system says.

Knows the ways a page asks for the time of day: media queries, and which schemes it says it has.
"""

from __future__ import annotations

import re
from enum import StrEnum

_SHEET = re.compile(r"<style\b[^>]*>.*?</style>", re.DOTALL | re.IGNORECASE)
_MEDIA = re.compile(r"<(?:source|link|style)\b[^>]*\bmedia=[^>]*>", re.IGNORECASE)
_ASKED = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(dark|light)\s*\)", re.IGNORECASE)
_SCHEME = re.compile(r"(?<![\w-])((?:supported-)?color-schemes?\s*:\s*)[^;{}<]+", re.IGNORECASE)
_META = re.compile(
    r'(<meta\b[^>]*\bname="(?:supported-)?color-schemes?"[^>]*\bcontent=")[^"]*(")', re.IGNORECASE
)
# Conditions that always and never hold: they fit wherever the question stood, behind a `not` too.
_ALWAYS, _NEVER = "(min-width: 0px)", "(max-width: 0px)"


class Light(StrEnum):
    """The time of day a page is looked at."""

    DAY = "day"
    NIGHT = "night"

    @property
    def scheme(self) -> str:
        return "dark" if self is Light.NIGHT else "light"


def has_night(html: str) -> bool:
    """Whether the page has styles for the night."""
    parts = [*_SHEET.findall(html), *_MEDIA.findall(html)]
    return any(match[1].lower() == "dark" for part in parts for match in _ASKED.finditer(part))


def seen_by(light: Light, html: str) -> str:
    """The page as somebody sees it whose system is set to day or to night."""

    def answered(part: re.Match[str]) -> str:
        return _ASKED.sub(
            lambda asked: _ALWAYS if asked[1].lower() == light.scheme else _NEVER, part[0]
        )

    def sheet(part: re.Match[str]) -> str:
        return _SCHEME.sub(rf"\g<1>{light.scheme}", answered(part))

    page = _MEDIA.sub(answered, _SHEET.sub(sheet, html))
    return _META.sub(rf"\g<1>{light.scheme}\g<2>", page)
