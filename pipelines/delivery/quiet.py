"""Quiet hours: when nobody's envelope begins, by each recipient's own clock.

A moment is quiet when the clocks of a zone show a time within the hours, so a night on which they change
needs no rule of its own. Knows no audience and no ledger.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipelines.campaigns.bundle import Bundle
from pipelines.campaigns.kinds import NO_HOURS, RECIPIENT, hours_of
from pipelines.clock import Clock
from pipelines.delivery.send_times import FALLBACK

MINUTE = timedelta(minutes=1)


class Quiet:
    """The quiet hours of one campaign.

    hours     `21:00-08:00`: from the first minute to the last but one, over midnight if need be
    fallback  the zone of whoever has none that is known
    """

    def __init__(self, hours: str, fallback: str, clock: Clock) -> None:
        given = hours_of(hours)
        assert given is not None
        self._from, self._to = given
        self._fallback, self._clock = _zone(fallback) or UTC, clock
        self._zones = dict[str | None, ZoneInfo | None]()
        # What holds in this minute: clocks change, and hours begin, at whole ones.
        self._minute, self._now = -1, dict[str | None, bool]()

    def holds(self, zone: str | None) -> bool:
        """Whether it is quiet now for whoever lives by this zone's clocks."""
        now = self._clock.now()
        minute = int(now.timestamp() // 60)
        if minute != self._minute:
            self._minute, self._now = minute, {}
        found = self._now.get(zone)
        if found is None:
            found = self._now[zone] = self.is_quiet(zone, now)
        return found

    def is_quiet(self, zone: str | None, at: datetime) -> bool:
        shown = at.astimezone(self._known(zone) or self._fallback).time()
        if self._from < self._to:
            return self._from <= shown < self._to
        return shown >= self._from or shown < self._to

    def ends(self, zone: str | None, at: datetime) -> datetime:
        """The first whole minute from `at` on that is not quiet; `at` itself when it is not."""
        while self.is_quiet(zone, at):
            at = at.replace(second=0, microsecond=0) + MINUTE
        return at

    def _known(self, name: str | None) -> ZoneInfo | None:
        if name not in self._zones:
            self._zones[name] = _zone(name) if name else None
        return self._zones[name]


def quiet_of(bundle: Bundle, clock: Clock) -> Quiet | None:
    """The quiet hours an approved campaign keeps: its own, or else its brand's; None for none."""
    campaign = bundle.campaign
    hours = campaign.quiet_hours or bundle.brand.quiet_hours
    if hours is None or hours == NO_HOURS:
        return None
    zone = FALLBACK if campaign.time_zone in (None, RECIPIENT) else campaign.time_zone
    return Quiet(hours, zone or FALLBACK, clock)


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
