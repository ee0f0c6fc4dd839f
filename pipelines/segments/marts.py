"""Make a mart's table: a documented SQL file, run and kept as `marts.<name>`."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from pipelines.lake import Lake
from pipelines.schema import UTC_TIME, Table
from pipelines.segments.project import SqlFiles
from pipelines.segments.run import Members, run
from pipelines.segments.segment import Mart


def make(mart: Mart, *, lake: Lake, as_of: datetime, files: SqlFiles) -> tuple[Members, int]:
    """Run a mart and put its rows in place of the last ones, with the time they are of.

    Returns the rows and the table's new version. Raises SegmentFailed and writes nothing when it
    cannot be run.
    """
    found = run(mart, lake=lake, as_of=as_of, files=files, clock=lake.clock)
    frame = found.frame.with_columns(as_of=pl.lit(as_of).cast(UTC_TIME))
    return found, lake.replace(mart_table(mart, frame), frame)


def mart_table(mart: Mart, frame: pl.DataFrame) -> Table:
    # It may hold names and addresses, whose minima and maxima must not stay in the log.
    return Table(mart.table, mart.header.grain, dict(frame.schema), personal=True)
