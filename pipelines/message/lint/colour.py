"""Colours as CSS writes them, as `#rrggbb`. Knows hex, rgb() and the names that are common."""

from __future__ import annotations

import re
from functools import lru_cache

WHITE = "#ffffff"
_NAMES = {
    "black": "#000000",
    "white": WHITE,
    "gray": "#808080",
    "grey": "#808080",
    "silver": "#c0c0c0",
    "lightgray": "#d3d3d3",
    "lightgrey": "#d3d3d3",
    "darkgray": "#a9a9a9",
    "darkgrey": "#a9a9a9",
    "dimgray": "#696969",
    "whitesmoke": "#f5f5f5",
    "red": "#ff0000",
    "darkred": "#8b0000",
    "maroon": "#800000",
    "orange": "#ffa500",
    "gold": "#ffd700",
    "yellow": "#ffff00",
    "lime": "#00ff00",
    "green": "#008000",
    "darkgreen": "#006400",
    "olive": "#808000",
    "teal": "#008080",
    "aqua": "#00ffff",
    "cyan": "#00ffff",
    "blue": "#0000ff",
    "navy": "#000080",
    "darkblue": "#00008b",
    "purple": "#800080",
    "fuchsia": "#ff00ff",
    "magenta": "#ff00ff",
    "pink": "#ffc0cb",
    "brown": "#a52a2a",
}
_HEX = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})")
_RGB = re.compile(
    r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*(?:[,/]\s*1(?:\.0+)?\s*)?\)"
)


@lru_cache(maxsize=1024)
def colour_of(text: str) -> str | None:
    """The colour as `#rrggbb`; None for one that lets something through or has a rarer form."""
    text = text.lower().removesuffix("!important").strip()
    if text in _NAMES:
        return _NAMES[text]
    if _HEX.fullmatch(text):
        return text if len(text) == 7 else "#" + "".join(digit * 2 for digit in text[1:])
    if match := _RGB.fullmatch(text):
        parts = [int(part) for part in match.groups()]
        return "#{:02x}{:02x}{:02x}".format(*parts) if max(parts) <= 255 else None
    return None
