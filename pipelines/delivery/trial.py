"""A test message: a campaign as it is now, as one contact would get it, sent to somebody of our own.

It counts nowhere: no ledger, no tracking, no link that leaves or opens for the contact. Everything else is
real, the relay and the mode among it, and whoever is suppressed gets no test either.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from pipelines.contacts.address import address_hash, normalise
from pipelines.delivery.modes import LiveFacts, Routing, check_mode, is_reserved
from pipelines.delivery.people import PeopleStore
from pipelines.delivery.relay import Relay, connect
from pipelines.delivery.sending import home_at, relay_of
from pipelines.errors import Problem, Refused, RelayUnavailable, SendHeld
from pipelines.message.dkim import Signer
from pipelines.message.dkim_keys import signing_keys
from pipelines.message.fill import Filler
from pipelines.message.headers import envelope_address
from pipelines.message.preview import NO_KEY
from pipelines.message.previewing import Desk, sampled
from pipelines.workspace import Workspace

MARK = "[Test] "


@dataclass(frozen=True)
class Trial:
    """One variant that was handed over: to whom, as which contact, and what the relay said."""

    variant: str
    target: str
    contact_id: int
    reply: str


def send_trial(
    key: str, to: str, workspace: Workspace, *, contact: int | None = None
) -> list[Trial]:
    """Send every variant of a campaign to one address, as the files are now.

    contact  whose values it carries; one of the audience otherwise

    Raises SendHeld when this address or mode may not be mailed, RelayUnavailable when the relay does
    not take it.
    """
    space = workspace
    desk = Desk(space.lake, space.home, space.project, space.settings.public_url)
    campaign, message, recipient = sampled(key, desk, now=space.clock.now(), contact=contact)
    target = _target(to, campaign.topic, campaign.brand, workspace)
    subjects = {variant: MARK + subject for variant, subject in message.subjects.items()}
    domain = message.sender_address.rpartition("@")[2]
    keys = signing_keys(space.home.keys, domain)
    filler = Filler(
        message.model_copy(update={"subjects": subjects}),
        public_url=space.settings.public_url,
        campaign=f"{key}-test-{int(space.clock.now().timestamp())}",
        link_key=NO_KEY,
        signer=Signer(keys) if keys else None,
    )
    addressed = replace(recipient, address=target, is_tracked=False)
    try:
        written = [
            (variant, filler.write(replace(addressed, variant=variant)).raw) for variant in subjects
        ]
    except Refused as refused:
        raise SendHeld(
            f"no test of {key} can be made as contact {recipient.contact_id}",
            [Problem("message", str(refused))],
            do="Mend the message, or take another contact: --as CONTACT",
        ) from None
    with relay_of(workspace) as relay:
        replies = asyncio.run(
            _hand_over(relay, message.sender_address, target, [raw for _, raw in written])
        )
    return [
        Trial(variant, target, recipient.contact_id, reply)
        for (variant, _), reply in zip(written, replies, strict=True)
    ]


def _target(to: str, topic: str, brand: str, workspace: Workspace) -> str:
    """Where it goes in this mode. Raises SendHeld for whoever must not be mailed."""
    try:
        normalised = normalise(to)
    except ValueError as error:
        raise SendHeld("no test can be sent there", [Problem("--to", str(error))]) from None
    target = Routing.from_settings(workspace.settings).target(to)
    if target is None:
        told = "this address is not on the allowlist"
        raise SendHeld(told, do="Add it to LETTERMILL_ALLOWLIST, or name one that is on it")
    hashed = address_hash(normalised, workspace.home.key("addresses"))
    people = PeopleStore(workspace.home.people)
    if people.is_suppressed(hashed, topic=topic, brand=brand):
        told = "this address has left, bounced or complained, and is mailed nothing"
        raise SendHeld(told, do="Name another address")
    facts = LiveFacts(reserved=int(is_reserved(target)), fictitious=0)
    check_mode(workspace.settings, workspace.home, probe=home_at, facts=facts)
    return target


async def _hand_over(relay: Relay, sender: str, target: str, messages: list[bytes]) -> list[str]:
    connection = await connect(relay)
    replies = []
    for raw in messages:
        outcome = await connection.transmit(
            envelope_address(sender), envelope_address(target), raw, before_dot=lambda: None
        )
        if outcome.reply.code // 100 != 2:
            raise RelayUnavailable(
                f"the relay did not take the test: {outcome.reply.masked}",
                do="See what it says, then send the test again",
            )
        replies.append(str(outcome.reply.masked))
    connection.quit()
    return replies
