"""Seeds: addresses of our own that get every variant of a campaign when it starts, to see it arrive.

They are in no audience and count in no report; their links count nowhere. Each is begun once in a campaign's
life: that is on disk before the relay hears of it, so a crash in between costs the copy and repeats none.
What becomes of a seed never holds a send.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pipelines.campaigns.bundle import Bundle
from pipelines.contacts.address import address_hash, normalise
from pipelines.delivery.ledger import Ledger, micros
from pipelines.delivery.relay import ConnectionLost
from pipelines.delivery.single import hand_over
from pipelines.delivery.trial import copies, target_of
from pipelines.errors import LettermillError, Refused
from pipelines.message.compiled import CompiledMessage
from pipelines.message.previewing import somebody
from pipelines.workspace import Workspace

MARK = "[Seed] "
BEGUN, ACCEPTED, FAILED = "begun", "accepted", "failed"
BEGIN = "insert into seeds values (?, ?, ?, null, ?) on conflict do nothing"
END = "update seeds set state = ?, told = ? where address_hash = ? and variant = ?"
LONGEST_WORD = 200
LATE: tuple[str, str | None] = (FAILED, "the relay took too long over those before it")
# A relay that answers slowly keeps everybody else waiting for no longer.
SEEDS_SECONDS = 60.0


def seeds_of(bundle: Bundle) -> list[str]:
    """The seeds of a campaign and of its brand, each once, as it was written first."""
    found: dict[str, str] = {}
    for each in (*bundle.campaign.seeds, *bundle.brand.seeds):
        found.setdefault(normalise(each), each)
    return list(found.values())


def at_start(
    bundle: Bundle, workspace: Workspace, *, seconds: float = SEEDS_SECONDS
) -> Callable[[Ledger], None] | None:
    """What a send of this approval does for its seeds once it holds the ledger; None without any.

    seconds  after which no further copy is handed over, and the one under way is given up
    """
    if not seeds_of(bundle):
        return None
    return partial(_send_seeds, bundle, workspace, seconds)


def _send_seeds(bundle: Bundle, workspace: Workspace, seconds: float, ledger: Ledger) -> None:
    """Begin each seed that was not begun, and keep what became of it."""
    key, time = workspace.home.key("addresses"), workspace.clock.monotonic
    until = time() + seconds
    for number, address in enumerate(seeds_of(bundle)):
        name = address_hash(normalise(address), key)
        wanted = _begun(ledger, name, bundle, workspace)
        if not wanted:
            continue
        try:
            target, written = _letters(bundle, address, number, workspace)
        except (LettermillError, Refused) as error:
            _end(ledger, FAILED, _word(error), name, wanted)
            continue
        for variant, raw in written:
            if variant in wanted:
                state, told = (
                    _handed_over(raw, target, bundle, workspace, left)
                    if (left := until - time()) > 0
                    else LATE
                )
                _end(ledger, state, told, name, {variant})


def _begun(ledger: Ledger, name: str, bundle: Bundle, workspace: Workspace) -> set[str]:
    """The variants that this seed had not been begun with, and now is."""
    now, wanted = micros(workspace.clock.now()), set()
    with ledger.transaction() as db:
        for variant in bundle.message["subjects"]:
            if db.execute(BEGIN, (name, variant, BEGUN, now)).rowcount:
                wanted.add(variant)
    return wanted


def _letters(
    bundle: Bundle, address: str, number: int, workspace: Workspace
) -> tuple[str, list[tuple[str, bytes]]]:
    """Where a seed's copies go in this mode, and each variant's. Raises SendHeld for one not to be mailed."""
    campaign, message = bundle.campaign, CompiledMessage.model_validate(bundle.message)
    target = target_of(address, campaign.topic, campaign.brand, workspace)
    now = workspace.clock.now()
    person = somebody(bundle.key, workspace.lake, campaign, message, now=now)
    name = f"{bundle.key}-seed-{number}"
    addressed = replace(person, address=target)
    written = copies(
        message, addressed, brand=bundle.brand, mark=MARK, name=name, workspace=workspace
    )
    return target, written


def _handed_over(
    raw: bytes, target: str, bundle: Bundle, workspace: Workspace, seconds: float
) -> tuple[str, str | None]:
    """What became of one copy, and what was said of it."""
    try:
        (reply,) = hand_over(
            [raw],
            sender=str(bundle.message["sender_address"]),
            target=target,
            brand=bundle.brand.name,
            workspace=workspace,
            seconds=seconds,
        )
    except (LettermillError, Refused) as error:
        return FAILED, _word(error)
    except ConnectionLost:
        return FAILED, "the connection ended; it may have arrived"
    return ACCEPTED, reply[:LONGEST_WORD]


def _word(error: LettermillError | Refused) -> str:
    return (error.what if isinstance(error, LettermillError) else str(error))[:LONGEST_WORD]


def _end(ledger: Ledger, state: str, told: str | None, name: str, variants: set[str]) -> None:
    with ledger.transaction() as db:
        db.executemany(END, [(state, told, name, variant) for variant in variants])
