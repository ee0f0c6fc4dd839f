"""How much of what is hostile is refused by reading, and what the sandbox does with it alone.

Every statement of tests/data/hostile_statements.yaml is read, and every one is sent straight to the
sandbox too, as if reading had let it pass. `leaked` counts those that told a secret or changed a file
outside of their own folder: it must be 0.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import duckdb
import polars as pl
import yaml

from bench.figure import Figure
from pipelines.errors import SegmentInvalid
from pipelines.lake import Lake
from pipelines.schema import CONTACTS
from pipelines.segments import pool
from pipelines.segments.query import ROWS
from pipelines.segments.sandbox import Job, Limits
from pipelines.segments.segment import parse
from pipelines.settings import CHECKOUT

BENCH = "hostile"
STATEMENTS = CHECKOUT / "tests/data/hostile_statements.yaml"
HEADER = "/*\ndescription: Somebody's idea of a segment\nowner: team:bench\n*/\n"
LIMITS = Limits(memory_mib=2_000, cpu_seconds=10, wall_seconds=30, output_mib=50)
# In the files that nobody may see, in the name of one of them, in our environment, and in passwd.
SECRET, NAME, OURS = "canary-7261-sings", "kept-beside-7261", "ours-7261-alone"
MARKERS = (SECRET, NAME, OURS, "root:x:0:0")


@dataclass(frozen=True)
class Became:
    """What the sandbox said to a statement, and whether it ended it."""

    told: str
    is_stopped: bool


def figures(scale: str) -> Iterator[Figure]:  # noqa: ARG001 - there is one set of statements
    known = yaml.safe_load(STATEMENTS.read_text(encoding="utf-8"))
    hostile = {n: sql for group in known["refused"] for n, sql in group["statements"].items()}
    with (
        tempfile.TemporaryDirectory(prefix="lettermill-bench-") as folder,
        mock.patch.dict(os.environ, {"LETTERMILL_SECRET": OURS}),
    ):
        root = Path(folder)
        lake = _prepared(root)
        before = _files(root)
        became = {name: _send(sql, lake, root) for name, sql in hostile.items()}
        wrote = _files(root) != before
    telling = {name for name, each in became.items() if _tells(each.told)}
    stopped = {name for name, each in became.items() if each.is_stopped} - telling
    own = (folder, "lettermill-segment-")
    of_itself = {name for name, each in became.items() if any(path in each.told for path in own)}
    of_itself -= telling | stopped
    counts: Mapping[str, int] = {
        "statements": len(hostile),
        "refused_by_reading": sum(not _reads(sql) for sql in hostile.values()),
        "sent_to_sandbox": len(became),
        "stopped_by_sandbox": len(stopped),
        "told_paths_of_its_own": len(of_itself),
        "harmless": len(became.keys() - telling - stopped - of_itself),
        "leaked": len(telling) + wrote,
        "innocent_refused": sum(not _reads(sql) for sql in known["allowed"].values()),
    }
    for metric, count in counts.items():
        yield Figure(BENCH, metric, count, "statements")


def _prepared(root: Path) -> Lake:
    """A lake of two contacts, and beside it files with a secret."""
    lake, outside = Lake(root / "lake"), root / "outside"
    two = pl.DataFrame({"contact_id": [1, 2]})
    lake.append(CONTACTS, pl.concat([CONTACTS.empty(), two], how="diagonal"))
    outside.mkdir()
    (outside / f"{NAME}.txt").touch()
    secret = pl.DataFrame({"secret": [SECRET]})
    secret.write_csv(outside / "canary.csv")
    secret.write_ndjson(outside / "canary.json")
    secret.write_parquet(outside / "canary.parquet")
    (outside / "canary.txt").write_text(SECRET)
    with duckdb.connect(outside / "canary.duckdb") as database:
        database.execute(f"create table secrets as select '{SECRET}' as secret")
    return lake


def _reads(sql: str) -> bool:
    try:
        parse("hostile", HEADER + sql, Path("sql/segments/hostile.sql"))
    except SegmentInvalid:
        return False
    return True


def _send(sql: str, lake: Lake, root: Path) -> Became:
    [pinned] = lake.files(CONTACTS.name)
    outside = root / "outside"
    for name, path in (("canary", outside / "canary"), ("outside", outside), ("pinned", pinned)):
        sql = sql.replace(f"<{name}>", str(path))
    tables = [lake.snapshot(name) for name in ("core.contacts", "core.orders")]
    views = [(each.name, each.select()) for each in tables]
    with pool.job_folder() as folder:
        try:
            answer = pool.ask(Job("rows", sql, views, [pinned], folder, LIMITS)).content
        except (pool.OutOfTime, pool.Stopped) as ended:
            return Became(type(ended).__name__, is_stopped=True)
        if "error" in answer or "refused" in answer:
            return Became(str(answer), is_stopped=True)
        return Became(str(pl.read_parquet(Path(folder) / ROWS).rows()), is_stopped=False)


def _tells(told: str) -> bool:
    return any(marker in told for marker in MARKERS)


def _files(root: Path) -> dict[Path, tuple[int, bytes]]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
