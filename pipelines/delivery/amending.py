"""Finish a paused send with another message: who has it keeps what they got, who is left gets the new one.

Only what the message and its settings say may change. Who it is for, which variant and when was decided
when the audience was frozen, and stays. Which start sent which version is the ledger's to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.campaigns.brands import load_brand
from pipelines.campaigns.bundle import Bundle, save
from pipelines.campaigns.campaign import Campaign, slug_of
from pipelines.campaigns.sources import fingerprints
from pipelines.campaigns.topics import load_topics
from pipelines.delivery import approval
from pipelines.delivery.holding import Held, held
from pipelines.delivery.pausing import is_paused
from pipelines.delivery.states import FINAL, State
from pipelines.errors import CampaignInvalid, Problem, SendHeld
from pipelines.message.compile import compile_message
from pipelines.workspace import Workspace

# What the frozen audience was made from: another value now would say what is not so.
DECIDED = (
    "topic", "brand", "audience", "hold_out", "once_per", "as_of", "send_at", "time_zone", "if_passed",
    "segments", "coupon",
)  # fmt: skip


@dataclass(frozen=True)
class Amended:
    """A new approval, how many have an earlier version or may have it, and how many are left for this one."""

    bundle: Bundle
    reached: int
    left: int


def amend(key: str, *, by: str, workspace: Workspace) -> Amended:
    """Approve a campaign's present files for whoever is left of a paused send. It stays paused.

    Raises SendHeld when there is nothing to amend, CampaignInvalid with all that is wrong or may not change.
    """
    space = workspace
    bundle = approval.approved(key, space)
    if not is_paused(space.home.ledgers, key):
        do = f"Pause it first: lettermill campaign pause {key} --by NAME"
        raise SendHeld(f"{key} is not paused; its approval stays as it is", do=do)
    if not approval.has_begun(key, space):
        do = f"Approve it as it is now: lettermill campaign approve {key} --by NAME"
        raise SendHeld(f"{key} was sent to nobody yet", do=do)
    with held(bundle, space) as hold:
        reached, left = _reached_and_left(key, hold)
        amended = _amended(bundle, by, space)
        save(amended, space.home.approvals)
    return Amended(amended, reached, left)


def _reached_and_left(key: str, hold: Held) -> tuple[int, int]:
    """How many are done with, and how many may still be sent to. Raises SendHeld when nobody is left."""
    counts = hold.ledger.counts()
    reached = sum(count for state, count in counts.items() if State(state) in FINAL)
    left = hold.size - reached
    if not left:
        do = f"Approve it as an occurrence of its own: {slug_of(key)}@2"
        raise SendHeld(f"nobody is left of {key}: there is nothing to amend", do=do)
    return reached, left


def _amended(old: Bundle, by: str, workspace: Workspace) -> Bundle:
    project, slug = workspace.project, slug_of(old.key)
    campaign = approval.checked(slug, workspace)
    message = compile_message(campaign, project=project, links=old.message["links"])
    new = message.model_dump(mode="json")
    if found := list(_changed(old, campaign, new)):
        count = f"{len(found)} thing{'' if len(found) == 1 else 's'} may not change any more"
        do = f"Set it back, or approve it as an occurrence of its own: {slug}@2"
        raise CampaignInvalid(f"{old.key} cannot be amended: {count}", found, do=do)
    changes: dict[str, Any] = {
        "campaign": campaign,
        "message": new,
        "topic": load_topics(project)[campaign.topic],
        "brand": load_brand(project, campaign.brand),
    }
    if all(getattr(old, name) == value for name, value in changes.items()):
        do = f"Let it go on as it is: lettermill campaign resume {old.key}"
        raise SendHeld(f"nothing of {old.key} has changed since it was approved", do=do)
    return old.model_copy(
        update={
            **changes,
            "sources": fingerprints(campaign, project),
            "approved_by": by,
            "approved_at": workspace.clock.now(),
            "amends": old.versions,
        }
    )


def _changed(old: Bundle, new: Campaign, message: dict[str, Any]) -> Iterator[Problem]:
    """What the frozen audience, or the mail that is out, does not allow to change."""
    for name in DECIDED:
        if getattr(old.campaign, name) != getattr(new, name):
            yield Problem(name, "is another one than the audience was frozen for")
    shares = [{each.name: each.share for each in one.variants} for one in (old.campaign, new)]
    if shares[0] != shares[1]:
        yield Problem("variants", f"must be {', '.join(shares[0])} with the shares they had")
    for name in new.fields.keys() - old.campaign.fields.keys():
        yield Problem("fields", f"'{name}' was not kept when the audience was frozen")
    domain = old.message["message_id_domain"]
    if message["message_id_domain"] != domain:
        yield Problem("brand", f"a message is known by its id at {domain}: the domain must stay")
