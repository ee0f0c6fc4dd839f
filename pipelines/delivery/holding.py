"""The one way to a campaign's ledger for whoever changes it: a send, and what a person does with one.

Under the campaign's lock, and only when it is the ledger that this home knows: a missing or older one looks
like people nobody has mailed. What a dead run left is settled first; what came of it is exported at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.campaigns.bundle import Bundle, load_current
from pipelines.delivery.export import audience_size, candidates_of, export
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.lock import CampaignLock, is_held
from pipelines.delivery.marks import Marks
from pipelines.delivery.pausing import is_paused
from pipelines.delivery.states import State
from pipelines.errors import LedgerRefused, Problem, SendHeld
from pipelines.lake import Lake
from pipelines.schema import LEDGER_HEADS, SENDS, UTC_TIME
from pipelines.settings import DeliveryMode, Settings, machine_id
from pipelines.workspace import Workspace

# A send that was told to stop ends within its own 5 seconds.
STOP_SECONDS, GLANCE_SECONDS = 10.0, 0.1


@dataclass(frozen=True)
class Held:
    """A campaign's ledger and marks in one hand, a start of their own begun. size: of its audience."""

    ledger: Ledger
    marks: Marks
    lock: CampaignLock
    epoch: int
    size: int


@contextmanager
def held(
    bundle: Bundle, workspace: Workspace, *, accept: bool = False, waits: bool = False
) -> Iterator[Held]:
    """Hold the ledger of an approved campaign. Raises LedgerRefused, and SendHeld after another approval.

    accept  go on with a ledger that cannot be trusted, everybody unproven in doubt
    waits   let a send that was told to pause come to its end first
    """
    key, space = bundle.key, workspace
    with _locked(key, space, waits=waits) as lock:
        # Under the lock: a plan or an amendment may have been under way.
        _still_approved(bundle, space)
        path, size = space.home.ledgers / f"{key}.sqlite", audience_size(key, space.lake)
        _not_missing(path, key, space, accept=accept)
        with (
            closing(Marks(path.with_suffix(".marks"), size)) as marks,
            closing(Ledger(path)) as ledger,
        ):
            _trusted(ledger, marks, key, space, accept=accept)
            epoch = _begun(ledger, marks, bundle, space)
            try:
                yield Held(ledger, marks, lock, epoch, size)
            finally:
                export(key, ledger, space)


def head_of(key: str, lake: Lake) -> int:
    """The last start of a campaign that the lake knows; 0 before the first."""
    known = lake.read(LEDGER_HEADS.name).filter(pl.col("campaign") == key)
    return int(known.select(pl.col("epoch").max()).collect().item() or 0)


def delivery_of(settings: Settings) -> str:
    """Where a ledger's messages go, as it is kept in the ledger: the mode, and to whom it redirects."""
    is_redirect = settings.delivery_mode is DeliveryMode.REDIRECT
    return (
        f"{settings.delivery_mode}:{settings.redirect_to}"
        if is_redirect
        else str(settings.delivery_mode)
    )


@contextmanager
def _locked(key: str, space: Workspace, *, waits: bool) -> Iterator[CampaignLock]:
    path, clock = space.home.ledgers / f"{key}.lock", space.clock
    if waits and is_paused(space.home.ledgers, key):
        until = clock.monotonic() + STOP_SECONDS
        while is_held(path) and clock.monotonic() < until:
            clock.sleep(GLANCE_SECONDS)
    lock = CampaignLock(path)
    try:
        yield lock
    finally:
        lock.release()


def _still_approved(bundle: Bundle, space: Workspace) -> None:
    """Raises SendHeld when what was read before the lock was held is not what is approved now."""
    key = bundle.key
    current = load_current(key, space.home.approvals)
    if current is None or current.content_hash != bundle.content_hash:
        do = f"Nobody was mailed, and nothing changed. See what is approved: lettermill campaign status {key}"
        raise SendHeld(f"{key} was approved anew in the meantime", do=do)


def _not_missing(path: Path, key: str, space: Workspace, *, accept: bool) -> None:
    """Raises LedgerRefused, before one is made, when the lake knows of a ledger that is not there."""
    head = head_of(key, space.lake)
    if head and not path.exists() and not accept:
        told = f"is missing; the lake knows {head} earlier starts"
        raise _refusal(key, [Problem("ledger", told)])


def _trusted(ledger: Ledger, marks: Marks, key: str, space: Workspace, *, accept: bool) -> None:
    """See that it is the one the lake knows, whole, made here and for this. Raises LedgerRefused."""
    ledger.check()
    head = head_of(key, space.lake)
    here = {
        "campaign": key,
        "home_id": space.home.identity().home_id,
        "machine_id": machine_id(),
        # Who got it in the sink got nothing: one ledger, one way of delivery.
        "delivery": delivery_of(space.settings),
    }
    problems = list(_doubts(ledger, marks, head, here))
    if (lost := _settled(key, space.lake) - sum(ledger.counts().values())) > 0:
        told = f"lacks {lost:,} people of whom it knew more when it was last exported; was it restored?"
        problems.append(Problem("ledger", told))
    if problems and not accept:
        raise _refusal(key, problems)
    if problems:
        ledger.doubt(candidates_of(key, space.lake), at=space.clock.now())
        ledger.set_meta(epoch=str(max(head, ledger.epoch)))
    ledger.set_meta(**here)


def _doubts(ledger: Ledger, marks: Marks, head: int, here: dict[str, str]) -> Iterator[Problem]:
    if ledger.epoch < head:
        told = f"is older than the lake knows: start {ledger.epoch}, not {head}; was it restored?"
        yield Problem("ledger", told)
    for name, value in here.items():
        known = ledger.meta(name)
        if known is not None and known != value:
            yield Problem(name, "is another one than where this ledger was made")
    if lost := ledger.contradicted(marks):
        told = f"has lost {lost:,} claims: their marks say that a message went out"
        yield Problem("ledger", told)


def _settled(key: str, lake: Lake) -> int:
    """How many rows of campaigns.sends no ledger loses: a claim may be given back, nothing else."""
    is_settled = ~pl.col("state").is_in(["unclaimed", State.CLAIMED.value])
    sends = lake.read(SENDS.name).filter(pl.col("campaign") == key, is_settled)
    return int(sends.select(pl.len()).collect().item())


def _refusal(key: str, problems: list[Problem]) -> LedgerRefused:
    do = (
        "Nobody was mailed. To go on, with everybody unproven in doubt:"
        f" lettermill campaign send {key} --accept"
    )
    return LedgerRefused(f"the ledger of {key} cannot be trusted", problems, do=do)


def _begun(ledger: Ledger, marks: Marks, bundle: Bundle, space: Workspace) -> int:
    """Settle what a dead run left and raise the epoch: in the ledger first, then in the lake."""
    now = space.clock.now()
    epoch = ledger.begin_epoch(marks=marks, at=now, bundle=bundle.content_hash)
    head = {
        "campaign": bundle.key,
        "epoch": epoch,
        "home_id": space.home.identity().home_id,
        "machine_id": machine_id(),
        "started_at": now,
    }
    space.lake.append(LEDGER_HEADS, pl.DataFrame([head], schema_overrides={"started_at": UTC_TIME}))
    return epoch
