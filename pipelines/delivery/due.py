"""Which approved campaigns are to be started now, and why the others are not.

A campaign more than its `late_by` overdue never starts by itself: not in a home that was restored, not
on a machine that slept. A person may start it, knowing so. What was begun in time goes on by itself, as
long as its own time came within `late_by`: another try of whom a relay put off, a second copy by policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from pipelines.campaigns.bundle import Bundle, approved_keys
from pipelines.delivery.approval import approved
from pipelines.delivery.audience import Decision
from pipelines.delivery.doubts import due_by_policy
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.lock import is_held
from pipelines.delivery.pausing import paused
from pipelines.delivery.quiet import quiet_of
from pipelines.delivery.send_times import first_due, last_due, send_times
from pipelines.delivery.states import State
from pipelines.delivery.waiting import first_by_zone, waiting, zones_of
from pipelines.errors import CampaignInvalid, Problem, SendHeld
from pipelines.schema import AUDIENCE, LEDGER_HEADS
from pipelines.workspace import Workspace


@dataclass(frozen=True)
class Due:
    """One approved campaign at one time: to be started, or the reason why not."""

    key: str
    start: bool
    why: str


def due(workspace: Workspace) -> list[Due]:
    """Every approved campaign of a home, in order of its key."""
    now = workspace.clock.now()
    found = []
    for key in approved_keys(workspace.home.approvals):
        try:
            found.append(_due(approved(key, workspace), workspace, now))
        except (SendHeld, CampaignInvalid) as held:  # one that cannot be trusted holds no other up
            found.append(Due(key, start=False, why=held.what))
    return found


def overdue(bundle: Bundle, workspace: Workspace) -> bool:
    """Whether the last time at which somebody was due lies more than `late_by` back."""
    now = workspace.clock.now()
    # Hours that are quiet only make it later: whoever is in time without them is not asked about zones.
    if now <= _last(bundle) + bundle.campaign.late_by:
        return False
    return now > _last_awake(bundle, workspace) + bundle.campaign.late_by


def hold_when_overdue(bundle: Bundle, workspace: Workspace) -> None:
    """Raises SendHeld for a campaign whose time has passed, unless only what goes on by itself is left."""
    if not overdue(bundle, workspace):
        return
    left = left_to_do(bundle, workspace)
    if left.expiring or left.goes_on:
        return
    last = _last_awake(bundle, workspace)
    told = (
        f"{last:%Y-%m-%d %H:%M} UTC was its last time, and more than {bundle.campaign.late_by} ago"
    )
    do = f"Nobody was mailed. If it shall still go: lettermill campaign send {bundle.key} --late"
    raise SendHeld(f"{bundle.key} is overdue", [Problem("send_at", told)], do=do)


def _last(bundle: Bundle) -> datetime:
    return last_due(bundle.campaign) or bundle.approved_at


def _last_awake(bundle: Bundle, workspace: Workspace) -> datetime:
    """The last time at which somebody was due, or their quiet hours ended after that."""
    last, quiet = _last(bundle), quiet_of(bundle, workspace.clock)
    if quiet is None:
        return last
    zones = pl.Series(zones_of(bundle, workspace), dtype=pl.String)
    since = bundle.campaign.as_of or bundle.approved_at
    times = send_times(zones, bundle.campaign, now=last, since=since)
    return max((last, *map(quiet.ends, zones, times)))


def _ends(bundle: Bundle, workspace: Workspace) -> datetime:
    """When whoever is still put off is given up on: so long after the last was due, or it was begun late."""
    heads = workspace.lake.read(LEDGER_HEADS.name).filter(pl.col("campaign") == bundle.key)
    begun = heads.select(pl.col("started_at").min()).collect().item()
    last = _last_awake(bundle, workspace)
    return max(last, begun or last) + bundle.campaign.expires_after


def _due(bundle: Bundle, workspace: Workspace, now: datetime) -> Due:
    if (pause := paused(workspace.home.ledgers, bundle.key)) is not None:
        return Due(bundle.key, start=False, why=str(pause))
    first = first_due(bundle.campaign)
    if first is not None and now < first:
        return Due(bundle.key, start=False, why=f"due from {first:%Y-%m-%d %H:%M} UTC")
    work = left_to_do(bundle, workspace)
    held = waiting(bundle, workspace, work.now) if work.now else None
    beside = f"; {held}" if held is not None else ""
    if is_held(workspace.home.ledgers / f"{bundle.key}.lock"):
        return Due(bundle.key, start=False, why=f"being sent{beside}")
    if overdue(bundle, workspace):
        if work.expiring:
            return Due(bundle.key, start=True, why="overdue: who is deferred is given up on")
        if not work.goes_on:
            return Due(bundle.key, start=False, why="overdue; it does not start by itself")
    if held is not None and held.count >= work.now:
        return Due(bundle.key, start=False, why=str(held))
    if work.now:
        return Due(bundle.key, start=True, why=f"due{beside}")
    later = work.later + work.deferred
    why = f"{later:,} are due later" if later else "everybody was sent to"
    return Due(bundle.key, start=False, why=why)


@dataclass(frozen=True)
class Work:
    """Recipients of a campaign who are due now, who will be, who wait for another try, and too long."""

    now: int
    later: int
    deferred: int
    expiring: int
    # Of those due now, who was begun before and whose own time came within `late_by`.
    lately: int = 0

    @property
    def goes_on(self) -> bool:
        """Whether a run would try nobody but those: it goes on though the campaign is overdue."""
        return self.now == self.lately and bool(self.now + self.deferred)

    @property
    def unfinished(self) -> int:
        """How many will be tried without anybody's doing."""
        return self.now + self.later + self.deferred


def left_to_do(bundle: Bundle, workspace: Workspace) -> Work:
    """What a send of the frozen audience would find to do; an audience not planned yet is all due."""
    key, now = bundle.key, workspace.clock.now()
    audience = workspace.lake.read(AUDIENCE.name).filter(
        pl.col("campaign") == key, pl.col("decision") == Decision.MAIL.value
    )
    times = audience.select(
        all=pl.len(), due=(pl.col("send_at") <= now).sum(), later=(pl.col("send_at") > now).sum()
    ).collect()
    total, due_now, later = (int(value) for value in pl.DataFrame(times).row(0))
    path = workspace.home.ledgers / f"{key}.sqlite"
    if not path.exists():
        return Work(now=due_now if total else 1, later=later, deferred=0, expiring=0)
    with closing(Ledger(path)) as ledger:
        counts, again = ledger.counts(), ledger.due_again(now)
        put_off = ledger.expiring()
        expiring = put_off if put_off and now > _ends(bundle, workspace) else 0
        doubted = due_by_policy(bundle.campaign, ledger, now)
        retries = ledger.retries(now)
        since = ledger.retries_since(now - bundle.campaign.late_by)
    since |= {each.contact_id: each.due_at(bundle.campaign) for each in doubted}
    unclaimed = total - sum(counts.values())
    return Work(
        now=max(0, unclaimed - later) + again + len(doubted),
        later=min(later, max(0, unclaimed)),
        deferred=counts.get(State.DEFERRED.value, 0),
        expiring=expiring,
        lately=len(doubted) + retries if _came_lately(since, bundle, workspace) else 0,
    )


def _came_lately(times: Mapping[int, datetime], bundle: Bundle, workspace: Workspace) -> bool:
    """Whether these contacts' times all lie within `late_by`, or in quiet hours that ended within it."""
    oldest = workspace.clock.now() - bundle.campaign.late_by
    stale = {contact: at for contact, at in times.items() if at <= oldest}
    if not stale:
        return True
    quiet = quiet_of(bundle, workspace.clock)
    if quiet is None:
        return False
    firsts = first_by_zone(stale, workspace)
    return all(quiet.ends(zone, first) > oldest for zone, first in firsts.items())
