"""Roll sends and events up to one row per contact.

Pure and lazy: frames in, a frame out. Machine events are left out; a send counts when the relay
took the message, and an open could only be seen where the message was tracked.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from pipelines.schema import ENGAGEMENT

WINDOW = timedelta(days=90)
# States of the ledger in which a message went out.
SENT = ("accepted", "confirmed_sent")


def engagement(events: pl.LazyFrame, sends: pl.LazyFrame, *, as_of: datetime) -> pl.DataFrame:
    """Rows of core.engagement as they stood at a time.

    events  core.engagement_events
    sends   campaigns.sends
    as_of   nothing later counts; the 90 days end here
    """
    rows = _sent(sends, as_of).join(
        _done(events, as_of), on="contact_id", how="full", coalesce=True
    )
    counts = [name for name in ENGAGEMENT.columns if name.endswith("_90_days")]
    whole = rows.with_columns(pl.col(counts).fill_null(0)).sort("contact_id")
    return whole.select(ENGAGEMENT.columns.keys()).cast(dict(ENGAGEMENT.columns)).collect()  # type: ignore[arg-type]


def _sent(sends: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    at, tracked = pl.col("settled_at"), pl.col("is_tracked").fill_null(False)
    recent = at > as_of - WINDOW
    went_out = pl.col("state").is_in(SENT) & (at <= as_of)
    return (
        sends.filter(went_out)
        .group_by("contact_id")
        .agg(
            last_sent_at=at.max(),
            last_tracked_sent_at=at.filter(tracked).max(),
            sent_90_days=recent.sum(),
            tracked_sent_90_days=(recent & tracked).sum(),
        )
    )


def _done(events: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    at, kind = pl.col("occurred_at"), pl.col("kind")
    recent = at > as_of - WINDOW
    return (
        events.filter(~pl.col("is_machine") & (at <= as_of))
        .group_by("contact_id")
        .agg(
            last_opened_at=at.filter(kind == "open").max(),
            last_clicked_at=at.filter(kind == "click").max(),
            opened_90_days=(recent & (kind == "open")).sum(),
            clicked_90_days=(recent & (kind == "click")).sum(),
        )
    )
