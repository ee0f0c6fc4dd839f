"""Messages beside any campaign, such as a report or a test: the same mode, relay and rules, no ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pipelines.delivery.modes import LiveFacts, Routing, check_mode, is_reserved
from pipelines.delivery.relay import Relay, connect
from pipelines.delivery.sending import home_at, relay_of
from pipelines.errors import RelayUnavailable
from pipelines.message.headers import envelope_address
from pipelines.workspace import Workspace


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
    messages: Sequence[bytes], *, sender: str, target: str, workspace: Workspace
) -> list[str]:
    """Give messages to the relay, one after another; what it replied to each.

    Raises RelayUnavailable, which says how many it took before, when it does not take one.
    """
    with relay_of(workspace) as relay:
        return asyncio.run(_transmitted(relay, messages, sender, target))


async def _transmitted(
    relay: Relay, messages: Sequence[bytes], sender: str, target: str
) -> list[str]:
    connection, replies = await connect(relay), list[str]()
    try:
        for raw in messages:
            outcome = await connection.transmit(
                envelope_address(sender), envelope_address(target), raw, before_dot=lambda: None
            )
            if outcome.reply.code // 100 != 2:
                count = f"{len(replies)} of {len(messages)} before it"
                raise RelayUnavailable(
                    f"the relay did not take the message ({count}): {outcome.reply.masked}",
                    do="See what it says, then ask for it again",
                )
            replies.append(str(outcome.reply.masked))
    finally:
        connection.quit()
    return replies
