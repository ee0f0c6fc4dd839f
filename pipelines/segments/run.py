"""Run a segment or mart: its rows, as of a time, at pinned versions of the tables it reads.

The query runs in the sandbox, where its limits are kept and its rows are checked. Nothing is written
to the lake here.
"""

from __future__ import annotations

import re
import signal
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from pipelines.clock import Clock, SystemClock
from pipelines.contacts.address import mask
from pipelines.errors import Problem, SegmentFailed
from pipelines.lake import Lake
from pipelines.segments import checks, pool, shape
from pipelines.segments.audit import CONTACTS, audit
from pipelines.segments.checks import Outcome
from pipelines.segments.header import Value
from pipelines.segments.project import SqlFiles
from pipelines.segments.query import ROWS
from pipelines.segments.sandbox import MIB, Job, Limits
from pipelines.segments.segment import Segment, SqlFile
from pipelines.segments.statement import said_by_duckdb
from pipelines.snapshot import Snapshot

# Rows are read whole: so many bytes of them, unpacked, for every one that the file may have.
UNPACKED = 4
# DuckDB quotes the value it could not convert.
ADDRESS = re.compile(r"[^\s'\"<>]{1,320}@[^\s'\"<>]{1,255}")
# These speak of the SQL; every other error may quote a value of somebody's row, such as their name.
OF_THE_SQL = ("Parser Error", "Binder Error", "Catalog Error", "Out of Memory Error")
A_VALUE = re.compile(r"['\":(].*", re.DOTALL)
ALONE = SqlFiles({})
# Columns and their types are the same at any time.
ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Members:
    """Who is in a segment. `frame`: contact_id, then the columns the segment adds.

    pins        table → the version that was read
    unwritten   tables it reads that were never written
    bytes_read  bytes of the tables' files that the query read
    peak_mib    most memory its process held
    """

    frame: pl.DataFrame
    pins: dict[str, int]
    as_of: datetime
    seconds: float
    contacts: int = 0
    outcomes: tuple[Outcome, ...] = ()
    bytes_read: int = 0
    peak_mib: float = 0.0
    parameters: Mapping[str, Value] = field(default_factory=dict)
    unwritten: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """One file, ready to be asked: its SQL with the time put in, over pinned versions of its tables."""

    file: SqlFile
    sql: str
    views: tuple[tuple[str, str], ...]
    snapshots: Mapping[str, Snapshot]
    assertions: Mapping[str, str]

    @property
    def pins(self) -> dict[str, int]:
        found = self.snapshots.items()
        return {name: each.version for name, each in found if each.version is not None}

    @property
    def files(self) -> list[str]:
        return [file for each in self.snapshots.values() for file in each.files]


def question(
    file: SqlFile,
    *,
    lake: Lake,
    as_of: datetime,
    files: SqlFiles = ALONE,
    pins: Mapping[str, int] | None = None,
    parameters: Mapping[str, Value] | None = None,
) -> Question:
    """What the sandbox is to run. pins: versions to read; the newest of tables that are not in it."""
    asserted = [files.assertion(name) for name in file.header.checks.no_rows]
    behind = files.behind(file, *asserted)
    wanted = set(files.tables((file, *behind, *asserted)))
    if isinstance(file, Segment):
        wanted.add(CONTACTS)
    # Contacts last: whoever an order speaks of was a contact before.
    ordered = sorted(wanted, key=lambda name: (name == CONTACTS, name))
    snapshots = {name: lake.snapshot(name, (pins or {}).get(name)) for name in ordered}
    views = [(name, each.select()) for name, each in snapshots.items()]
    views += [(each.table, each.bound(as_of)) for each in behind]
    return Question(
        file,
        file.bound(as_of, parameters),
        tuple(views),
        snapshots,
        {each.name: each.bound(as_of) for each in asserted},
    )


def run(
    file: SqlFile,
    *,
    lake: Lake,
    as_of: datetime,
    files: SqlFiles = ALONE,
    pins: Mapping[str, int] | None = None,
    parameters: Mapping[str, Value] | None = None,
    limits: Limits | None = None,
    clock: Clock | None = None,
) -> Members:
    """The rows of a file and how its checks went. Raises SegmentFailed when there are no rows to check."""
    clock = clock or SystemClock()
    started = clock.monotonic()
    pool.POOL.warm()
    asked = question(file, lake=lake, as_of=as_of, files=files, pins=pins, parameters=parameters)
    of_contacts = isinstance(file, Segment)
    with pool.job_folder() as folder:
        answer = ask(asked, "rows", folder, limits, of_contacts=of_contacts)
        frame = _read(file, Path(folder) / ROWS, limits or Limits())
    if problems := checks.of_times(frame):
        raise _failed(file, problems)
    contacts = lake.count(CONTACTS, asked.pins.get(CONTACTS)) if of_contacts else 0
    outcomes: list[Outcome] = []
    if of_contacts:
        outcomes += checks.of_rows(audit(frame["contact_id"], lake, asked.pins.get(CONTACTS)))
        outcomes += checks.of_size(frame.height, contacts, file.header.checks)
        outcomes += checks.of_assertions(answer.content["assertions"])
    return Members(
        frame,
        asked.pins,
        as_of,
        clock.monotonic() - started,
        contacts,
        tuple(outcomes),
        answer.content["bytes_read"],
        answer.peak_mib,
        file.values(parameters),
        tuple(name for name, each in asked.snapshots.items() if each.version is None),
    )


def _read(file: SqlFile, path: Path, limits: Limits) -> pl.DataFrame:
    """The rows; refused before they are unpacked when they would fill the memory of whoever asks."""
    footer = pq.read_metadata(path)
    unpacked = sum(
        footer.row_group(number).total_byte_size for number in range(footer.num_row_groups)
    )
    if unpacked > UNPACKED * limits.output_mib * MIB:
        told = (
            f"its rows take {unpacked / MIB:,.0f} MiB, more than {UNPACKED} × the limit of output"
        )
        raise _failed(file, [Problem("rows", told)])
    return pl.read_parquet(path)


def evaluate(
    segment: Segment,
    *,
    lake: Lake,
    as_of: datetime,
    files: SqlFiles = ALONE,
    pins: Mapping[str, int] | None = None,
    parameters: Mapping[str, Value] | None = None,
    limits: Limits | None = None,
    clock: Clock | None = None,
) -> Members:
    """The members of a segment. Raises SegmentFailed when a limit or a blocking check is broken.

    Nobody is an answer too: whether it may be kept or mailed is for the caller to say.
    """
    members = run(
        segment,
        lake=lake,
        as_of=as_of,
        files=files,
        pins=pins,
        parameters=parameters,
        limits=limits,
        clock=clock,
    )
    require(segment, members.outcomes, but=[checks.NOT_EMPTY])
    return members


def columns(
    file: SqlFile, *, lake: Lake, as_of: datetime, files: SqlFiles = ALONE
) -> list[tuple[str, str]]:
    """The columns a file returns and their DuckDB types; runs nothing. Raises SegmentFailed."""
    asked = question(file, lake=lake, as_of=as_of, files=files)
    with pool.job_folder() as folder:
        found = ask(asked, "columns", folder).content["columns"]
    shaped = [(str(name), str(kind)) for name, kind in found]
    if refused := shape.refusals(shaped, of_contacts=isinstance(file, Segment)):
        raise _failed(file, [Problem(name, told) for name, told in refused])
    return shaped


def declared_columns(file: SqlFile, files: SqlFiles = ALONE) -> list[tuple[str, str]]:
    """The same without a home: over the declared tables, empty. Raises SegmentFailed."""
    with tempfile.TemporaryDirectory(prefix="lettermill-columns-") as folder:
        return columns(file, lake=Lake(Path(folder)), as_of=ANY_TIME, files=files)


def require(segment: SqlFile, outcomes: Iterable[Outcome], *, but: Iterable[str] = ()) -> None:
    """Raise SegmentFailed with every blocking check that failed."""
    problems = checks.stopping(outcomes, but=but)
    if problems:
        do = "Nothing was written; the last good members stay"
        raise SegmentFailed(f"{segment.path} returned what a segment must not", problems, do=do)


def ask(
    asked: Question,
    action: str,
    folder: str,
    limits: Limits | None = None,
    *,
    of_contacts: bool = False,
    probes: Iterable[tuple[str, str]] = (),
) -> pool.Answer:
    """Send a question to the sandbox. Raises SegmentFailed, with the file and line where it can."""
    limits = limits or Limits()
    job = Job(
        action,
        asked.sql,
        list(asked.views),
        asked.files,
        folder,
        limits,
        of_contacts,
        dict(asked.assertions),
        list(probes),
    )
    file = asked.file
    try:
        answer = pool.ask(job)
    except pool.OutOfTime:
        told = f"ran longer than {limits.wall_seconds:g} s and was stopped"
        raise _failed(file, [Problem("time", told)]) from None
    except pool.Stopped as stopped:
        told = (
            f"was stopped by a limit: memory {limits.memory_mib:,} MiB, processor time"
            f" {limits.cpu_seconds} s, output {limits.output_mib:,} MiB"
        )
        if stopped.code == -signal.SIGXCPU:
            told = (
                f"used its {limits.cpu_seconds} s of processor time and was stopped by this limit"
            )
        raise _failed(file, [Problem("limits", told)]) from None
    if "error" in answer.content:
        raise _failed(file, [_said(asked, answer.content)])
    if refused := answer.content.get("refused"):
        raise _failed(file, [Problem(name, told) for name, told in refused])
    return answer


def _said(asked: Question, told: Mapping[str, Any]) -> Problem:
    """What DuckDB said, without addresses; of a file the query stands on, with that file's name."""
    shown = ADDRESS.sub(lambda found: mask(found[0]), str(told["error"]))
    of_a_value = not shown.startswith(OF_THE_SQL)
    if of_a_value:
        kind, _, rest = shown.partition(": ")
        said, line, place = rest.partition("\nLINE")
        shown = f"{kind}: {A_VALUE.sub('•••', said)}{line}{place}"
    problem, view = said_by_duckdb(shown), told.get("view")
    where, text = problem.where, dict(asked.views).get(view or "", asked.sql)
    reads_files = asked.snapshots.keys() != dict(asked.views).keys()
    if (where == "line 1" and text.startswith("\n")) or (reads_files and of_a_value):
        where = "SQL"  # a line of what was put around it, or of any of these files
    return Problem(f"{view}, {where}" if view else where, problem.what)


def _failed(file: SqlFile, problems: list[Problem]) -> SegmentFailed:
    again = (
        f"segment preview {file.name}" if isinstance(file, Segment) else file.checked_by(file.name)
    )
    do = f"Nothing was written. Mend it, then run: lettermill {again}"
    return SegmentFailed(f"{file.path} failed", problems, do=do)
