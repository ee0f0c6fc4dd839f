"""Who is a candidate for a campaign: the members of the segments it names, by their approved texts.

Knows which SQL a campaign needs and what is wrong with it; who of the candidates may be mailed is
audience.py's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import polars as pl

from pipelines.campaigns.campaign import Campaign, segment_problems
from pipelines.errors import LettermillError, Problem, SegmentInvalid, did_you_mean
from pipelines.lake import Lake, Pins
from pipelines.message.compiled import CONTACT_FIELDS
from pipelines.segments.project import SqlFiles, discover, parsed, sql_files
from pipelines.segments.run import declared_columns, evaluate
from pipelines.segments.segment import Segment, SqlFile, Status

LAYER = Segment.layer
SECOND = "·second"  # no name a column can have without quotes
SEGMENTS = "segments"
# Names of ours that no column of a segment may have in a message.
RESERVED = frozenset({SEGMENTS, "coupon", *CONTACT_FIELDS})


def problems(campaign: Campaign, project: Path) -> list[Problem]:
    """What stands in the way of using the segments a campaign names; empty when nothing does."""
    found = segment_problems(campaign, discover(project))
    files = sql_files(project)
    for name in named(campaign):
        entry = files.by_table.get(f"{LAYER}.{name}")
        where = f"segment {name}"
        if isinstance(entry, LettermillError):
            told = f"cannot be read; see: lettermill segment check {name}"
            found.append(Problem(where, told))
        elif isinstance(entry, SqlFile):
            found += _of_one(entry, campaign, files)
    if not found:
        found += _fields(campaign, files)
    strange = sorted(set(campaign.audience.parameters) - set(named(campaign)))
    return found + [
        Problem(
            f"audience.parameters.{name}", "is no segment that the campaign includes or excludes"
        )
        for name in strange
    ]


def _of_one(segment: SqlFile, campaign: Campaign, files: SqlFiles) -> list[Problem]:
    where = f"segment {segment.name}"
    if segment.header.status is Status.DRAFT:
        return [Problem(where, "is a draft, and a draft is not mailed")]
    try:
        segment.values(campaign.audience.parameters.get(segment.name))
        behind = files.behind(segment)
    except LettermillError as invalid:
        return [Problem(f"{where}, {each.where}", each.what) for each in invalid.problems]
    drafts = [each.table for each in behind if each.header.status is Status.DRAFT]
    return [Problem(where, f"reads {name}, a draft, and a draft is not mailed") for name in drafts]


def _fields(campaign: Campaign, files: SqlFiles) -> list[Problem]:
    """Fields that the message is to take from the segments, and none of these returns."""
    returned: set[str] = set()
    for name in campaign.audience.include:
        entry = files.by_table[f"{LAYER}.{name}"]
        assert isinstance(entry, SqlFile)
        try:
            returned |= {column for column, _ in declared_columns(entry, files)} - {"contact_id"}
        except LettermillError as failed:
            return [Problem(f"segment {name}, {each.where}", each.what) for each in failed.problems]
    there = (
        f"they return {', '.join(sorted(returned))}" if returned else "they return contact_id alone"
    )
    ours = [
        Problem(
            f"fields.{name}", "is a name of its own in every message; call the column otherwise"
        )
        for name in campaign.fields
        if name in RESERVED
    ]
    return ours + [
        Problem(
            f"fields.{name}",
            f"no included segment returns it; {there}.{did_you_mean(name, returned)}",
        )
        for name in campaign.fields
        if name not in returned and name not in RESERVED
    ]


def named(campaign: Campaign) -> list[str]:
    """The segments a campaign includes, those it excludes, and those its message names."""
    return [*campaign.audience.include, *campaign.audience.exclude, *campaign.segments]


def texts(campaign: Campaign, project: Path) -> dict[str, str]:
    """The text of each file that evaluating the campaign's segments needs, by table name."""
    return {file.table: file.text for file in sql_files(project).needed_by(named(campaign))}


def tables(campaign: Campaign, approved: Mapping[str, str]) -> list[str]:
    """The tables of the lake that the approved texts read."""
    files = parsed(approved)
    return files.tables(files.needed_by(named(campaign)))


def candidates(
    campaign: Campaign,
    approved: Mapping[str, str],
    *,
    lake: Lake,
    pins: Pins,
    as_of: datetime,
) -> pl.DataFrame:
    """Who is in any included segment and in no excluded one; of two, the first one's columns count.

    approved  texts by table name, of which everything is evaluated at one set of versions
    """
    files = parsed(approved)
    frames: dict[str, pl.DataFrame] = {}
    for name in dict.fromkeys(named(campaign)):
        entry = files.by_table.get(f"{LAYER}.{name}")
        if entry is None:
            do = f"See what is wrong with it: lettermill segment check {name}"
            raise SegmentInvalid(f"segment {name} cannot be read", do=do)
        if not isinstance(entry, Segment):
            raise entry if isinstance(entry, LettermillError) else AssertionError(entry)
        given = campaign.audience.parameters.get(name)
        frames[name] = evaluate(
            entry, lake=lake, as_of=as_of, files=files, pins=pins, parameters=given
        ).frame
    included = _alike([frames[name] for name in campaign.audience.include])
    joined = included[0]
    for frame in included[1:]:
        joined = _either(joined, frame)
    for name in campaign.audience.exclude:
        joined = joined.join(frames[name], on="contact_id", how="anti")
    return _telling(joined, {name: frames[name] for name in campaign.segments})


def _telling(rows: pl.DataFrame, told: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The rows with the names of those segments each is in, as a list `segments`."""
    if not told:
        return rows
    flags = [f"{SECOND}{name}" for name in told]
    for flag, (name, frame) in zip(flags, told.items(), strict=True):
        members = frame.select("contact_id", pl.lit(name).alias(flag))
        rows = rows.join(members, on="contact_id", how="left")
    names = pl.concat_list(flags).list.drop_nulls().alias(SEGMENTS)
    return rows.with_columns(names).drop(flags)


def _either(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Who is in either; of a column that both have, the first one's value where it has one."""
    both = [name for name in second.columns if name in first.columns and name != "contact_id"]
    joined = first.join(second, on="contact_id", how="full", coalesce=True, suffix=SECOND)
    return joined.with_columns(
        pl.coalesce(name, f"{name}{SECOND}").alias(name) for name in both
    ).drop(f"{name}{SECOND}" for name in both)


def _alike(frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Columns of one name and of kinds that do not mix become texts: mail shows them as text anyway."""
    kinds: dict[str, set[pl.DataType]] = {}
    for frame in frames:
        for name, kind in frame.schema.items():
            kinds.setdefault(name, set()).add(kind)
    mixed = [
        name
        for name, found in kinds.items()
        if len(found) > 1 and not all(kind.is_numeric() for kind in found)
    ]
    return [
        frame.with_columns(_text(frame, each) for each in mixed if each in frame.columns)
        for frame in frames
    ]


def _text(frame: pl.DataFrame, name: str) -> pl.Expr:
    """A column as text; of lists and structs, as JSON."""
    if not frame.schema[name].is_nested():
        return pl.col(name).cast(pl.String)
    return pl.struct(name).struct.json_encode().alias(name)
