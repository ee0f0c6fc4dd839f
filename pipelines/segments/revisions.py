"""A segment as another revision of the project had it, beside the one of now, on the same data."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from pipelines.errors import Problem, SegmentInvalid
from pipelines.lake import Lake
from pipelines.segments.project import SqlFiles, load, sql_files
from pipelines.segments.run import Members, run
from pipelines.segments.segment import Segment

FOLDER = "sql"


@dataclass(frozen=True)
class Difference:
    """Two versions of a segment on the same data: who only the new one holds, and only the old."""

    before: Members
    after: Members
    joined: pl.DataFrame
    left: pl.DataFrame
    changed: int  # contacts in both whose columns differ


def difference(
    name: str,
    revision: str,
    *,
    project: Path,
    lake: Lake,
    as_of: datetime,
    pins: Mapping[str, int] | None = None,
) -> Difference:
    """Run a segment as it is and as it was at a git revision, at the same time and table versions.

    Its checks are not asked: who is in either is what the reader wants to know.
    """
    now, files = load(project, name), sql_files(project)
    then, files_then = at_revision(name, revision, project)
    after = run(now, lake=lake, as_of=as_of, files=files, pins=pins)
    before = run(then, lake=lake, as_of=as_of, files=files_then, pins=after.pins)
    ids = [frame.select("contact_id") for frame in (before.frame, after.frame)]
    shared = [each for each in after.frame.columns if each in before.frame.columns]
    other = [each for each in shared if after.frame.schema[each] != before.frame.schema[each]]
    as_text = [pl.col(each).cast(pl.String) for each in other]
    both = before.frame.join(ids[1], on="contact_id", how="semi").select(shared)
    same = (
        after.frame.select(shared)
        .with_columns(as_text)
        .join(both.with_columns(as_text), on=shared, how="semi", nulls_equal=True)
    )
    return Difference(
        before,
        after,
        after.frame.join(ids[0], on="contact_id", how="anti").sort("contact_id"),
        before.frame.join(ids[1], on="contact_id", how="anti").sort("contact_id"),
        both.height - same.height,
    )


def at_revision(name: str, revision: str, project: Path) -> tuple[Segment, SqlFiles]:
    """A segment and all SQL files as a git revision has them. Raises SegmentInvalid."""
    packed = _git(project, "archive", "--format=tar", _commit(project, revision), FOLDER)
    with tempfile.TemporaryDirectory(prefix="lettermill-revision-") as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        return load(Path(folder), name), sql_files(Path(folder))


def _commit(project: Path, revision: str) -> str:
    wanted = f"{revision}^{{commit}}"
    return _git(project, "rev-parse", "--verify", "--end-of-options", wanted).decode().split()[-1]


def _git(project: Path, *arguments: str) -> bytes:
    command = ("git", "-C", str(project), *arguments)
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise SegmentInvalid("git is not installed, so no earlier version can be read") from None
    except subprocess.CalledProcessError as failed:
        told = failed.stderr.decode(errors="replace").strip().splitlines()
        problem = Problem("git", told[0] if told else f"{arguments[0]} failed")
        do = "Name a commit, branch or tag of the project, such as --from HEAD~1"
        raise SegmentInvalid("that revision cannot be read", [problem], do=do) from None
