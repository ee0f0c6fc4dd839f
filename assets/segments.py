"""Segments: one asset per file in sql/segments, found, not registered."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import dagster as dg

from assets.shown import sample, sizes_over_time
from assets.unreadable import unreadable
from pipelines.clock import Clock
from pipelines.errors import LettermillError, SegmentFailed
from pipelines.lake import Lake
from pipelines.refresh import made_anew
from pipelines.resources import LakeResource, WorkspaceResource
from pipelines.schema import SEGMENT_HISTORY, SEGMENT_RUNS
from pipelines.segments.checks import Outcome, described
from pipelines.segments.header import Refresh, Status
from pipelines.segments.history import runs
from pipelines.segments.members import Change, as_before, is_current, judged, write
from pipelines.segments.project import SqlFiles, discover, load, sql_files
from pipelines.segments.run import Members, run
from pipelines.segments.segment import Segment, SqlFile
from pipelines.settings import Settings

OWNER = "team:analytics"
# Written beside the members by every run; no asset of their own.
KEPT_BY_RUNS = (SEGMENT_HISTORY.name, SEGMENT_RUNS.name)


@dg.definitions
def defs() -> dg.Definitions:
    """An asset for every segment; one that cannot be read is an asset that fails and says why."""
    project = Settings.load().project
    files = sql_files(project)
    return dg.Definitions(
        assets=[
            _asset(entry, files)
            if isinstance(entry, Segment)
            else unreadable(["segments", name], entry, group="segments", owner=OWNER)
            for name, entry in discover(project).items()
        ]
    )


class SegmentConfig(dg.Config):
    """as_of: the time the segment asks about, in UTC or with its zone; empty for now.

    force: evaluate it although nothing it reads has changed.
    """

    as_of: str = ""
    force: bool = False


def _asset(segment: Segment, files: SqlFiles) -> dg.AssetsDefinition:
    @dg.asset(
        key=["segments", segment.name],
        deps=upstream(segment),
        group_name="segments",
        kinds={"sql", "duckdb"},
        owners=[segment.header.owner],
        tags={"status": segment.header.status.value},
        description=described_as(segment),
        code_version=_version(segment, files),
        automation_condition=refreshed(segment, files),
        check_specs=[
            dg.AssetCheckSpec(
                name, asset=["segments", segment.name], description=told, blocking=blocks
            )
            for name, (told, blocks) in described(segment.header.checks).items()
        ],
    )
    def members(
        context: dg.AssetExecutionContext,
        config: SegmentConfig,
        lake: LakeResource,
        workspace: WorkspaceResource,
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        clock, opened = workspace.clock(), lake.open()
        current, known = load(workspace.project, segment.name), sql_files(workspace.project)
        as_of = moment(config.as_of, clock)
        if not config.force and is_current(current, known, opened):
            context.log.info("segment=%s skipped=nothing_it_reads_changed", segment.name)
            yield from _as_before(segment, opened, clock.now())
            return
        found = run(current, lake=opened, as_of=as_of, files=known, clock=clock)
        outcomes = judged(current, found, opened, now=clock.now())
        _require_declared(segment, outcomes)
        for each in outcomes:
            yield _result(segment, each)
        try:
            change = write(current, found, opened, files=known, outcomes=outcomes)
        except SegmentFailed as failed:
            raise dg.Failure(str(failed), allow_retries=False) from failed
        context.log.info(
            "segment=%s size=%d joined=%d left=%d",
            segment.name,
            change.size,
            change.joined,
            change.left,
        )
        plot = sizes_over_time(runs(segment.name, opened))
        yield dg.MaterializeResult(metadata={**_metadata(found, change), "size over time": plot})

    return members


def moment(text: str, clock: Clock) -> datetime:
    """The time a run is asked for; now without one, and UTC without a zone."""
    found = datetime.fromisoformat(text) if text else clock.now()
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def upstream(file: SqlFile) -> list[dg.AssetKey]:
    """The assets a file reads. Not what was sent: that decides tomorrow's segments, and these decide
    tomorrow's sends, a circle through time that a graph of one moment cannot draw.
    """
    assets = [name.split(".") for name in file.inputs if not name.startswith("campaigns.")]
    return [dg.AssetKey(key) for key in assets if ".".join(key) not in KEPT_BY_RUNS]


def refreshed(file: SqlFile, files: SqlFiles) -> dg.AutomationCondition | None:
    """By its header, or on change when nothing in it asks the time."""
    try:
        asks = files.asks_the_time(file)
    except LettermillError:
        asks = file.uses_as_of
    if isinstance(file, Segment) and file.header.status is Status.DRAFT:
        return None  # whoever writes it runs it
    return made_anew(file.header.refresh if asks else Refresh.ON_CHANGE)


def _version(segment: Segment, files: SqlFiles) -> str:
    """Of the file and all it stands on; of the file alone when one of those cannot be read."""
    try:
        return files.code_version(segment)
    except LettermillError:
        return segment.code_version


def described_as(file: SqlFile) -> str:
    """The header's description, grain and parameters, for the UI."""
    header = file.header
    lines = [f"{header.grain[:1].upper()}{header.grain[1:]}. {file.description}."]
    if header.replaced_by:
        lines.append(f"Deprecated: read {file.layer}.{header.replaced_by} instead.")
    lines += [
        f"`${name}` = {each.default}: {each.description}"
        for name, each in header.parameters.items()
    ]
    return "\n\n".join(lines)


def _result(segment: Segment, outcome: Outcome) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.ERROR if outcome.blocks else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        passed=outcome.passed,
        check_name=outcome.name,
        asset_key=["segments", segment.name],
        severity=severity,
        metadata={"found": outcome.told},
    )


def _require_declared(segment: Segment, outcomes: Iterable[Outcome]) -> None:
    """A check that a header got after the graph was loaded is none that Dagster knows."""
    new = {each.name for each in outcomes} - set(described(segment.header.checks))
    if new:
        told = f"{segment.path} has new checks ({', '.join(sorted(new))}): reload the code location"
        raise dg.Failure(told, allow_retries=False)


def _as_before(
    segment: Segment, lake: Lake, now: datetime
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    """What the last run found still holds: the same checks, the same size."""
    size, outcomes = as_before(segment.name, lake, now=now)
    for each in outcomes:
        yield _result(segment, each)
    told = dg.MetadataValue.text("nothing it reads has changed")
    yield dg.MaterializeResult(metadata={"dagster/row_count": size, "skipped": told})


def _metadata(found: Members, change: Change) -> dict[str, dg.MetadataValue]:
    """Counts, the versions read, and a masked sample: no address leaves the lake."""
    return {
        "dagster/row_count": dg.MetadataValue.int(change.size),
        "share of contacts": dg.MetadataValue.float(round(change.share, 4)),
        "joined": dg.MetadataValue.int(change.joined),
        "left": dg.MetadataValue.int(change.left),
        "sample": sample(found.frame),
        "versions read": dg.MetadataValue.json(found.pins),
        "bytes read": dg.MetadataValue.int(found.bytes_read),
        "seconds": dg.MetadataValue.float(round(found.seconds, 3)),
    }
