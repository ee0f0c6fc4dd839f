"""Keep who is in a segment, who came and who left.

`segments.<name>` holds the members of the last run, `segments.history` one row per stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from pipelines.errors import Problem, SegmentFailed
from pipelines.lake import Lake
from pipelines.schema import SEGMENT_HISTORY, UTC_TIME, Table
from pipelines.segments.run import Members
from pipelines.segments.segment import Segment


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
    return Table(f"segments.{segment.name}", segment.header.grain, columns, personal=bool(extra))


def compare(segment: Segment, members: Members, lake: Lake) -> Change:
    """How these members differ from the last run's; writes nothing."""
    before = _last(segment, lake)
    now = members.frame.select(pl.col("contact_id").cast(pl.Int64))
    total = lake.count("core.contacts", members.pins.get("core.contacts"))
    return Change(
        size=now.height,
        joined=now.join(before, on="contact_id", how="anti").height,
        left=before.join(now, on="contact_id", how="anti").height,
        share=now.height / total if total else 0.0,
        since=_last_as_of(segment, lake),
    )


def write(segment: Segment, members: Members, lake: Lake) -> Change:
    """Put these members in place of the last run's and close or open their stays.

    Raises SegmentFailed when they are of an earlier time than the last run's: no stay may end before
    it began. History goes first: a run that dies between the two does it again from the open stays.
    """
    _not_earlier(segment, members, lake)
    change = compare(segment, members, lake)
    lake.replace(SEGMENT_HISTORY, _stays(segment, members, lake), segment=segment.name)
    frame = members.frame.with_columns(as_of=pl.lit(members.as_of).cast(UTC_TIME))
    lake.replace(members_table(segment, members.frame), frame)
    return change


def _not_earlier(segment: Segment, members: Members, lake: Lake) -> None:
    last = _last_as_of(segment, lake)
    if last is not None and members.as_of < last:
        told = f"the last run is of {last:%Y-%m-%d %H:%M} UTC, this one of {members.as_of:%Y-%m-%d %H:%M}"
        do = f"Nothing was written. To look back: lettermill segment preview {segment.name} --as-of TIME"
        raise SegmentFailed(
            f"{segment.path} would be set back in time", [Problem("as_of", told)], do=do
        )


def _last_as_of(segment: Segment, lake: Lake) -> datetime | None:
    name = f"segments.{segment.name}"
    if lake.version(name) is None:
        return None
    last = pl.DataFrame(lake.read(name).select(pl.col("as_of").max()).collect()).item()
    return last if isinstance(last, datetime) else None


def _last(segment: Segment, lake: Lake) -> pl.DataFrame:
    name = f"segments.{segment.name}"
    if lake.version(name) is None:
        return pl.DataFrame(schema={"contact_id": pl.Int64})
    return pl.DataFrame(lake.read(name).select("contact_id").collect())


def _stays(segment: Segment, members: Members, lake: Lake) -> pl.DataFrame:
    """Stays as they are after this run: who left gets left_at, who came gets a new one."""
    at: datetime = members.as_of
    now = members.frame.select(pl.col("contact_id").cast(pl.Int64))
    known = pl.DataFrame(
        lake.read("segments.history").filter(pl.col("segment") == segment.name).collect()
    )
    open_stays = known.filter(pl.col("left_at").is_null())
    left = open_stays.join(now, on="contact_id", how="anti").select("contact_id", "joined_at")
    closed = known.join(
        left.with_columns(ended=pl.lit(at).cast(UTC_TIME)),
        on=["contact_id", "joined_at"],
        how="left",
    ).with_columns(left_at=pl.coalesce("left_at", "ended"))
    came = now.join(open_stays, on="contact_id", how="anti").select(
        segment=pl.lit(segment.name),
        contact_id="contact_id",
        joined_at=pl.lit(at).cast(UTC_TIME),
        left_at=pl.lit(None, dtype=UTC_TIME),
    )
    return pl.concat([closed.select(SEGMENT_HISTORY.schema.names()), came])
