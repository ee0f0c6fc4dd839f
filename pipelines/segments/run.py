"""Run a segment: who is in it, as of a time, at pinned versions of the tables it reads.

The query runs in the sandbox; here its limits are kept and its result is checked: one row per
contact, no empty id, nobody the lake does not know. Nothing is written here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from pipelines.clock import Clock, SystemClock
from pipelines.contacts.address import mask
from pipelines.errors import Problem, SegmentFailed
from pipelines.lake import Lake
from pipelines.segments.sandbox import Job, Limits
from pipelines.segments.segment import Segment
from pipelines.settings import CHECKOUT

CONTACTS = "core.contacts"
EXAMPLES = 5
# A query chooses part of what it says when it fails.
LONGEST_TOLD = 2000
# DuckDB quotes the value it could not convert.
ADDRESS = re.compile(r"[^\s'\"<>]{1,320}@[^\s'\"<>]{1,255}")


@dataclass(frozen=True)
class Members:
    """Who is in a segment. `frame`: contact_id, then the columns the segment adds."""

    frame: pl.DataFrame
    pins: dict[str, int]
    as_of: datetime
    seconds: float


def evaluate(
    segment: Segment,
    *,
    lake: Lake,
    as_of: datetime,
    pins: Mapping[str, int] | None = None,
    limits: Limits | None = None,
    clock: Clock | None = None,
) -> Members:
    """The members of a segment. Raises SegmentFailed when a limit or a check is broken."""
    clock = clock or SystemClock()
    started = clock.monotonic()
    wanted = {*segment.inputs, CONTACTS}
    pinned = {**lake.pin(wanted), **{k: v for k, v in (pins or {}).items() if k in wanted}}
    frame = _query(segment, lake, pinned, as_of, limits or Limits())
    _check(segment, frame, lake, pinned)
    return Members(frame, pinned, as_of, clock.monotonic() - started)


def _query(
    segment: Segment, lake: Lake, pins: Mapping[str, int], as_of: datetime, limits: Limits
) -> pl.DataFrame:
    views = {name: lake.select(name, pins.get(name)) for name in segment.inputs}
    files = [file for name in segment.inputs for file in lake.files(name, pins.get(name))]
    with tempfile.TemporaryDirectory(prefix="lettermill-segment-") as folder:
        output = Path(folder) / "members.arrow"
        moment = as_of.isoformat() if segment.uses_as_of else None
        job = Job(segment.sql, views, files, moment, str(output), limits)
        answer = _in_sandbox(segment, job)
        if "error" in answer:
            raise _failed(segment, str(answer["error"]))
        return pl.read_ipc(output)


def _in_sandbox(segment: Segment, job: Job) -> dict[str, object]:
    command = (sys.executable, "-m", "pipelines.segments.sandbox")
    limits = job.limits
    try:
        done = subprocess.run(
            command,
            input=job.as_json(),
            capture_output=True,
            text=True,
            timeout=limits.wall_seconds,
            cwd=CHECKOUT,
            env={"LANG": "C.UTF-8"},  # none of ours: secrets have no business there
            check=False,
        )
    except subprocess.TimeoutExpired:
        told = f"ran longer than {limits.wall_seconds:g} s and was stopped"
        raise _failed(segment, told) from None
    if done.returncode != 0 or not done.stdout:
        told = (
            f"was stopped by a limit (memory {limits.memory_mib:,} MiB, processor time"
            f" {limits.cpu_seconds} s, output {limits.output_mib:,} MiB)"
        )
        raise _failed(segment, told)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def _check(segment: Segment, frame: pl.DataFrame, lake: Lake, pins: Mapping[str, int]) -> None:
    columns = frame.columns
    if "contact_id" not in columns or not frame.schema["contact_id"].is_integer():
        kinds = ", ".join(f"{name} {kind}" for name, kind in frame.schema.items())
        raise _failed(segment, f"must return a whole number contact_id; it returns {kinds}")
    ids = frame.lazy().select(pl.col("contact_id").cast(pl.Int64))
    known = lake.read(CONTACTS, pins.get(CONTACTS)).select("contact_id")
    empty = int(frame["contact_id"].null_count())
    problems = [Problem("contact_id", f"is empty in {empty:,} rows")] if empty else []
    twice = pl.DataFrame(
        ids.drop_nulls().group_by("contact_id").len().filter(pl.col("len") > 1).collect()
    )
    if twice.height:
        told = f"stands more than once for {twice.height:,} contacts, such as {_some(twice)}"
        problems.append(Problem("contact_id", f"{told}; add distinct or group by"))
    strange = pl.DataFrame(
        ids.drop_nulls().join(known, on="contact_id", how="anti").unique().collect()
    )
    if strange.height:
        told = f"names {strange.height:,} contacts the lake does not know, such as {_some(strange)}"
        problems.append(Problem("contact_id", told))
    if problems:
        raise SegmentFailed(
            f"{segment.path} returned what a segment must not", problems, do="Nothing was written"
        )


def _some(frame: pl.DataFrame) -> str:
    return ", ".join(str(value) for value in frame["contact_id"].sort().head(EXAMPLES))


def _failed(segment: Segment, told: str) -> SegmentFailed:
    told = ADDRESS.sub(lambda found: mask(found[0]), told[:LONGEST_TOLD])
    do = f"Nothing was written. Mend it, then run: lettermill segment preview {segment.name}"
    return SegmentFailed(f"{segment.path} failed", [Problem("query", told)], do=do)
