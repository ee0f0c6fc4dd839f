"""Send an approved campaign from a workspace: every rule that can hold it, then the sender.

Whoever asks (an asset, the command, a test) comes through here, so no caller can leave a rule out.
"""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import BytesHeaderParser

import polars as pl

from pipelines.campaigns.bundle import Bundle
from pipelines.campaigns.campaign import slug_of
from pipelines.delivery import approval, sink
from pipelines.delivery.due import hold_when_overdue, left_to_do, overdue
from pipelines.delivery.export import audience_size, export, mailed
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.letters import Letters
from pipelines.delivery.lock import CampaignLock
from pipelines.delivery.modes import check_mode, live_facts
from pipelines.delivery.pausing import hold_when_paused, resume
from pipelines.delivery.relay import Relay
from pipelines.delivery.routes import Routes, Way, load_routes
from pipelines.delivery.sender import SendResult, send
from pipelines.delivery.states import State
from pipelines.delivery.workers import Progress, SendOrder
from pipelines.errors import LedgerRefused, Problem, SendHeld
from pipelines.message.fill import STOPPED, message_id
from pipelines.settings import DeliveryMode
from pipelines.workspace import Workspace

PROBE_SECONDS = 5
SENT, UNSENT = State.CONFIRMED_SENT, State.CONFIRMED_UNSENT


@dataclass(frozen=True)
class Consent:
    """What a person knowingly agreed to when they started a send."""

    late: bool = False
    ledger: bool = False
    resume: bool = False


def send_campaign(
    key: str,
    workspace: Workspace,
    *,
    consent: Consent | None = None,
    progress: Progress | None = None,
) -> SendResult:
    """Send what is due of the approved bundle to its frozen audience. Raises SendHeld with the reason."""
    try:
        return _send(key, workspace, consent or Consent(), progress)
    except sqlite3.DatabaseError as error:
        # Of the ledger, wherever it is asked: a torn file may be read for a while before it is noticed.
        do = f"See to the disk, then run it again, nobody is mailed twice: lettermill campaign send {key}"
        told = "the ledger, or another database of this home, cannot be read or written"
        raise LedgerRefused(told, [Problem(f"{key}.sqlite", str(error))], do=do) from error


def _send(
    key: str, workspace: Workspace, consent: Consent, progress: Progress | None
) -> SendResult:
    bundle = approval.approved(key, workspace)
    if consent.resume:
        resume(workspace.home.ledgers, key)
    hold_when_paused(workspace.home.ledgers, key)
    if not consent.late and overdue(bundle, workspace.clock.now()):
        if left_to_do(bundle, workspace).expiring:
            ended = _give_up(bundle, workspace)
            if not ended.unclaimed:
                return ended
        hold_when_overdue(bundle, workspace.clock.now())
    approval.expected(bundle, _planned(bundle, workspace))
    facts = live_facts(workspace.lake, key)
    check_mode(workspace.settings, workspace.home, probe=home_at, facts=facts)
    _can_be_written(bundle, workspace)
    with routes_of(workspace, bundle.brand.name) as routes:
        return send(SendOrder(bundle, workspace, routes, consent.ledger, progress))


def _can_be_written(bundle: Bundle, workspace: Workspace) -> None:
    """Raises SendHeld when today's rules refuse what was approved: said once, before a worker starts."""
    try:
        Letters(bundle, workspace.settings, workspace.home, workspace.clock)
    except STOPPED as error:
        told = f"cannot be filled any more: {type(error).__name__}"
        do = f"Nobody was mailed. Approve it again after: lettermill campaign check {slug_of(bundle.key)}"
        raise SendHeld(f"{bundle.key} is held", [Problem("message", told)], do=do) from error


def _give_up(bundle: Bundle, workspace: Workspace) -> SendResult:
    """The last word on whoever was deferred for `expires_after` when a campaign's time is over."""
    key, now = bundle.key, workspace.clock.now()
    started = workspace.clock.monotonic()
    lock = CampaignLock(workspace.home.ledgers / f"{key}.lock")
    try:
        ledger = Ledger(workspace.home.ledgers / f"{key}.sqlite")
        ledger.expire(tried_before=now - bundle.campaign.expires_after, at=now)
        export(key, ledger, workspace)
        counts, epoch = ledger.counts(), ledger.epoch
        ledger.close()
    finally:
        lock.release()
    size = audience_size(key, workspace.lake)
    return SendResult(counts, size, 0, epoch, workspace.clock.monotonic() - started)


def _planned(bundle: Bundle, workspace: Workspace) -> int:
    """How many are to be mailed. Raises SendHeld when they were planned under another approval."""
    other = pl.col("bundle") != bundle.content_hash
    planned = mailed(bundle.key, workspace.lake).select(pl.len(), other.any().alias("is_other"))
    size, is_other = pl.DataFrame(planned.collect()).row(0)
    if not is_other:
        return int(size)
    told = "was planned under an earlier approval than the one in force"
    do = f"Nobody was mailed. Plan it anew: materialise campaigns/audience for {bundle.key}"
    raise SendHeld(f"{bundle.key} is held", [Problem("audience", told)], do=do)


def resolve(key: str, workspace: Workspace) -> dict[str, int]:
    """Settle who is in doubt by what the sink received; returns how many were sent and unsent.

    The sink is ours and keeps every message: what it has not, nobody got, and the next send goes out.
    """
    bundle = approval.approved(key, workspace)
    if workspace.settings.delivery_mode is not DeliveryMode.SINK:
        raise SendHeld(
            f"{key} was not sent to the sink", do="Evidence of other relays is not read yet"
        )
    lock = CampaignLock(workspace.home.ledgers / f"{key}.lock")
    try:
        ledger = Ledger(workspace.home.ledgers / f"{key}.sqlite")
        if ledger.meta("delivery") not in (None, DeliveryMode.SINK.value):
            do = "Evidence of other relays is not read yet"
            raise SendHeld(
                f"{key} was not sent to the sink; what the sink holds proves nothing", do=do
            )
        verdicts = list(_verdicts(bundle, ledger, workspace))
        ledger.resolve(verdicts, at=workspace.clock.now())
        export(key, ledger, workspace)
        ledger.close()
    finally:
        lock.release()
    states = [state for _, state in verdicts]
    return {state.value: states.count(state) for state in (SENT, UNSENT)}


def _verdicts(bundle: Bundle, ledger: Ledger, workspace: Workspace) -> Iterator[tuple[int, State]]:
    received = _received(workspace)
    domain = str(bundle.message["message_id_domain"])
    key = workspace.home.key("links")
    for row in ledger.rows(State.IN_DOUBT):
        name = message_id(bundle.key, row["contact_id"], key, domain)
        yield row["contact_id"], SENT if name in received else UNSENT


def _received(workspace: Workspace) -> set[str]:
    """The Message-ID of everything the sink holds."""
    found = set()
    for folder in ("new", "cur"):
        for path in (workspace.home.sink / folder).glob("*"):
            with path.open("rb") as file:
                found.add(str(BytesHeaderParser().parse(file)["Message-ID"]).strip())
    return found


@contextmanager
def routes_of(workspace: Workspace, brand: str) -> Iterator[Routes]:
    """Where this mode hands a brand's mail over, and how fast: the home's sink, started if need be, or
    the relays."""
    settings = workspace.settings
    if settings.delivery_mode is not DeliveryMode.SINK:
        yield load_routes(settings, brand=brand)
        return
    with sink.running(workspace.home, settings) as (host, port):
        yield Routes((Way("sink", Relay(host, port)),))


def home_at(url: str) -> str | None:
    """The id of the home whose edge answers at a public URL."""
    try:
        address = f"{url}/.well-known/lettermill"
        with urllib.request.urlopen(address, timeout=PROBE_SECONDS) as answer:  # noqa: S310
            found = json.load(answer).get("home_id")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, str) else None
