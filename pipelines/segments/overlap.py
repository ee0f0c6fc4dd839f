"""Which other segments the members of one are in, by their last runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.lake import Lake
from pipelines.schema import TABLES

SHOWN = 5
HIGHEST = 1_000_000_000


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
    given = ids["contact_id"].cast(pl.Int64).drop_nulls()
    # What is previewed may be wrong: an id that nobody can have needs no place in the array.
    members = given.filter(given.is_between(0, HIGHEST)).to_numpy()
    is_member = np.zeros(int(members.max()) + 1 if members.size else 0, dtype=np.bool_)
    is_member[members] = True
    rows = [_shared(lake.read(name), is_member) for name in stored]
    found = [
        Overlap(n.removeprefix("segments."), *row) for n, row in zip(stored, rows, strict=True)
    ]
    return sorted((each for each in found if each.shared), key=lambda each: -each.shared)[:SHOWN]


def _shared(other: pl.LazyFrame, is_member: NDArray[np.bool_]) -> tuple[int, int]:
    """How many of another segment's members are members, and how many it has."""
    ids = pl.DataFrame(other.select("contact_id").collect())["contact_id"].to_numpy()
    return int(is_member[ids[ids < is_member.size]].sum()), int(ids.size)
