"""Send an approved campaign from a workspace: every rule that can hold it, then the sender.

Whoever asks (an asset, the command, a test) comes through here, so no caller can leave a rule out.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace

import polars as pl

from pipelines.campaigns.bundle import Bundle
from pipelines.campaigns.campaign import slug_of
from pipelines.delivery import approval
from pipelines.delivery.due import hold_when_overdue, left_to_do, overdue
from pipelines.delivery.exchangers import knowing
from pipelines.delivery.export import mailed
from pipelines.delivery.holding import held
from pipelines.delivery.letters import Letters
from pipelines.delivery.modes import check_mode, live_facts
from pipelines.delivery.pausing import hold_when_paused, paused, resume
from pipelines.delivery.resolving import ask_when_over
from pipelines.delivery.seeds import at_start
from pipelines.delivery.sender import SendResult, send
from pipelines.delivery.states import State
from pipelines.delivery.way_out import home_at, routes_of
from pipelines.delivery.workers import Progress, SendOrder
from pipelines.errors import LedgerRefused, Problem, SendHeld
from pipelines.message.fill import STOPPED
from pipelines.workspace import Workspace


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
    if not consent.late and overdue(bundle, workspace):
        if left_to_do(bundle, workspace).expiring:
            ended = _give_up(bundle, workspace)
            if not left_to_do(bundle, workspace).now:
                return _over(bundle, ended, workspace)
        hold_when_overdue(bundle, workspace)
    approval.expected(bundle, _planned(bundle, workspace))
    facts = live_facts(workspace.lake, key)
    check_mode(workspace.settings, workspace.home, probe=home_at, facts=facts)
    _can_be_written(bundle, workspace)
    with routes_of(workspace, bundle.brand.name) as routes:
        order = SendOrder(
            bundle,
            workspace,
            knowing(routes, key, workspace),
            consent.ledger,
            progress,
            at_start(bundle, workspace),
        )
        return _over(bundle, send(order), workspace)


def _over(bundle: Bundle, result: SendResult, workspace: Workspace) -> SendResult:
    """A run's result; a campaign that is over then asks about whom is in doubt, if that is its policy."""
    if not result.unclaimed and not left_to_do(bundle, workspace).unfinished:
        ask_when_over(bundle, result.counts.get(State.IN_DOUBT.value, 0), workspace)
    return replace(result, paused=paused(workspace.home.ledgers, bundle.key))


def _can_be_written(bundle: Bundle, workspace: Workspace) -> None:
    """Raises SendHeld when today's rules refuse what was approved: said once, before a worker starts."""
    try:
        Letters(bundle, workspace.settings, workspace.home, workspace.clock)
    except STOPPED as error:
        told = f"cannot be filled any more: {type(error).__name__}"
        do = f"Nobody was mailed. Approve it again after: lettermill campaign check {slug_of(bundle.key)}"
        raise SendHeld(f"{bundle.key} is held", [Problem("message", told)], do=do) from error


def _give_up(bundle: Bundle, workspace: Workspace) -> SendResult:
    """The last word on whoever is still deferred when a campaign's time and its patience are over."""
    started = workspace.clock.monotonic()
    with held(bundle, workspace) as hold:
        hold.ledger.expire(at=workspace.clock.now())
        counts = hold.ledger.counts()
    seconds = workspace.clock.monotonic() - started
    return SendResult(counts, hold.size, 0, hold.epoch, seconds)


def _planned(bundle: Bundle, workspace: Workspace) -> int:
    """How many are to be mailed. Raises SendHeld when they were planned under another approval."""
    other = ~pl.col("bundle").is_in(bundle.versions)
    planned = mailed(bundle.key, workspace.lake).select(pl.len(), other.any().alias("is_other"))
    size, is_other = pl.DataFrame(planned.collect()).row(0)
    if not is_other:
        return int(size)
    told = "was planned under an earlier approval than the one in force"
    do = f"Nobody was mailed. Plan it anew: materialise campaigns/audience for {bundle.key}"
    raise SendHeld(f"{bundle.key} is held", [Problem("audience", told)], do=do)
