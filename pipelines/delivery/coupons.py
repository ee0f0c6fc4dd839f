"""Coupon codes, each handed out to one person for ever: who got which.

One SQLite file in the home. A code is given when an audience is frozen, and is on disk before the
audience is; whoever is planned again, after a crash or in a reminder from the same pool, has the same,
and keeps it when two contacts turn out to be one person.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from pipelines.contacts.identity import MERGED
from pipelines.delivery.database import opened
from pipelines.errors import CampaignInvalid, Problem, SendHeld, did_you_mean
from pipelines.lake import Lake
from pipelines.schema import IDENTITIES

BUSY_SECONDS = 30.0
SHOWN = 10
CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
HEADERS = frozenset({"code", "codes", "coupon", "coupons", "coupon_code"})
POOL = re.compile(r"[a-z][a-z0-9_]{0,59}")
_TABLES = """
create table if not exists codes (
    number integer primary key,
    pool text not null,
    code text not null,
    contact_id integer,
    campaign text,
    handed_out_at integer,
    unique (pool, code)
);
create unique index if not exists codes_by_contact on codes (pool, contact_id)
    where contact_id is not null;
create index if not exists codes_left on codes (pool, number) where contact_id is null;
"""
_WITHOUT = """
select contact_id from wanted
where not exists (
    select 1 from codes where codes.pool = :pool and codes.contact_id = wanted.contact_id
)
"""
# Whoever has one already keeps that, and the other stays spent.
_FOLLOW = """
update or ignore codes
set contact_id = (select survivor from merged where merged.contact_id = codes.contact_id)
where pool = :pool and contact_id in (select contact_id from merged)
"""
_HAND_OUT = f"""
update codes set contact_id = given.contact_id, campaign = :campaign, handed_out_at = :at
from (
    select person.contact_id, free.number
    from (select contact_id, row_number() over (order by contact_id) as place from ({_WITHOUT})) as person
    join (
        select number, row_number() over (order by number) as place
        from codes where pool = :pool and contact_id is null limit :most
    ) as free using (place)
) as given
where codes.number = given.number
"""


@dataclass(frozen=True)
class Pool:
    """One pool: how many codes it has, and how many of them somebody has."""

    name: str
    codes: int
    handed_out: int

    @property
    def left(self) -> int:
        return self.codes - self.handed_out


class Coupons:
    """The coupon codes of a home; the file is made when the first are loaded.

    lake  where it is known who was merged into whom; needed to hand out
    """

    def __init__(self, path: Path, lake: Lake | None = None) -> None:
        self.path, self._lake = path, lake

    def load(self, pool: str, codes: Iterable[str]) -> int:
        """Add codes to a pool, all or none; those it has already stay as they are. Returns how many were new.

        Raises CampaignInvalid with the lines that are no codes.
        """
        if not POOL.fullmatch(pool):
            raise CampaignInvalid(
                f"{pool[:80]!r} cannot name a pool",
                do="Use small letters, digits and underscores, like autumn_15",
            )
        rows, problems = [], []
        for number, code in enumerate((line.strip() for line in codes), 1):
            if number == 1 and code.casefold() in HEADERS:
                problems.append(Problem("line 1", "is a heading; leave it out"))
            elif code and not CODE.fullmatch(code):
                problems.append(
                    Problem(f"line {number}", "is no code: letters, digits, . _ - only")
                )
            elif code:
                rows.append((pool, code))
        if problems or not rows:
            count = (
                f"{len(problems):,} lines are no codes" if problems else "there is no code in it"
            )
            do = "Write one code on each line, at most 64 characters; nothing was loaded"
            raise CampaignInvalid(f"pool {pool}: {count}", problems[:SHOWN], do=do)
        with self._open() as db, db:
            before = db.total_changes
            db.executemany("insert or ignore into codes (pool, code) values (?, ?)", rows)
            return db.total_changes - before

    def pools(self) -> list[Pool]:
        """Every pool by name."""
        if not self.path.exists():
            return []
        with self._open() as db:
            rows = db.execute(
                "select pool, count(*), count(contact_id) from codes group by pool order by pool"
            ).fetchall()
        return [Pool(*row) for row in rows]

    def lacking(self, pool: str, contacts: pl.Series) -> int:
        """How many codes there are too few for these people; those who have one need none.

        Raises CampaignInvalid when there is no such pool.
        """
        known = {each.name: each for each in self.pools()}
        if pool not in known:
            raise CampaignInvalid(
                f"there is no pool of coupons '{pool[:80]}'.{did_you_mean(pool, known)}",
                do=f"Load its codes: lettermill coupon load {pool} FILE",
            )
        with self._open() as db:
            _want(db, contacts)
            self._follow(db, pool)
            (needed,) = db.execute(f"select count(*) from ({_WITHOUT})", {"pool": pool}).fetchone()
        return max(0, int(needed) - known[pool].left)

    def hand_out(
        self, pool: str, contacts: pl.Series, *, campaign: str, at: datetime
    ) -> pl.DataFrame:
        """The code of each of these people: contact_id, coupon. On disk when the call returns.

        Raises SendHeld, and hands out none, when there are too few.
        """
        with self._open() as db:
            _want(db, contacts)
            db.execute("begin immediate")
            self._follow(db, pool)
            (needed,) = db.execute(f"select count(*) from ({_WITHOUT})", {"pool": pool}).fetchone()
            values = {"pool": pool, "campaign": campaign, "at": _micros(at), "most": needed}
            given = db.execute(_HAND_OUT, values).rowcount
            if given < needed:
                db.execute("rollback")
                told = f"has {given:,} codes left for {needed:,} people"
                do = f"Nobody was mailed. Load more: lettermill coupon load {pool} FILE"
                raise SendHeld(f"{campaign} is held", [Problem(f"coupon {pool}", told)], do=do)
            db.execute("commit")
            rows = db.execute(
                "select contact_id, code from codes join wanted using (contact_id) where pool = ?",
                (pool,),
            ).fetchall()
        return pl.DataFrame(rows, {"contact_id": pl.Int64, "coupon": pl.String}, orient="row")

    def _follow(self, db: sqlite3.Connection, pool: str) -> None:
        """Let the codes of those who were merged go with the person."""
        if self._lake is None:
            return
        merged = self._lake.read(IDENTITIES.name).filter(pl.col("source") == MERGED)
        pairs = merged.select(pl.col("external_id").cast(pl.Int64), "contact_id").collect()
        db.execute("create temp table merged (contact_id integer primary key, survivor integer)")
        db.executemany("insert or ignore into merged values (?, ?)", pl.DataFrame(pairs).rows())
        db.execute(_FOLLOW, {"pool": pool})

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(opened(self.path, busy_seconds=BUSY_SECONDS)) as db:
            # FULL: a code that somebody was told is theirs, whatever happens next.
            db.execute("pragma synchronous = full")
            db.executescript(_TABLES)
            yield db


def with_codes(audience: pl.DataFrame, codes: pl.DataFrame) -> pl.DataFrame:
    """An audience whose `fields` (a JSON object) name each one's code beside the segment's columns.

    The code stands last, so that it is theirs whatever a column is called (of two members with one name
    the last is taken).
    """
    joined = audience.join(codes, on="contact_id", how="left", maintain_order="left")
    code = pl.struct("coupon").struct.json_encode()
    whole = pl.concat_str(
        pl.col("fields").str.slice(0, pl.col("fields").str.len_chars() - 1),
        pl.when(pl.col("fields") == "{}").then(pl.lit("")).otherwise(pl.lit(",")),
        code.str.slice(1),
    )
    has_code = pl.col("coupon").is_not_null()
    return joined.with_columns(fields=pl.when(has_code).then(whole).otherwise("fields")).drop(
        "coupon"
    )


def _want(db: sqlite3.Connection, contacts: pl.Series) -> None:
    db.execute("create temp table wanted (contact_id integer primary key)")
    db.executemany("insert or ignore into wanted values (?)", ((each,) for each in contacts))
    db.commit()


def _micros(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp() * 1_000_000)
