"""SQLite files that several processes write at once: opened in one way, with their journal beside them.

What is in them, and how durable each is, is whoever's they are.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from pipelines.clock import SystemClock

TRIES, TRY_SECONDS = 50, 0.01


def opened(path: Path, *, busy_seconds: float, **options: Any) -> sqlite3.Connection:
    """A connection that waits its turn to write. Raises sqlite3.DatabaseError for what is no database."""
    connection: sqlite3.Connection = sqlite3.connect(path, timeout=busy_seconds, **options)
    try:
        _keep_a_journal(connection)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _keep_a_journal(connection: sqlite3.Connection) -> None:
    # Of several that open a new file at the same moment one changes its journal, and SQLite tells the
    # others at once that it is locked, whatever patience they have.
    for left in reversed(range(TRIES)):
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or not left:
                raise
        SystemClock().sleep(TRY_SECONDS)
