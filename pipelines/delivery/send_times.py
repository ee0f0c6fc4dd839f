"""When each recipient is due: a wall-clock time in a zone, or in each recipient's own.

A time the clocks skip in spring is moved forward by what they skip; of a time they show twice in
autumn the first counts (what `zoneinfo` does with fold=0).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from pipelines.campaigns.campaign import Campaign
from pipelines.campaigns.kinds import IfPassed
from pipelines.schema import UTC_TIME

RECIPIENT = "recipient"
FALLBACK = "UTC"


def send_times(
    zones: pl.Series, campaign: Campaign, *, now: datetime, since: datetime
) -> pl.Series:
    """The due time in UTC of each recipient; `zones` are their IANA names, where known.

    since  whose local time lies before it is due a day later, with `if_passed: next_day`
    """
    if campaign.send_at is None:
        return pl.Series("send_at", [now] * len(zones), dtype=UTC_TIME)
    if campaign.time_zone != RECIPIENT:
        due = in_utc(campaign.send_at, campaign.time_zone or FALLBACK)
        return pl.Series("send_at", [due] * len(zones), dtype=UTC_TIME)
    known = {zone: _due(campaign, zone or FALLBACK, since) for zone in zones.unique().to_list()}
    return zones.replace_strict(
        list(known), list(known.values()), return_dtype=UTC_TIME, default=known.get(None)
    ).alias("send_at")


def is_skipped(send_at: pl.Expr, campaign: Campaign, *, since: datetime) -> pl.Expr:
    """Whether a recipient's local time was over already, and the campaign would rather not be late."""
    may_pass = campaign.time_zone == RECIPIENT and campaign.if_passed is IfPassed.SKIP
    return (send_at < since) if may_pass and campaign.send_at else pl.lit(value=False)


def _due(campaign: Campaign, zone: str, since: datetime) -> datetime:
    assert campaign.send_at is not None
    at = in_utc(campaign.send_at, zone)
    if at >= since or campaign.if_passed is not IfPassed.NEXT_DAY:
        return at
    # Whole days of wall-clock time, so that the hour stays what it is over a change of clocks.
    days = math.ceil((since - at) / timedelta(days=1))
    return in_utc(campaign.send_at + timedelta(days=days), zone)


def in_utc(wall_clock: datetime, zone: str) -> datetime:
    """A local time as UTC; an unknown zone is taken for UTC."""
    try:
        local = wall_clock.replace(tzinfo=ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        local = wall_clock.replace(tzinfo=UTC)
    return local.astimezone(UTC)


def first_due(campaign: Campaign) -> datetime | None:
    """The earliest time at which somebody may be due; None for at once."""
    if campaign.send_at is None:
        return None
    # UTC+14 is the first zone to reach any wall-clock time.
    zone = "Etc/GMT-14" if campaign.time_zone == RECIPIENT else campaign.time_zone or FALLBACK
    return in_utc(campaign.send_at, zone)


def last_due(campaign: Campaign) -> datetime | None:
    """The latest time at which somebody approved in time may be due; None for at once."""
    if campaign.send_at is None:
        return None
    zone = "Etc/GMT+12" if campaign.time_zone == RECIPIENT else campaign.time_zone or FALLBACK
    late = campaign.time_zone == RECIPIENT and campaign.if_passed is IfPassed.NEXT_DAY
    return in_utc(campaign.send_at + timedelta(days=1 if late else 0), zone)
