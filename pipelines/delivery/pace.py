"""How fast mail may go out: by relay and destination, shared by every worker and campaign of a home.

A timeline and no bucket: each lease takes the next slots of a rate (GCRA, ITU-T I.371), so no second ever
holds more of them than its rate. Slots are leased some 100 ms at a time, in one SQLite file; hourly and
daily caps are counted there too and outlive the process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.clock import Clock
from pipelines.delivery.database import opened
from pipelines.settings import boot_id

BUSY_SECONDS = 10.0
# What one lease holds, and how far ahead of now a slot may lie when it is leased.
LEASED_SECONDS, AHEAD_SECONDS = 0.1, 0.2
# Whoever is urgent is let in front of everybody else for so long after asking.
URGENT_SECONDS = 1.0
URGENT_GLANCE = 0.02
# A destination that says "too fast" is halved, once in so many seconds: its other replies are of before.
HALVED, HALVE_SECONDS, SLOWEST = 0.5, 10.0, 1 / 64
# And comes back by a tenth of its full rate in every minute without another such word.
RECOVERED, RECOVER_SECONDS = 0.1, 60.0
_TABLES = """
create table if not exists meta (name text primary key, value text not null) without rowid;
create table if not exists paces (
    name text primary key,
    next_at real not null default 0,
    factor real not null default 1,
    ceiling real,
    slowed_at integer,
    hour text not null default '',
    in_hour integer not null default 0,
    day text not null default '',
    in_day integer not null default 0,
    urgent_until real not null default 0
) without rowid;
"""


@dataclass(frozen=True)
class Limit:
    """What may go one way: messages a second, and in each hour and day of UTC. None: as many as will."""

    rate: float | None = None
    hourly: int | None = None
    daily: int | None = None

    @property
    def is_open(self) -> bool:
        return self.rate is None and self.hourly is None and self.daily is None


@dataclass(frozen=True)
class Lease:
    """Slots that are ours: `count` of them, `every` seconds from `start` on (monotonic)."""

    start: float
    every: float
    count: int

    def slot(self, number: int) -> float:
        return self.start + number * self.every


@dataclass(frozen=True)
class Wait:
    """No slot now: ask again in so many seconds. `why` names what is in the way."""

    seconds: float
    why: str


@dataclass(frozen=True)
class Full:
    """A cap that is reached, and when there is room again."""

    until: datetime
    why: str


@dataclass
class _Pace:
    """One row, as it is while a lease is made."""

    name: str
    limit: Limit
    next_at: float
    factor: float
    ceiling: float | None
    in_hour: int
    in_day: int
    urgent_until: float

    @property
    def rate(self) -> float | None:
        full = self.limit.rate or (self.ceiling if self.factor < 1 else None)
        return full and full * self.factor


class Pace:
    """The paces of a home. One per process; safe among processes."""

    def __init__(self, path: Path, clock: Clock) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._db = opened(path, busy_seconds=BUSY_SECONDS, isolation_level=None)
        # A crash of the machine may forget the caps' last moment, nobody's mail.
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(_TABLES)
        self._after_boot()

    def close(self) -> None:
        self._db.close()

    def lease(
        self, limits: Mapping[str, Limit], wanted: int, *, is_urgent: bool = False
    ) -> Lease | Wait:
        """Slots for up to `wanted` messages that go all of these ways at once, such as relay and destination.

        is_urgent  a message that waits for nobody who is not
        """
        now, at = self._clock.monotonic(), self._clock.now()
        self._db.execute("begin immediate")
        try:
            paces = [self._read(name, limit, at) for name, limit in limits.items()]
            found = _leased(paces, wanted, now, at, is_urgent=is_urgent)
            for pace in paces:
                if isinstance(found, Lease):
                    self._take(pace, found, at)
                elif is_urgent:
                    self._db.execute(
                        "update paces set urgent_until = ? where name = ?",
                        (now + found.seconds + URGENT_SECONDS, pace.name),
                    )
        finally:
            self._db.execute("commit")
        return found

    def full(self, name: str, limit: Limit) -> Full | None:
        """The cap of one way that is reached, if one is."""
        at = self._clock.now()
        return _capped(self._read(name, limit, at), at)

    def give_back(self, limits: Mapping[str, Limit], count: int) -> None:
        """Slots that were leased and not used count towards no cap."""
        at = self._clock.now()
        for name in limits:
            self._db.execute(
                "update paces set in_hour = max(0, in_hour - ?) where name = ? and hour = ?",
                (count, name, _hour(at)),
            )
            self._db.execute(
                "update paces set in_day = max(0, in_day - ?) where name = ? and day = ?",
                (count, name, _day(at)),
            )

    def slow(self, name: str, *, observed: float) -> float:
        """Halve a rate because the other side asked for less; returns the part of it that is left.

        observed  messages a second that went there, for one without a rate of its own
        """
        at = self._clock.now()
        self._db.execute("begin immediate")
        try:
            pace = self._read(name, Limit(), at)
            (slowed,) = self._db.execute(
                "select slowed_at from paces where name = ?", (name,)
            ).fetchone()
            if slowed is not None and at - _time(slowed) < timedelta(seconds=HALVE_SECONDS):
                return pace.factor
            factor = max(SLOWEST, pace.factor * HALVED)
            self._db.execute(
                "update paces set factor = ?, slowed_at = ?, ceiling = coalesce(ceiling, ?) where name = ?",
                (factor, _micros(at), max(observed, 1.0), name),
            )
            return factor
        finally:
            self._db.execute("commit")

    def factors(self) -> dict[str, float]:
        """What is slowed down now, and to which part of its full rate."""
        at = self._clock.now()
        rows = self._db.execute("select name from paces where factor < 1").fetchall()
        found = {name: self._read(name, Limit(), at).factor for (name,) in rows}
        return {name: factor for name, factor in found.items() if factor < 1}

    def _after_boot(self) -> None:
        """Slots are of this boot's clock; those of another one mean nothing."""
        with self._db:
            row = self._db.execute("select value from meta where name = 'boot'").fetchone()
            if row != (boot_id(),):
                self._db.execute("update paces set next_at = 0, urgent_until = 0")
                self._db.execute("insert or replace into meta values ('boot', ?)", (boot_id(),))

    def _read(self, name: str, limit: Limit, at: datetime) -> _Pace:
        self._db.execute("insert or ignore into paces (name) values (?)", (name,))
        row = self._db.execute(
            "select next_at, factor, ceiling, slowed_at, hour, in_hour, day, in_day, urgent_until"
            " from paces where name = ?",
            (name,),
        ).fetchone()
        next_at, factor, ceiling, slowed, hour, in_hour, day, in_day, urgent = row
        return _Pace(
            name,
            limit,
            next_at,
            _recovered(factor, slowed, at),
            ceiling,
            in_hour if hour == _hour(at) else 0,
            in_day if day == _day(at) else 0,
            urgent,
        )

    def _take(self, pace: _Pace, lease: Lease, at: datetime) -> None:
        rate = pace.rate
        next_at = lease.slot(lease.count - 1) + 1 / rate if rate else pace.next_at
        self._db.execute(
            "update paces set next_at = ?, hour = ?, in_hour = ?, day = ?, in_day = ?, urgent_until = 0"
            " where name = ?",
            (next_at, _hour(at), pace.in_hour + lease.count, _day(at), pace.in_day + lease.count,
             pace.name),
        )  # fmt: skip


def _leased(
    paces: list[_Pace], wanted: int, now: float, at: datetime, *, is_urgent: bool
) -> Lease | Wait:
    for pace in paces:
        if (full := _capped(pace, at)) is not None:
            return Wait((full.until - at).total_seconds(), full.why)
        if not is_urgent and pace.urgent_until > now:
            return Wait(URGENT_GLANCE, f"{pace.name}: an urgent message goes first")
    start = max([now, *(pace.next_at for pace in paces if pace.rate)])
    if start - now > AHEAD_SECONDS:
        slowest = max(paces, key=lambda pace: pace.next_at)
        return Wait(start - now - AHEAD_SECONDS, f"{slowest.name}: {slowest.rate:g} a second")
    count = wanted
    for pace in paces:
        if pace.rate:
            count = min(count, max(1, math.floor(pace.rate * LEASED_SECONDS)))
        for cap, used in ((pace.limit.hourly, pace.in_hour), (pace.limit.daily, pace.in_day)):
            if cap is not None:
                count = min(count, cap - used)
    every = max((1 / pace.rate for pace in paces if pace.rate), default=0.0)
    return Lease(start, every, count)


def _capped(pace: _Pace, at: datetime) -> Full | None:
    hour = at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    day = at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    limit = pace.limit
    if limit.daily is not None and pace.in_day >= limit.daily:
        return Full(day, f"{pace.name}: {limit.daily:,} a day")
    if limit.hourly is not None and pace.in_hour >= limit.hourly:
        return Full(hour, f"{pace.name}: {limit.hourly:,} an hour")
    return None


def _recovered(factor: float, slowed: int | None, at: datetime) -> float:
    if slowed is None or factor >= 1:
        return 1.0
    quiet = (at - _time(slowed)).total_seconds()
    return min(1.0, factor + RECOVERED * max(0.0, quiet) / RECOVER_SECONDS)


def _hour(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H}"


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d}"


def _micros(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000)


def _time(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1_000_000, UTC)
