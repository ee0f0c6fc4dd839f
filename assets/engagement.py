"""What recipients did: the stream's table, observed, and its roll-up by contact."""

from __future__ import annotations

import dagster as dg

from assets.shown import sample
from pipelines.engagement import rollup
from pipelines.refresh import made_anew
from pipelines.resources import LakeResource, WorkspaceResource
from pipelines.schema import ENGAGEMENT, ENGAGEMENT_EVENTS
from pipelines.segments.header import Refresh
from streaming import flow

EVENTS_KEY = dg.AssetKey(["core", "engagement_events"])
OWNERS = ["team:data"]

engagement_events = dg.AssetSpec(
    EVENTS_KEY,
    description="One row per event: something a recipient, or a machine on their behalf, did. "
    "Written by the stream, not by Dagster.",
    owners=OWNERS,
    group_name="engagement",
    kinds={"bytewax", "deltalake"},
)


@dg.asset_check(asset=EVENTS_KEY, name="stream_keeps_up")
def stream_keeps_up(lake: LakeResource, workspace: WorkspaceResource) -> dg.AssetCheckResult:
    """Every hit in the event log is in the table; the metadata says how far behind it is."""
    lags = flow.lag(workspace.home())
    behind = sum(end - committed for committed, end in lags.values())
    dead = flow.dead_letters(workspace.home())
    return dg.AssetCheckResult(
        passed=behind == 0 and dead == 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "dagster/row_count": lake.open().count(ENGAGEMENT_EVENTS.name),
            "bytes_behind": behind,
            "unreadable_records": dead,
        },
    )


@dg.asset(
    key=["core", "engagement"],
    # It also reads campaigns.sends, but what was sent decides tomorrow's segments and so tomorrow's
    # sends: a circle through time that a graph of one moment cannot draw.
    deps=[EVENTS_KEY],
    owners=OWNERS,
    group_name="engagement",
    kinds={"polars", "deltalake"},
    automation_condition=made_anew(Refresh.DAILY),
)
def engagement(lake: LakeResource, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """One row per contact who was ever sent a message or did something; machines left out."""
    tables = lake.open()
    pins = tables.pin([ENGAGEMENT_EVENTS.name, "campaigns.sends"])
    events = tables.read(ENGAGEMENT_EVENTS.name, pins.get(ENGAGEMENT_EVENTS.name))
    sends = tables.read("campaigns.sends", pins.get("campaigns.sends"))
    rows = rollup.engagement(events, sends, as_of=workspace.clock().now())
    version = tables.replace(ENGAGEMENT, rows)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "version": version,
            "read_versions": pins,
            "sample": sample(rows),
        }
    )
