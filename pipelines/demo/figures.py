"""The figures of a demonstration, read from the tables it made: what went in, and what came out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from pipelines.demo.prepare import Demo
from pipelines.lake import Lake

SENT = ("accepted", "confirmed_sent")


@dataclass(frozen=True)
class Figures:
    """Cumulative counts of one demo home; people are counted once, machines' opens and clicks not at all."""

    read: int
    quarantined: int
    contacts: int
    segment_size: int  # as of the campaign's time
    excluded: dict[str, int]
    held_out: int
    sent: int
    sent_this_run: int
    opened: int
    clicked: int
    unsubscribed: int
    bounced: int
    preview_path: str
    report_path: str
    maildir_path: str
    seconds: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def figures(demo: Demo, *, sent_before: int, seconds: dict[str, float]) -> Figures:
    """Read them from the lake; `sent_before` is what had been sent when this run began."""
    lake = Lake(demo.home.lake)
    audience = _of(lake, "campaigns.audience", demo).collect()
    reasons = (
        audience.filter(decision="excluded").group_by("reason").len().sort("len", descending=True)
    )
    people = _people(lake, demo)
    sent = sent_so_far(demo)
    return Figures(
        read=_rows(lake, "raw"),
        quarantined=_rows(lake, "quarantine"),
        contacts=lake.count("core.contacts"),
        segment_size=audience.height,
        excluded=dict(reasons.rows()),
        held_out=audience.filter(decision="hold_out").height,
        sent=sent,
        sent_this_run=sent - sent_before,
        opened=people.get("open", 0),
        clicked=people.get("click", 0),
        unsubscribed=people.get("unsubscribe", 0),
        bounced=people.get("bounce", 0),
        preview_path=str(demo.home.previews / f"{demo.campaign}.html"),
        report_path=str(demo.home.reports / f"{demo.campaign}.html"),
        maildir_path=str(demo.home.sink),
        seconds={name: round(value, 2) for name, value in seconds.items()},
    )


def sent_so_far(demo: Demo) -> int:
    """Recipients of the demo's campaign whose message was accepted."""
    sends = _of(Lake(demo.home.lake), "campaigns.sends", demo)
    return int(sends.filter(pl.col("state").is_in(SENT)).select(pl.len()).collect().item())


def _of(lake: Lake, table: str, demo: Demo) -> pl.LazyFrame:
    return lake.read(table).filter(pl.col("campaign") == demo.campaign)


def _people(lake: Lake, demo: Demo) -> dict[str, int]:
    events = _of(lake, "core.engagement_events", demo).filter(~pl.col("is_machine"))
    counted = events.group_by("kind").agg(pl.col("contact_id").n_unique()).collect()
    return dict(counted.rows())


def _rows(lake: Lake, layer: str) -> int:
    return sum(lake.count(name) for name in lake.names() if name.startswith(f"{layer}."))
