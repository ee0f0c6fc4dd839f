"""Pictures of a campaign in a real browser: each variant, for somebody usual, somebody hard, and in each
further language.

Knows which are taken and what they are called; the browser is browser.py's. Names of files tell
nobody's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.message.browser import LIMIT_SECONDS, opened
from pipelines.message.daylight import Light, has_night
from pipelines.message.preview import HARDEST, READS, Shot, Variant, View

WIDTHS = {"desktop": 640, "phone": 375}


def photographed(
    variants: Sequence[Variant], browser: Path, *, limit_seconds: float = LIMIT_SECONDS
) -> list[Shot]:
    """Every picture there is to take, wide and narrow, whole height; by night too where a message has
    styles for that. Raises BrowserFailed."""
    with opened(browser, limit_seconds=limit_seconds) as camera:
        return [
            Shot(
                f"{variant.name}-{who}-{width}-{light}.png",
                f"{variant.name}, {view.who}, {place} by {light}",
                camera.picture(view.html, width=width, light=light),
            )
            for variant in variants
            for who, view in who_is_shown(variant)
            for place, width in WIDTHS.items()
            for light in (Light if has_night(view.html) else (Light.DAY,))
        ]


def who_is_shown(variant: Variant) -> Iterator[tuple[str, View]]:
    """The first contact, the made-up one that a layout bears least, a reader of each further language;
    not who gets nothing."""
    first, hardest = variant.views[0], [each for each in variant.views if each.who == HARDEST]
    chosen = {"first": first, "hard": hardest[0] if hardest else first}
    readers = [each for each in variant.views if each.who.startswith(READS)]
    chosen |= {each.who.removeprefix(READS).lower(): each for each in readers}
    yield from ((who, view) for who, view in chosen.items() if not view.refused)
