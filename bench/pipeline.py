"""Contacts per second from the export's file to sent mail, in the demo's shape, stage by stage.

The reference is the least any such road must do: read the export with DuckDB and write as many files of
a message's size as were sent, in the same run on the same disk.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb

from bench.figure import Figure

BENCH = "pipeline"
CONTACTS = {"tiny": 2_000, "small": 50_000, "full": 500_000}
ROAD = ("load", "segments", "approve", "send")


def figures(scale: str) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="lettermill-bench-") as folder:
        told = _demo(Path(folder), CONTACTS[scale])
        stages: dict[str, float] = told["seconds"]
        road = sum(stages[name] for name in ROAD)
        reference = _least(Path(folder), told)
        yield Figure(
            BENCH,
            "contacts_per_second",
            told["contacts"] / road,
            "contacts/s",
            "read the export, write the files",
            told["contacts"] / reference,
        )
        yield Figure(BENCH, "messages_per_second", told["sent"] / stages["send"], "messages/s")
        for name, seconds in stages.items():
            yield Figure(BENCH, f"stage_{name}", seconds, "s")


def _demo(folder: Path, contacts: int) -> dict[str, object]:
    command = [sys.executable, "-m", "pipelines.cli.command", "demo", "--json"]
    command += ["--home", str(folder / "home"), "--contacts", str(contacts)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def _least(folder: Path, told: dict[str, object]) -> float:
    """Seconds to read every export once and to write one file per message, without anything between."""
    exports = sorted((folder / "home" / "exports").rglob("*.csv"))
    maildir = Path(str(told["maildir_path"]))
    body = next((maildir / "new").iterdir()).read_bytes()
    target = folder / "files"
    target.mkdir()
    started = time.perf_counter()
    connection = duckdb.connect()
    for export in exports:
        connection.execute(
            f"create or replace temp table t as from read_csv('{export}', all_varchar = true)"
        )
    for number in range(int(str(told["sent"]))):
        (target / str(number)).write_bytes(body)
    return time.perf_counter() - started
