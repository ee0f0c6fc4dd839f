"""Keep who is in a segment, who came and who left.

`segments.<name>` holds the members of the last run, `segments.history` one row per stay, and
`segments.runs` one row per run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import polars as pl

from pipelines.errors import Problem, SegmentFailed
from pipelines.lake import Lake
from pipelines.schema import SEGMENT_HISTORY, SEGMENT_RUNS, UTC_TIME, Table
from pipelines.segments import checks
from pipelines.segments.audit import CONTACTS
from pipelines.segments.checks import Outcome
from pipelines.segments.history import last_run, members_at, runs, sizes
from pipelines.segments.project import SqlFiles
from pipelines.segments.run import ALONE, Members, require
from pipelines.segments.segment import Segment

# Clocks of two machines may differ by so much.
CLOCKS_DIFFER = timedelta(minutes=5)
COMPACT_EVERY = 50


@dataclass(frozen=True)
class Change:
    """Size now, and the difference from the last run."""

    size: int
    joined: int
    left: int
    share: float  # of all contacts
    since: datetime | None = None  # the time the last run asked about


def members_table(segment: Segment, frame: pl.DataFrame) -> Table:
    extra = {
        name: kind for name, kind in frame.schema.items() if name not in ("contact_id", "as_of")
    }
    columns: dict[str, pl.DataType | type[pl.DataType]] = {"contact_id": pl.Int64, **extra}
    columns["as_of"] = UTC_TIME
    return Table(segment.table, segment.header.grain, columns, personal=bool(extra))


def compare(segment: Segment, members: Members, lake: Lake) -> Change:
    """How these members differ from the last run's; writes nothing."""
    last = last_run(segment.name, lake)
    joined, left = moved(members, _last(segment, lake))
    return Change(
        size=members.frame.height,
        joined=joined.height,
        left=left.height,
        share=members.frame.height / members.contacts if members.contacts else 0.0,
        since=last["as_of"] if last else None,
    )


def movers(
    segment: Segment, members: Members, lake: Lake, since: datetime | None = None
) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """Who joined and who left (contact_id) since a time, or since the last run; None when nothing is
    kept of then.
    """
    if since is None:
        return moved(members, _last(segment, lake)) if last_run(segment.name, lake) else None
    before = members_at(segment.name, since, lake)
    return None if before is None else moved(members, before.select("contact_id"))


def moved(members: Members, before: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Who is in these members and was not before, and the other way round (contact_id)."""
    now = members.frame.select(pl.col("contact_id").cast(pl.Int64))
    return (
        now.join(before, on="contact_id", how="anti"),
        before.join(now, on="contact_id", how="anti"),
    )


def is_current(segment: Segment, files: SqlFiles, lake: Lake) -> bool:
    """Whether running it again must give the same members: nothing it reads or says has changed.

    Never so for one that asks about the time.
    """
    last = last_run(segment.name, lake)
    if last is None or files.asks_the_time(segment):
        return False
    if {each["name"] for each in json.loads(last["checks"])} != set(
        checks.described(segment.header.checks)
    ):
        return False  # an earlier release asked other things of it
    tables = {CONTACTS, *files.tables(files.stack(segment))}
    is_same: bool = lake.pin(tables) == json.loads(last["read_versions"])
    return is_same and last["code_version"] == files.code_version(segment)


def as_before(name: str, lake: Lake, *, now: datetime) -> tuple[int, tuple[Outcome, ...]]:
    """The size and the checks of the last run, where it is current; only how fresh its inputs are is new."""
    last = runs(name, lake).row(-1, named=True)
    found = [Outcome(**each) for each in json.loads(last["checks"])]
    changed = {table: lake.changed_at(table) for table in json.loads(last["read_versions"])}
    fresh = checks.of_inputs(changed, now)
    return last["size"], tuple(fresh if each.name == fresh.name else each for each in found)


def judged(segment: Segment, members: Members, lake: Lake, *, now: datetime) -> tuple[Outcome, ...]:
    """Every check of these members: those of the rows, and those that need the past and the present."""
    before = sizes(segment.name, lake)
    changed = {name: lake.changed_at(name) for name in (*members.pins, *members.unwritten)}
    growth = checks.of_growth(members.frame.height, before, segment.header.checks)
    return (*members.outcomes, growth, checks.of_inputs(changed, now))


def write(
    segment: Segment,
    members: Members,
    lake: Lake,
    *,
    files: SqlFiles = ALONE,
    outcomes: Sequence[Outcome] | None = None,
) -> Change:
    """Put these members in place of the last run's and close or open their stays.

    outcomes  of `judged`; found here without them

    Raises SegmentFailed when a blocking check failed, which is noted among the runs, and when they
    are of an earlier time than the last run's: no stay may end before it began. History goes first:
    a run that dies between the two does it again from the open stays.
    """
    if outcomes is None:
        outcomes = judged(segment, members, lake, now=lake.clock.now())
    if checks.stopping(outcomes):
        before = Change(members.frame.height, 0, 0, 0.0)
        _append_run(_told(segment, members, before, outcomes, files, lake, is_kept=False), lake)
    require(segment, outcomes)
    _not_ahead(segment, members, lake)
    with lake.alone(f"segment-{segment.name}"):
        _not_earlier(segment, members, lake)
        change = compare(segment, members, lake)
        stays = _stays(segment, members, lake)
        if stays is not None:
            lake.replace(SEGMENT_HISTORY, stays, segment=segment.name)
        frame = members.frame.with_columns(as_of=pl.lit(members.as_of).cast(UTC_TIME))
        lake.replace(members_table(segment, members.frame), frame)
        _append_run(_told(segment, members, change, outcomes, files, lake), lake)
    return change


def _append_run(row: pl.DataFrame, lake: Lake) -> None:
    # A file a run: joined now and then, so that the runs of a year are read as fast as those of a day.
    if lake.append(SEGMENT_RUNS, row) % COMPACT_EVERY == 0:
        lake.compact(SEGMENT_RUNS.name)


def _told(
    segment: Segment,
    members: Members,
    change: Change,
    outcomes: Sequence[Outcome],
    files: SqlFiles,
    lake: Lake,
    *,
    is_kept: bool = True,
) -> pl.DataFrame:
    """The row of segments.runs."""
    row = {
        "segment": segment.name,
        "as_of": members.as_of,
        "ran_at": lake.clock.now(),
        "size": change.size,
        "contacts": members.contacts,
        "joined": change.joined,
        "left": change.left,
        "seconds": members.seconds,
        "code_version": files.code_version(segment),
        "read_versions": json.dumps(members.pins, sort_keys=True),
        "checks": json.dumps([asdict(each) for each in outcomes]),
        "is_kept": is_kept,
    }
    return pl.DataFrame([row], schema=SEGMENT_RUNS.schema)


def _not_ahead(segment: Segment, members: Members, lake: Lake) -> None:
    """No run of a time to come: every later one would be set back from it."""
    if members.as_of > lake.clock.now() + CLOCKS_DIFFER:
        told = f"{members.as_of:%Y-%m-%d %H:%M} UTC is still to come"
        do = f"Nothing was written. To look ahead: lettermill segment preview {segment.name} --as-of TIME"
        raise SegmentFailed(f"{segment.path} cannot be kept", [Problem("as_of", told)], do=do)


def _not_earlier(segment: Segment, members: Members, lake: Lake) -> None:
    last = last_run(segment.name, lake)
    if last is not None and members.as_of < last["as_of"]:
        told = (
            f"the last run is of {last['as_of']:%Y-%m-%d %H:%M} UTC, this one of"
            f" {members.as_of:%Y-%m-%d %H:%M}"
        )
        do = f"Nothing was written. To look back: lettermill segment preview {segment.name} --as-of TIME"
        raise SegmentFailed(
            f"{segment.path} would be set back in time", [Problem("as_of", told)], do=do
        )


def _last(segment: Segment, lake: Lake) -> pl.DataFrame:
    if lake.version(segment.table) is None:
        return pl.DataFrame(schema={"contact_id": pl.Int64})
    return pl.DataFrame(lake.read(segment.table).select("contact_id").collect())


def _stays(segment: Segment, members: Members, lake: Lake) -> pl.DataFrame | None:
    """Stays as they are after this run: who left gets left_at, who came a new one. None: no change."""
    at: datetime = members.as_of
    now = members.frame.select(pl.col("contact_id").cast(pl.Int64))
    known = pl.DataFrame(
        lake.read("segments.history").filter(pl.col("segment") == segment.name).collect()
    )
    open_stays = known.filter(pl.col("left_at").is_null())
    left = open_stays.join(now, on="contact_id", how="anti").select("contact_id", "joined_at")
    came = now.join(open_stays, on="contact_id", how="anti").select(
        segment=pl.lit(segment.name),
        contact_id="contact_id",
        joined_at=pl.lit(at).cast(UTC_TIME),
        left_at=pl.lit(None, dtype=UTC_TIME),
    )
    if left.is_empty() and came.is_empty():
        return None
    closed = known.join(
        left.with_columns(ended=pl.lit(at).cast(UTC_TIME)),
        on=["contact_id", "joined_at"],
        how="left",
    ).with_columns(left_at=pl.coalesce("left_at", "ended"))
    return pl.concat([closed.select(SEGMENT_HISTORY.schema.names()), came])
