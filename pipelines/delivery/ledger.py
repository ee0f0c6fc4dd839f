"""The ledger of one campaign: who was claimed, and what became of each.

One SQLite file (WAL, synchronous=FULL) per campaign key; contact ids and keyed hashes, never an
address. A recipient not yet claimed has no row, so "finished" is derived from the audience. Whether
it is the one this home knows is holding.py's business; how far a message came before a crash is in marks.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from operator import gt
from pathlib import Path
from typing import Any

from pipelines.delivery import ledger_sql
from pipelines.delivery.database import opened
from pipelines.delivery.marks import Mark, Marks
from pipelines.delivery.recovery import (
    LEDGER_ACCEPTED,
    RECOVERED_RETRY,
    TRIED_AGAIN,
    WENT_OUT,
    is_contradicted,
    recovered,
)
from pipelines.delivery.replies import Retry
from pipelines.delivery.retry import wait
from pipelines.delivery.states import AGAIN, FINAL, Candidate, Settlement, State, is_due
from pipelines.errors import LedgerRefused, Problem

__all__ = ["BATCH", "FINAL", "Candidate", "Ledger", "Settlement", "State", "micros", "moment"]

BATCH = 256
# Whom another occurrence leaves alone.
REACHED = (
    State.CLAIMED, State.ACCEPTED, State.IN_DOUBT, State.CONFIRMED_SENT, State.DEFERRED,
    State.WAIVED_SKIP, State.WAIVED_RESEND,
)  # fmt: skip
CACHE_KB = 24_576
CHECKPOINT_PAGES = 4_000
BUSY_SECONDS = 30.0
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: datetime | None) -> int | None:
    """A time as the ledger keeps it: whole microseconds since 1970, UTC."""
    return None if at is None else (at - _EPOCH_START) // timedelta(microseconds=1)


def moment(micros: int) -> datetime:
    """The time that the ledger keeps as these microseconds."""
    return _EPOCH_START + timedelta(microseconds=micros)


class Ledger:
    """One open connection. Claims and settlements are durable when the call returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        try:
            self._db = opened(path, busy_seconds=BUSY_SECONDS, isolation_level=None)
        except sqlite3.DatabaseError as error:
            raise self._unreadable(str(error)) from None
        try:
            self._db.execute("pragma synchronous = full")
            # Hashes fall anywhere in their index: with SQLite's own 2 MB each claim of a large send
            # reads pages it had before.
            self._db.execute(f"pragma cache_size = -{CACHE_KB}")
            # Every commit is on disk as it is; its pages are moved to their place in larger steps.
            self._db.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
            self._db.executescript(ledger_sql.SCHEMA)
            self._remember()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise self._unreadable(str(error)) from None

    def _remember(self) -> None:
        """Let a ledger from before claims did so keep what a row was before its claim."""
        known = "select 1 from pragma_table_info('sends') where name = 'was'"
        if self._db.execute(known).fetchone() is not None:
            return
        with _Transaction(self._db):
            # Of several that open it at once another may have been first.
            if self._db.execute(known).fetchone() is None:
                for statement in ledger_sql.REMEMBER:
                    self._db.execute(statement)

    def check(self) -> None:
        """Read the whole file for damage, as a disk or a cut copy leaves it. Raises LedgerRefused.

        Half a second for a million recipients: once for each send.
        """
        try:
            (found,) = self._db.execute("pragma quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            found = str(error)
        if found != "ok":
            raise self._unreadable(found)

    def _unreadable(self, what: str) -> LedgerRefused:
        do = "Nobody was mailed. Restore it from a backup; or move it away and send with --accept"
        return LedgerRefused("the ledger cannot be read", [Problem(self.path.name, what)], do=do)

    def close(self) -> None:
        self._db.close()

    def meta(self, name: str) -> str | None:
        row = self._db.execute("select value from meta where name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, **values: str) -> None:
        with _Transaction(self._db):
            self._db.executemany("insert or replace into meta values (?, ?)", list(values.items()))

    @property
    def epoch(self) -> int:
        return int(self.meta("epoch") or 0)

    def claim(
        self,
        candidates: Sequence[Candidate],
        *,
        marks: Marks,
        epoch: int,
        worker: int,
        at: datetime,
    ) -> list[Candidate]:
        """Take those nobody had, or that are due again. Raises LedgerRefused in a past epoch."""
        now = micros(at) or 0
        with _Transaction(self._db):
            if self.epoch != epoch:
                raise LedgerRefused("a newer run has taken over", do="Nothing more was claimed")
            taken, twice = self._claimable(candidates, epoch, now)
            for candidate in taken:
                # Before the commit: a crash between the two leaves no older mark to be believed.
                marks[candidate.recipient] = Mark.CLAIMED
            self._db.executemany(
                ledger_sql.CLAIM,
                [(c.contact_id, c.address_hash, c.recipient, now, epoch, worker) for c in taken],
            )
            self._db.executemany(
                ledger_sql.DUPLICATE,
                [
                    (c.contact_id, f"duplicate:{c.contact_id}", c.recipient, now, epoch, worker)
                    for c in twice
                ],
            )
        return taken

    def _claimable(
        self, candidates: Sequence[Candidate], epoch: int, now: int
    ) -> tuple[list[Candidate], list[Candidate]]:
        """Whom to claim, and whose address is another contact's: addresses change after planning."""
        slots = ",".join("?" * len(candidates))
        ids = [candidate.contact_id for candidate in candidates]
        hashes = [candidate.address_hash for candidate in candidates]
        rows = self._db.execute(
            f"select contact_id, address_hash, state, next_at, epoch from sends "
            f"where contact_id in ({slots}) or address_hash in ({slots})",
            [*ids, *hashes],
        ).fetchall()
        known = {row[0]: row for row in rows}
        owner = {row[1]: row[0] for row in rows}
        taken, twice = [], []
        for candidate in candidates:
            holder = owner.get(candidate.address_hash, candidate.contact_id)
            if holder != candidate.contact_id:
                twice.append(candidate)
                continue
            row = known.get(candidate.contact_id)
            # A claim of this epoch is some worker's; recovery left the older ones: provably never sent.
            if row is None or (
                is_due(row[2], row[3], now) and (row[2] != State.CLAIMED or row[4] < epoch)
            ):
                owner[candidate.address_hash] = candidate.contact_id
                taken.append(candidate)
        return taken, twice

    def settle(self, settlements: Iterable[Settlement], *, epoch: int, at: datetime) -> None:
        """Write what became of claims of this epoch."""
        now = micros(at)
        rows = [
            (
                s.state,
                s.reason,
                s.reply_class,
                s.reply,
                s.message_id,
                now,
                s.retry,
                s.contact_id,
                epoch,
            )
            for s in settlements
        ]

        def retry_at(attempts: int, retry: str) -> int | None:
            return micros(at + wait(attempts, Retry(retry)))

        self._db.create_function("retry_at", 2, retry_at)
        with _Transaction(self._db):
            self._db.executemany(ledger_sql.SETTLE, rows)

    def contradicted(self, marks: Marks) -> int:
        """How many marks say that a message went out of which the ledger knows nothing: it lost claims.

        A claim is on disk before any dot is marked, so a whole ledger has a row for each of these.
        """
        found = marks.whole()
        seen, count = bytearray(len(found)), 0
        rows = self._db.execute("select recipient, state, reason from sends")
        for recipient, state, reason in rows:
            if recipient < len(seen):
                seen[recipient] = 1
                count += is_contradicted(state, reason, found[recipient], is_trusted=marks.trusted)
        went_out = found.translate(WENT_OUT)
        return count + sum(1 for is_lost in map(gt, went_out, seen) if is_lost)

    def begin_epoch(self, *, marks: Marks, at: datetime, bundle: str | None = None) -> int:
        """Settle what a dead run left, then raise the epoch. Only under the campaign's lock.

        bundle  content hash of the approval whose message its claims get; None for one that claims nobody
        """
        open_claims = self._db.execute(
            "select contact_id, recipient from sends where state = 'claimed'"
        ).fetchall()
        retry = micros(at + RECOVERED_RETRY)
        found = [
            (*recovered(marks[recipient] if marks.trusted else None, retry), micros(at), contact)
            for contact, recipient in open_claims
        ]
        with _Transaction(self._db):
            self._db.executemany(
                "update sends set state = ?, reason = ?, next_at = ?, settled_at = ? "
                "where contact_id = ?",
                found,
            )
            epoch = self.epoch + 1
            self._db.execute("insert or replace into meta values ('epoch', ?)", (str(epoch),))
            if bundle is not None:
                self._db.execute("insert into epochs values (?, ?)", (epoch, bundle))
        if not marks.trusted:
            # The marks count as this boot's from here on: none of an earlier try may.
            deferred = self._db.execute("select recipient from sends where state = 'deferred'")
            marks.forget([recipient for (recipient,) in deferred])
        marks.renew()
        return epoch

    def free(self, contacts: Iterable[int], *, epoch: int) -> None:
        """Give back claims of this epoch of which nothing was sent: as if they had not been made."""
        rows = [(contact, epoch) for contact in contacts]
        with _Transaction(self._db):
            self._db.executemany(ledger_sql.FREE_NEW, rows)
            self._db.executemany(ledger_sql.FREE, rows)

    def expire(self, *, at: datetime) -> int:
        """Give up on everybody deferred, but whom a person lets be tried once more. Returns how many.

        Who may have got it already, and waited for a second copy, is left in doubt for good.
        """
        now = micros(at)
        with _Transaction(self._db):
            left = self._db.execute(ledger_sql.LEAVE_PUT_OFF, (now,)).rowcount
            given_up = self._db.execute(
                f"update sends set state = 'expired', settled_at = ? where {ledger_sql.PUT_OFF}",
                (now,),
            ).rowcount
        return left + given_up

    def expiring(self) -> int:
        """How many `expire` would give up on."""
        row = self._db.execute(f"select count(*) from sends where {ledger_sql.PUT_OFF}").fetchone()
        return int(row[0])

    def doubt(self, candidates: Iterable[Candidate], *, at: datetime) -> None:
        """Put everybody in doubt whose fate is unknown: after a lost or older ledger."""
        rows = [(c.contact_id, c.address_hash, c.recipient, micros(at)) for c in candidates]
        with _Transaction(self._db):
            self._db.execute(
                f"update sends set state = 'in_doubt', reason = '{LEDGER_ACCEPTED}', settled_at = ? "
                f"where state = 'deferred' or state in ({ledger_sql.words(AGAIN)})",
                (micros(at),),
            )
            self._db.executemany(
                "insert into sends (contact_id, address_hash, recipient, state, reason, "
                "settled_at, epoch, worker) "
                f"values (?, ?, ?, 'in_doubt', '{LEDGER_ACCEPTED}', ?, 0, 0) on conflict do nothing",
                rows,
            )

    def cancel(self, candidates: Iterable[Candidate], *, at: datetime) -> int:
        """Give up on everybody who may still be sent to: those of these without a row, those who wait for
        another try, and those a dead run left claimed. Returns how many; who may have got it already and
        waits for a second copy, or for another try of that, is not among them, and is left in doubt for good.

        Only under the campaign's lock, and after `begin_epoch`: it tells who of the claimed got nothing.
        """
        rows = ((c.contact_id, c.address_hash, c.recipient, micros(at)) for c in candidates)
        with _Transaction(self._db):
            self._db.execute(ledger_sql.LEAVE_UNSENT, (micros(at), self.epoch))
            before = self._db.total_changes
            self._db.execute(
                "update sends set state = 'cancelled', settled_at = ?, next_at = null"
                " where state in ('deferred', 'confirmed_unsent') or (state = 'claimed' and epoch < ?)",
                (micros(at), self.epoch),
            )
            self._db.executemany(
                "insert into sends (contact_id, address_hash, recipient, state, settled_at, epoch, worker)"
                " values (?, ?, ?, 'cancelled', ?, 0, 0) on conflict do nothing",
                rows,
            )
            return self._db.total_changes - before

    def try_again(self, reply_classes: Iterable[str], *, at: datetime) -> int:
        """Let those be tried once more who were refused with one of these meanings, or given up on.

        Returns how many. Whoever is in doubt is not among them. Only under the campaign's lock.
        """
        wanted = list(reply_classes)
        slots = ",".join("?" * len(wanted))
        with _Transaction(self._db):
            return self._db.execute(
                f"update sends set state = 'deferred', reason = '{TRIED_AGAIN}', next_at = ?"
                " where state = 'expired' or (state = 'rejected' and"
                # Without one: the process died before the reply was kept.
                f" (reply_class is null or reply_class in ({slots})))",
                (micros(at), *wanted),
            ).rowcount

    def counts(self) -> dict[str, int]:
        """Recipients by state; states nobody is in are left out."""
        rows = self._db.execute("select state, count(*) from sends group by state order by state")
        return {str(state): int(count) for state, count in rows.fetchall()}

    def due_again(self, at: datetime) -> int:
        """How many of its rows a new run would try: deferred and due, proven unsent, or left claimed."""
        row = self._db.execute(
            f"select count(*) from sends where {ledger_sql.DUE}", (micros(at),)
        ).fetchone()
        return int(row[0])

    def retries(self, at: datetime) -> int:
        """How many were put off by a relay, and are due again."""
        where = f"{ledger_sql.PUT_OFF} and coalesce(next_at, 0) <= ?"
        row = self._db.execute(f"select count(*) from sends where {where}", (micros(at),))
        return int(row.fetchone()[0])

    def retries_since(self, at: datetime) -> dict[int, datetime]:
        """Those who have been due again since this time or longer, by contact, and since when."""
        where = f"{ledger_sql.PUT_OFF} and coalesce(next_at, 0) <= ?"
        rows = self.ask(
            f"select contact_id, coalesce(next_at, 0) from sends where {where}", (micros(at),)
        )
        return {int(contact): moment(since) for contact, since in rows}

    def ask(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that answer a question."""
        return self._db.execute(statement, values).fetchall()

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Several changes as one; the write lock is taken first."""
        return _Transaction(self._db)

    def bundles(self) -> dict[int, str]:
        """Content hash of the approval whose message the claims of each epoch got."""
        known = dict(self._db.execute("select epoch, bundle from epochs").fetchall())
        # A ledger from before there could be several kept the only one here.
        name, found = self.meta("bundle"), {}
        for epoch in range(1, self.epoch + 1):
            name = known.get(epoch, name)
            if name is not None:
                found[epoch] = name
        return found

    def contacts_in(self, state: State) -> set[int]:
        """The contacts of one state."""
        rows = self._db.execute("select contact_id from sends where state = ?", (state,))
        return {int(row[0]) for row in rows}

    def rows(self, state: State | None = None) -> list[dict[str, Any]]:
        """Every row, or those in one state, as the columns are named; times in microseconds."""
        where, values = ("where state = ?", [state]) if state else ("", [])
        cursor = self._db.execute(f"select * from sends {where} order by recipient", values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def between(self, columns: Iterable[str], first: int, last: int) -> list[tuple[Any, ...]]:
        """The rows of contacts from the first to the last in these columns; times in microseconds."""
        wanted = ", ".join(columns)
        return self._db.execute(
            f"select {wanted} from sends where contact_id between ? and ?", (first, last)
        ).fetchall()


def bundle_of(path: Path, contact_id: int) -> str | None:
    """Content hash of the approval whose message a contact was last claimed for; None when never."""
    ledger = Ledger(path)
    try:
        ((epoch,),) = ledger.between(["epoch"], contact_id, contact_id) or [(0,)]
        return ledger.bundles().get(epoch)
    finally:
        ledger.close()


def reached_by_others(
    folder: Path, slug: str, key: str, *, since: datetime | None = None
) -> set[int]:
    """Whom other occurrences of a campaign have in hand or may have reached: their ledgers say so.

    since  of whom they last claimed, or put in doubt, no longer ago than that
    """
    found: set[int] = set()
    slots, first = ",".join("?" * len(REACHED)), micros(since) or 0
    for path in (*folder.glob(f"{slug}.sqlite"), *folder.glob(f"{slug}@*.sqlite")):
        if path.stem == key:
            continue
        ledger = Ledger(path)
        try:
            rows = ledger.ask(
                f"select contact_id from sends where state in ({slots})"
                " and coalesce(claimed_at, settled_at, ?) >= ?",
                (*REACHED, first, first),
            )
            found.update(contact for (contact,) in rows)
            # However their second copy ended.
            found |= {int(contact) for (contact,) in ledger.ask(ledger_sql.RESENT)}
        finally:
            ledger.close()
    return found


class _Transaction:
    """BEGIN IMMEDIATE … COMMIT: the write lock is taken first, so nothing read can be stale."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        self._db.execute("begin immediate")
        return self._db

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("commit" if kind is None else "rollback")
