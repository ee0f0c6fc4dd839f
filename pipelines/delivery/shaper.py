"""Slots for one worker: when the next message may begin that goes to a destination by a relay.

Holds what it leased from pace.py and asks for more when that is used up. Where nothing is limited it
asks nobody, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.clock import Clock
from pipelines.delivery.berths import ASK_SECONDS, Berths
from pipelines.delivery.destinations import to
from pipelines.delivery.pace import Lease, Limit, Pace, Wait
from pipelines.delivery.routes import Routes, by_relay

# Slots in one lease at most, where only a cap and no rate bounds it.
MOST_LEASED = 1_000
# A slot that is this near is taken at once: no timer is finer.
NEAR_SECONDS = 0.001
# One that passed longer ago than this is lost: to catch up would be to send faster than the rate.
LATE_SECONDS = 0.25
# How often it is looked which destinations were slowed down, by any worker.
GLANCE_SECONDS = 1.0
# Slowed to this part of what it was, after some forty seconds of being asked for less, it crawls.
CRAWL = 1 / 16
EVERYTHING = "the rate over all"


@dataclass
class _Held:
    """A lease, and how much of it was used."""

    lease: Lease
    limits: Mapping[str, Limit]
    used: int = 0


class Shaper:
    """The slots of one worker, or of a message beside any campaign, which is urgent: none waits behind one.

    relay   the name of the relay it hands over to
    berths  of destinations that take so many messages at once
    """

    def __init__(
        self,
        pace: Pace,
        routes: Routes,
        relay: str,
        clock: Clock,
        *,
        berths: Mapping[str, Berths] | None = None,
        is_urgent: bool = False,
    ) -> None:
        self._pace, self._routes, self._clock = pace, routes, clock
        self.berths, self._is_urgent = berths or {}, is_urgent
        self._relay = by_relay(relay)
        own = next(way.limit for way in routes.ways if way.name == relay)
        self._shared = {
            name: limit
            for name, limit in ((EVERYTHING, routes.rate), (self._relay, own))
            if not limit.is_open
        }
        self._held: dict[str, _Held] = {}
        self._slowed: dict[str, float] = {}
        self._glanced = float("-inf")
        self._sent: dict[str, int] = {}
        self._since = clock.monotonic()
        # What stood in the way in the last second or two; '' when nothing did.
        self.limited_by, self._has_waited = "", False

    def destination(self, address: str) -> str:
        return self._routes.destinations.of_address(address)

    def seconds_to(self, destination: str, *, waiting: int = 1) -> float:
        """Take the next slot to a destination; 0 when it is taken, else the seconds to wait and ask again.

        waiting  how many may use a slot soon: no more are leased, since what is leased nobody else has
        """
        berths = self.berths.get(destination)
        if berths is not None and not berths.take():
            return self._waiting(ASK_SECONDS, f"{to(destination)}: {berths.count:,} at once")
        own = self._own(destination)
        limits = {**self._shared, **own}
        if self._relay in self._slowed:
            limits.setdefault(self._relay, Limit())
        # Without a limit of its own a destination shares the slots of all that have none.
        held = destination if own else ""
        seconds = self._take(held, limits, waiting) if limits else 0.0
        if seconds == 0:
            self._sent[destination] = self._sent.get(destination, 0) + 1
        elif berths is not None:
            berths.leave()
        return seconds

    def landed(self, destination: str) -> None:
        """A message to a destination with berths is not under way any more."""
        self.berths[destination].leave()

    def slow(self, destination: str) -> bool:
        """A reply asked for less to this destination; whether it crawls by now."""
        self._release(destination)
        return self._slow(to(destination), self._sent.get(destination, 0))

    def slow_relay(self) -> bool:
        """A reply asked for less of everything: it was given before anybody was named."""
        for held in list(self._held):
            self._release(held)
        return self._slow(self._relay, sum(self._sent.values()))

    def _slow(self, way: str, sent: int) -> bool:
        passed = max(1.0, self._clock.monotonic() - self._since)
        factor = self._pace.slow(way, observed=sent / passed)
        self._glanced = float("-inf")
        return factor <= CRAWL

    def close(self) -> None:
        """Give back what was not used: it counts towards no cap."""
        for held in list(self._held):
            self._release(held)
        for berths in self.berths.values():
            berths.close()

    def _own(self, destination: str) -> Mapping[str, Limit]:
        """The limit of a destination, or the one it was slowed to; empty where it has none."""
        self._glance()
        limit, way = self._routes.limits.get(destination, Limit()), to(destination)
        return {} if limit.is_open and way not in self._slowed else {way: limit}

    def _take(self, name: str, limits: Mapping[str, Limit], waiting: int) -> float:
        now = self._clock.monotonic()
        held = self._held.get(name)
        if held is not None and held.used < held.lease.count:
            slot = held.lease.slot(held.used)
            if not held.lease.every or now - LATE_SECONDS <= slot <= now + NEAR_SECONDS:
                held.used += 1
                return 0.0
            if slot > now:
                return self._waiting(slot - now, " and ".join(limits))
            self._release(name)
        wanted = max(1, min(waiting, MOST_LEASED))
        got = self._pace.lease(limits, wanted, is_urgent=self._is_urgent)
        if isinstance(got, Wait):
            return self._waiting(got.seconds, got.why)
        self._held[name] = _Held(got, limits)
        return self._take(name, limits, waiting)

    def _waiting(self, seconds: float, why: str) -> float:
        self.limited_by, self._has_waited = why, True
        return seconds

    def _release(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held is not None and held.used < held.lease.count:
            self._pace.give_back(held.limits, held.lease.count - held.used)

    def _glance(self) -> None:
        now = self._clock.monotonic()
        if now - self._glanced >= GLANCE_SECONDS:
            self._glanced = now
            if not self._has_waited:
                self.limited_by = ""
            self._has_waited = False
            self._slowed = self._pace.factors()
