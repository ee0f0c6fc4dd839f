"""Who was in a segment when: answers from the stays and runs that were kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from pipelines.lake import Lake
from pipelines.schema import SEGMENT_HISTORY, SEGMENT_RUNS


def runs(name: str, lake: Lake) -> pl.DataFrame:
    """The runs of a segment that kept their members (segments.runs), oldest first."""
    found = lake.read(SEGMENT_RUNS.name).filter(
        pl.col("segment") == name, pl.col("is_kept").fill_null(True)
    )
    return pl.DataFrame(found.sort("ran_at").collect())


def last_run(name: str, lake: Lake) -> Mapping[str, Any] | None:
    """The row of the last run; None for a segment that was never run."""
    found = runs(name, lake)
    return found.row(-1, named=True) if found.height else None


def sizes(name: str, lake: Lake) -> list[int]:
    """The size of each run, oldest first."""
    return [int(each) for each in runs(name, lake)["size"].to_list()]


def members_at(name: str, at: datetime, lake: Lake) -> pl.DataFrame | None:
    """Who was in it at a time (contact_id, joined_at); None for a time before its first run."""
    known = runs(name, lake)
    if known.is_empty() or known.filter(pl.col("as_of") <= at).is_empty():
        return None
    stays = lake.read(SEGMENT_HISTORY.name).filter(
        pl.col("segment") == name,
        pl.col("joined_at") <= at,
        pl.col("left_at").is_null() | (pl.col("left_at") > at),
    )
    return pl.DataFrame(stays.select("contact_id", "joined_at").sort("contact_id").collect())


def as_it_was(lake: Lake, tables: list[str], at: datetime) -> tuple[dict[str, int], list[str]]:
    """The version of each table that was current at a time, and the tables none is kept of."""
    pins: dict[str, int] = {}
    gone: list[str] = []
    for name in tables:
        if lake.version(name) is None:
            continue
        version = lake.version_at(name, at)
        if version is None:
            gone.append(name)
        else:
            pins[name] = version
    return pins, gone
