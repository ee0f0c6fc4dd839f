"""Who must not be mailed: the store the sender asks, and the truth behind core.suppressions.

One SQLite file that the edge, the stream, the command and the sender share. A decision is on disk when
`suppress` returns. Holds contact ids and keyed hashes, no addresses.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.delivery.database import opened
from pipelines.delivery.people_sql import IN_FORCE, TABLES
from pipelines.schema import SUPPRESSIONS

BUSY_SECONDS = 15.0
CHUNK = 10_000


class Scope(StrEnum):
    """How much somebody left."""

    ALL = "all"
    BRAND = "brand"
    TOPIC = "topic"


class Reason(StrEnum):
    """Why somebody is not to be mailed."""

    UNSUBSCRIBED = "unsubscribed"
    COMPLAINT = "complaint"
    HARD_BOUNCE = "hard_bounce"
    ERASED = "erased"
    IMPORTED = "imported"
    MANUAL = "manual"


@dataclass(frozen=True)
class Suppression:
    """One decision. `scope_key` names the brand or topic, and is empty for all."""

    address_hash: str
    contact_id: int | None
    scope: Scope
    scope_key: str
    reason: Reason
    since_at: datetime
    origin: str


class PeopleStore:
    """The people store of a home; made when it is first opened. One per process and thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._watcher: sqlite3.Connection | None = None
        self._own = 0
        with self._open() as connection:
            connection.executescript(TABLES)

    def is_imported(self, name: str) -> bool:
        """Whether the decisions of this import are in: somebody may have come back since."""
        with self._open() as connection:
            found = connection.execute("select 1 from imports where name = ?", (name,)).fetchone()
        return found is not None

    def suppress(self, decisions: Iterable[Suppression], *, imported: str | None = None) -> int:
        """Keep decisions; one that is already in force stays as it was, unless it was the person's own and
        this one is a complaint, a bounce or somebody else's word. Returns how many were new.

        imported  the name of the import they come from, noted together with them
        """
        rows = [
            (
                d.address_hash,
                -1 if d.contact_id is None else d.contact_id,
                d.scope.value,
                "" if d.scope is Scope.ALL else d.scope_key,
                d.reason.value,
                _micros(d.since_at),
                d.origin,
            )
            for d in decisions
        ]
        own = Reason.UNSUBSCRIBED.value
        with self._open() as connection, connection:
            # Not total_changes: that counts what triggers write as well.
            new = connection.executemany(
                "insert into suppressions values (?, ?, ?, ?, ?, ?, ?, null)"
                " on conflict do update set released_at = null, reason = excluded.reason,"
                " since_at = excluded.since_at, origin = excluded.origin"
                # A person's own word does not undo that they came back after it: exports are loaded again.
                f" where (released_at is not null and (excluded.reason <> '{own}'"
                " or excluded.since_at >= released_at))"
                # What somebody else decides outweighs their own word, which they may take back.
                f" or (released_at is null and reason = '{own}' and excluded.reason <> '{own}')",
                rows,
            ).rowcount
            if imported is not None:
                at = max((row[5] for row in rows), default=0)
                connection.execute("insert or ignore into imports values (?, ?)", (imported, at))
        self._own += 1
        return max(new, 0)

    def release(self, address_hash: str, *, scope: Scope, scope_key: str, at: datetime) -> int:
        """End decisions of one scope, because the person came back. Returns how many ended."""
        with self._open() as connection, connection:
            ended = connection.execute(
                "update suppressions set released_at = ? where address_hash = ? and scope = ?"
                " and scope_key = ? and released_at is null",
                (_micros(at), address_hash, scope.value, scope_key),
            ).rowcount
        self._own += 1
        return ended

    def is_suppressed(self, address_hash: str, *, topic: str, brand: str) -> bool:
        return address_hash in self.suppressed_hashes(topic, brand)

    def decisions(self, address_hash: str, contact_id: int) -> list[tuple[Scope, str, str]]:
        """What is decided about one person and in force: scope, its key, and the reason."""
        with self._open() as connection:
            rows = connection.execute(
                "select distinct scope, scope_key, reason from suppressions where released_at is null"
                " and (contact_id = ? or (address_hash = ? and ? <> ''))",
                (contact_id, address_hash, address_hash),
            ).fetchall()
        return [(Scope(scope), key, reason) for scope, key, reason in rows]

    def come_back(
        self, address_hash: str, contact_id: int, *, scope: Scope, scope_key: str, at: datetime
    ) -> int:
        """End what somebody decided themselves; a bounce or a complaint stays. Returns how many ended."""
        with self._open() as connection, connection:
            ended = connection.execute(
                "update suppressions set released_at = ? where released_at is null and reason = ?"
                " and scope = ? and scope_key = ?"
                # By the address only what names no contact: it may be somebody else's by now.
                " and (contact_id = ? or (contact_id = -1 and address_hash = ? and ? <> ''))",
                (_micros(at), Reason.UNSUBSCRIBED.value, scope.value, scope_key, contact_id,
                 address_hash, address_hash),
            ).rowcount  # fmt: skip
        self._own += 1
        return ended

    def suppressed_hashes(self, topic: str, brand: str) -> set[str]:
        """The address hashes that mail of this topic and brand must not reach."""
        return {row[0] for row in self._in_force("address_hash", topic, brand)}

    def suppressed_contacts(self, topic: str, brand: str) -> set[int]:
        """The same as contact ids, for decisions whose address was not at hand."""
        return {row[0] for row in self._in_force("contact_id", topic, brand) if row[0] >= 0}

    def stopped(
        self, hashes: Collection[str], contacts: Collection[int], *, topic: str, brand: str
    ) -> tuple[set[str], set[int]]:
        """Which of these address hashes and contacts mail of this topic and brand must not reach."""
        return (
            self._stopped("address_hash", hashes, topic, brand),
            self._stopped("contact_id", contacts, topic, brand),
        )

    def newest_change(self) -> int:
        """The number of the last decision made or ended; they count up."""
        with self._open() as connection:
            row = connection.execute("select max(number) from suppression_changes").fetchone()
        return int(row[0] or 0)

    def changed_since(self, number: int) -> tuple[int, set[str], set[int]]:
        """The newest change, and whose decisions were made or ended after the one of this number."""
        with self._open() as connection:
            rows = connection.execute(
                "select number, address_hash, contact_id from suppression_changes"
                " where number > ? order by number",
                (number,),
            ).fetchall()
        newest = rows[-1][0] if rows else number
        return newest, {row[1] for row in rows}, {row[2] for row in rows if row[2] >= 0}

    def changes(self) -> int:
        """A number that differs whenever this or another process has written since it was last asked."""
        if self._watcher is None:
            self._watcher = self._connect()
        version = int(self._watcher.execute("pragma data_version").fetchone()[0])
        return version * 1_000_003 + self._own

    def withdraw_tracking(self, contact_id: int, at: datetime) -> None:
        """Record that a person no longer agrees to opens and clicks being recorded."""
        with self._open() as connection, connection:
            connection.execute(
                "insert or ignore into tracking_withdrawals values (?, ?)",
                (contact_id, _micros(at)),
            )
        self._own += 1

    def permit_tracking(self, contact_id: int) -> None:
        """End a withdrawal, because the person agrees again."""
        with self._open() as connection, connection:
            connection.execute(
                "delete from tracking_withdrawals where contact_id = ?", (contact_id,)
            )
        self._own += 1

    def withdrawn_tracking(self) -> set[int]:
        with self._open() as connection:
            return {
                row[0] for row in connection.execute("select contact_id from tracking_withdrawals")
            }

    def record_mailed(self, contacts: Iterable[int], campaign: str, at: datetime) -> None:
        """Remember who was mailed by which campaign, for rules like once in 365 days."""
        rows = ((contact, campaign, _micros(at)) for contact in contacts)
        with self._open() as connection:
            # Some at a time: whoever leaves meanwhile waits for one of these, not for a million.
            while some := list(islice(rows, CHUNK)):
                with connection:
                    connection.executemany(
                        "insert or ignore into last_mailed values (?, ?, ?)", some
                    )

    def last_mailed(self, slug: str, *, but: str) -> pl.DataFrame:
        """One row per contact mailed by an occurrence other than `but`: contact_id, mailed_at."""
        with self._open() as connection:
            rows = connection.execute(
                "select contact_id, max(mailed_at) from last_mailed"
                " where campaign <> ? and (campaign = ? or campaign like ? escape '\\') group by contact_id",
                (but, slug, slug.replace("_", "\\_").replace("%", "\\%") + "@%"),
            ).fetchall()
        frame = pl.DataFrame(
            rows, schema={"contact_id": pl.Int64, "mailed_at": pl.Int64}, orient="row"
        )
        return frame.with_columns(pl.from_epoch("mailed_at", "us").dt.replace_time_zone("UTC"))

    def export(self) -> pl.DataFrame:
        """Every decision in force, in the shape of core.suppressions."""
        names = ("address_hash", "contact_id", "scope", "scope_key", "reason", "since_at", "origin")
        with self._open() as connection:
            rows = connection.execute(
                f"select {', '.join(names)} from suppressions where released_at is null"
                " order by since_at, address_hash"
            ).fetchall()
        kinds = {
            name: pl.Int64 if name in ("contact_id", "since_at") else pl.String for name in names
        }
        frame = pl.DataFrame(rows, schema=kinds, orient="row")
        return frame.with_columns(
            pl.when(pl.col("contact_id") >= 0).then("contact_id"),
            pl.from_epoch("since_at", "us").dt.replace_time_zone("UTC"),
        ).select(SUPPRESSIONS.schema.names())

    def _in_force(self, column: str, topic: str, brand: str) -> list[tuple[Any]]:
        with self._open() as connection:
            return connection.execute(
                f"select {column} from suppressions where {IN_FORCE}", (topic, brand)
            ).fetchall()

    def _stopped(self, column: str, values: Collection[Any], topic: str, brand: str) -> set[Any]:
        left, found = iter(values), set[Any]()
        with self._open() as connection:
            while some := list(islice(left, CHUNK)):
                slots = ", ".join("?" * len(some))
                found.update(
                    row[0]
                    for row in connection.execute(
                        f"select {column} from suppressions where {IN_FORCE}"
                        f" and {column} in ({slots})",
                        (topic, brand, *some),
                    )
                )
        return found

    def _connect(self) -> sqlite3.Connection:
        connection = opened(self.path, busy_seconds=BUSY_SECONDS, check_same_thread=False)
        # FULL: a decision that was acknowledged is on disk, whatever happens next.
        connection.execute("pragma synchronous = full")
        return connection

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as connection:
            yield connection


def _micros(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp() * 1_000_000)
