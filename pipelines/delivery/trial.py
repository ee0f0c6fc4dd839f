"""A test message: a campaign as it is now, as one contact would get it, sent to somebody of our own.

It counts nowhere: no ledger, no tracking, no link that leaves or opens for the contact. Everything else is
real, the relay and the mode among it, and whoever is suppressed gets no test either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipelines.campaigns.brands import Brand, load_brand
from pipelines.contacts.address import address_hash, normalise
from pipelines.delivery.people import PeopleStore
from pipelines.delivery.single import hand_over, permitted
from pipelines.errors import Problem, Refused, SendHeld
from pipelines.message.compiled import CompiledMessage
from pipelines.message.dkim_keys import signer_for
from pipelines.message.fill import Filler, Recipient
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
    target = target_of(to, campaign.topic, campaign.brand, workspace)
    name = f"{key}-test-{int(space.clock.now().timestamp())}"
    addressed = replace(recipient, address=target)
    try:
        written = copies(
            message,
            addressed,
            brand=load_brand(space.project, campaign.brand),
            mark=MARK,
            name=name,
            workspace=space,
        )
    except Refused as refused:
        raise SendHeld(
            f"no test of {key} can be made as contact {recipient.contact_id}",
            [Problem("message", str(refused))],
            do="Mend the message, or take another contact: --as CONTACT",
        ) from None
    replies = hand_over(
        [raw for _, raw in written],
        sender=message.sender_address,
        target=target,
        brand=campaign.brand,
        workspace=space,
    )
    return [
        Trial(variant, target, recipient.contact_id, reply)
        for (variant, _), reply in zip(written, replies, strict=True)
    ]


def copies(
    message: CompiledMessage,
    recipient: Recipient,
    *,
    brand: Brand,
    mark: str,
    name: str,
    workspace: Workspace,
) -> list[tuple[str, bytes]]:
    """Each variant of a message for one recipient, marked, with links and pixel that count nowhere.

    name  of these copies; each variant has a Message-ID of its own by it, since of two with one a
          mailbox shows the first

    Raises Refused for a value that no message can hold.
    """
    marked = _marked(message, mark)
    signer = signer_for(brand, workspace.home.keys)
    written = []
    for variant in message.subjects:
        filler = Filler(
            marked,
            public_url=workspace.settings.public_url,
            campaign=f"{name}-{variant}",
            link_key=NO_KEY,
            signer=signer,
        )
        letter = filler.write(replace(recipient, variant=variant, is_tracked=False))
        written.append((variant, letter.raw))
    return written


def _marked(message: CompiledMessage, mark: str) -> CompiledMessage:
    """The message with a mark before its subjects, in every language."""
    subjects = {variant: mark + subject for variant, subject in message.subjects.items()}
    translations = {name: _marked(each, mark) for name, each in message.translations.items()}
    return message.model_copy(update={"subjects": subjects, "translations": translations})


def target_of(to: str, topic: str, brand: str, workspace: Workspace) -> str:
    """Where it goes in this mode. Raises SendHeld for whoever must not be mailed."""
    try:
        normalised = normalise(to)
    except ValueError as error:
        raise SendHeld("no test can be sent there", [Problem("--to", str(error))]) from None
    target = permitted(to, workspace)
    if target is None:
        told = "this address is not on the allowlist"
        raise SendHeld(told, do="Add it to LETTERMILL_ALLOWLIST, or name one that is on it")
    hashed = address_hash(normalised, workspace.home.key("addresses"))
    people = PeopleStore(workspace.home.people)
    if people.is_suppressed(hashed, topic=topic, brand=brand):
        told = "this address has left, bounced or complained, and is mailed nothing"
        raise SendHeld(told, do="Name another address")
    return target
