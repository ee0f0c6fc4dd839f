"""Segments: one asset per file in sql/segments, found, not registered."""

from datetime import datetime

import dagster as dg

from assets.shown import sample
from assets.unreadable import unreadable
from pipelines.resources import LakeResource, WorkspaceResource
from pipelines.segments.members import Change, write
from pipelines.segments.run import Members, evaluate
from pipelines.segments.segment import Segment, discover, load
from pipelines.settings import Settings

OWNER = "team:analytics"


@dg.definitions
def defs() -> dg.Definitions:
    """An asset for every segment; one that cannot be read is an asset that fails and says why."""
    found = discover(Settings.load().project)
    return dg.Definitions(
        assets=[
            _asset(entry)
            if isinstance(entry, Segment)
            else unreadable(["segments", name], entry, group="segments", owner=OWNER)
            for name, entry in found.items()
        ]
    )


class SegmentConfig(dg.Config):
    """as_of: the time the segment asks about, with its zone; empty for now."""

    as_of: str = ""


def _asset(segment: Segment) -> dg.AssetsDefinition:
    @dg.asset(
        key=["segments", segment.name],
        deps=[dg.AssetKey(name.split(".")) for name in segment.inputs],
        group_name="segments",
        kinds={"sql", "duckdb"},
        owners=[segment.header.owner],
        description=f"{segment.header.grain.capitalize()}. {segment.header.description}.",
        code_version=segment.code_version,
        check_specs=[
            dg.AssetCheckSpec(
                "not_empty", asset=["segments", segment.name], description="Somebody is in it."
            )
        ],
    )
    def members(
        context: dg.AssetExecutionContext,
        config: SegmentConfig,
        lake: LakeResource,
        workspace: WorkspaceResource,
    ) -> dg.MaterializeResult:
        current = load(workspace.project, segment.name)
        clock = workspace.clock()
        opened = lake.open()
        as_of = datetime.fromisoformat(config.as_of) if config.as_of else clock.now()
        found = evaluate(current, lake=opened, as_of=as_of, clock=clock)
        change = write(current, found, opened)
        context.log.info(
            "segment=%s size=%d joined=%d left=%d",
            segment.name,
            change.size,
            change.joined,
            change.left,
        )
        check = dg.AssetCheckResult(
            passed=change.size > 0, check_name="not_empty", severity=dg.AssetCheckSeverity.WARN
        )
        return dg.MaterializeResult(metadata=_metadata(found, change), check_results=[check])

    return members


def _metadata(found: Members, change: Change) -> dict[str, dg.MetadataValue]:
    """Counts, the versions read, and a masked sample: no address leaves the lake."""
    return {
        "dagster/row_count": dg.MetadataValue.int(change.size),
        "share of contacts": dg.MetadataValue.float(round(change.share, 4)),
        "joined": dg.MetadataValue.int(change.joined),
        "left": dg.MetadataValue.int(change.left),
        "sample": sample(found.frame),
        "versions read": dg.MetadataValue.json(found.pins),
        "seconds": dg.MetadataValue.float(round(found.seconds, 3)),
    }
