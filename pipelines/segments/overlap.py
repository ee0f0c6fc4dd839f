"""Which other segments the members of one are in, by their last runs."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from pipelines.lake import Lake
from pipelines.schema import TABLES

SHOWN = 5


@dataclass(frozen=True)
class Overlap:
    """How many members another segment shares, and how many it has."""

    segment: str
    shared: int
    size: int


def overlaps(ids: pl.DataFrame, lake: Lake, *, but: str) -> list[Overlap]:
    """The segments that share most members with these (contact_id), most first; by their last runs."""
    stored = [
        name
        for name in lake.names()
        if name.startswith("segments.") and name not in TABLES and name != f"segments.{but}"
    ]
    others = [lake.read(name).select("contact_id") for name in stored]
    counted = [
        other.select(
            shared=pl.col("contact_id").is_in(ids["contact_id"].implode()).sum(), size=pl.len()
        )
        for other in others
    ]
    rows = [frame.row(0) for frame in pl.collect_all(counted)]
    found = [
        Overlap(n.removeprefix("segments."), *row) for n, row in zip(stored, rows, strict=True)
    ]
    return sorted((each for each in found if each.shared), key=lambda each: -each.shared)[:SHOWN]
