"""Messages beside any campaign, such as a report or a test: the same mode, relay and rules, no ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from math import inf

from pipelines.clock import Clock
from pipelines.delivery.berths import ASK_SECONDS, berths_at
from pipelines.delivery.modes import LiveFacts, Routing, check_mode, is_reserved
from pipelines.delivery.pace import Pace
from pipelines.delivery.relay import SLOW, Connection, ConnectionLost, Relay, connect, unavailable
from pipelines.delivery.routes import FILE, Way
from pipelines.delivery.sender import answering
from pipelines.delivery.shaper import Shaper
from pipelines.delivery.way_out import home_at, routes_of
from pipelines.errors import RelayUnavailable
from pipelines.message.headers import envelope_address
from pipelines.workspace import Workspace

PATIENCE_SECONDS = 60.0


def permitted(address: str, workspace: Workspace) -> str | None:
    """Where mail for an address goes in this mode; None when it goes nowhere.

    Raises SendHeld when the mode may not send at all.
    """
    target = Routing.from_settings(workspace.settings).target(address)
    if target is not None:
        facts = LiveFacts(reserved=int(is_reserved(target)), fictitious=0)
        check_mode(workspace.settings, workspace.home, probe=home_at, facts=facts)
    return target


def hand_over(
    messages: Sequence[bytes],
    *,
    sender: str,
    target: str,
    brand: str,
    workspace: Workspace,
    seconds: float = inf,
) -> list[str]:
    """Give a brand's messages to its relay, one after another; what it replied to each.

    seconds  after which it is given up, whatever the relay is waited for

    They take the same slots as campaigns, before these. Raises RelayUnavailable, which says how many it
    took before, when it does not take one; ConnectionLost when it may have taken it.
    """
    space, until = workspace, workspace.clock.monotonic() + seconds
    with routes_of(space, brand) as routes, closing(Pace(space.home.pace, space.clock)) as pace:
        way = answering(routes, space, is_urgent=True, until=until)[0]
        shaper = Shaper(pace, routes, way.name, space.clock, is_urgent=True)
        try:
            for _ in messages:
                _wait(shaper, target, way, space.clock, until)
        finally:
            shaper.close()
        with berth(way, space, until=until):
            left = until - space.clock.monotonic()
            return asyncio.run(_transmitted(way.relay, messages, (sender, target), left))


def _wait(shaper: Shaper, target: str, way: Way, clock: Clock, until: float) -> None:
    """Until there is a slot; a cap that is full for the day is told at once."""
    while (seconds := shaper.seconds_to(shaper.destination(target))) > 0:
        if seconds > min(PATIENCE_SECONDS, until - clock.monotonic()):
            raise unavailable(
                way.relay, f"has taken all it may now: {shaper.limited_by}", str(FILE)
            )
        clock.sleep(seconds)


@contextmanager
def berth(way: Way, workspace: Workspace, *, until: float = inf) -> Iterator[None]:
    """One of the relay's connections, where they are counted: campaigns leave some for us.

    Raises RelayUnavailable when none is free for long.
    """
    berths, clock = berths_at(workspace.home.berths, way, is_urgent=True), workspace.clock
    if berths is None:
        yield
        return
    until = min(until, clock.monotonic() + PATIENCE_SECONDS)
    try:
        while not berths.take():
            if clock.monotonic() > until:
                told = f"has all its {berths.count:,} connections in use"
                raise unavailable(way.relay, told, str(FILE))
            clock.sleep(ASK_SECONDS)
        yield
    finally:
        berths.close()


async def _transmitted(
    relay: Relay, messages: Sequence[bytes], envelope: tuple[str, str], seconds: float
) -> list[str]:
    connection: Connection | None = None
    replies = list[str]()
    sender, target = map(envelope_address, envelope)
    try:
        async with asyncio.timeout(seconds):
            connection = await connect(relay)
            for raw in messages:
                outcome = await connection.transmit(sender, target, raw, before_dot=lambda: None)
                if outcome.reply.code // 100 != 2:
                    count = f"{len(replies)} of {len(messages)} before it"
                    raise RelayUnavailable(
                        f"the relay did not take the message ({count}): {outcome.reply.masked}",
                        do="See what it says, then ask for it again",
                    )
                replies.append(str(outcome.reply.masked))
    except TimeoutError:
        if connection is None:
            raise unavailable(relay, SLOW) from None
        connection.abort()
        raise ConnectionLost from None
    finally:
        if connection is not None:
            connection.quit()
    return replies
