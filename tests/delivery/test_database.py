"""SQLite files that several processes write: opened by all of them at the same moment, too."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from pipelines.delivery.database import opened

TOGETHER = 8


def test_of_many_who_open_a_new_file_at_the_same_moment_none_is_told_that_it_is_locked(
    tmp_path: Path,
):
    start = Barrier(TOGETHER)

    def journal(path: Path) -> str:
        start.wait()
        connection = opened(path, busy_seconds=10)
        (found,) = connection.execute("pragma journal_mode").fetchone()
        connection.close()
        return str(found)

    with ThreadPoolExecutor(TOGETHER) as threads:
        for number in range(30):
            found = list(threads.map(journal, [tmp_path / f"{number}.sqlite"] * TOGETHER))

            assert found == ["wal"] * TOGETHER


def test_what_is_no_database_is_told_at_once(tmp_path: Path):
    path = tmp_path / "no.sqlite"
    path.write_text("not a database, but long enough to be looked at")

    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        opened(path, busy_seconds=10)
