"""Which events the table has already: all that are said once, and the newest of the others.

The window is seeded from the table itself, so it needs no state of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from pipelines.engagement.events import SAID_ONCE
from pipelines.lake import Lake
from pipelines.schema import ENGAGEMENT_EVENTS

WINDOW = 200_000


class Seen:
    """A set of event ids; past `window` of them the oldest that may repeat are forgotten."""

    def __init__(
        self, for_good: Iterable[str] = (), recent: Iterable[str] = (), *, window: int = WINDOW
    ) -> None:
        self._for_good = set(for_good)
        self._recent = dict.fromkeys(recent)
        self._window = window

    @classmethod
    def of(cls, lake: Lake) -> Seen:
        """What a table holds, at the start of a flow."""
        held = lake.read(ENGAGEMENT_EVENTS.name).select("event_id", "kind", "occurred_at")
        once = pl.col("kind").is_in([kind.value for kind in SAID_ONCE])
        for_good = held.filter(once).select("event_id").collect()
        recent = held.filter(~once).top_k(WINDOW, by="occurred_at").sort("occurred_at").collect()
        return cls(for_good["event_id"], recent["event_id"])

    def add(self, event_id: str, *, for_good: bool = False) -> bool:
        """Remember an event; False when it is known."""
        if event_id in self._for_good or event_id in self._recent:
            return False
        if for_good:
            self._for_good.add(event_id)
            return True
        self._recent[event_id] = None
        if len(self._recent) > self._window:
            del self._recent[next(iter(self._recent))]
        return True
