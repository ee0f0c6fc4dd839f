"""What the edge and the mailbox look up about a signed token: its campaign, its recipient's hash.

Blocking; callers on an event loop put it on one thread. Answers None where there is nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.campaigns import bundle
from pipelines.campaigns.bundle import Bundle
from pipelines.clock import Clock, SystemClock
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.errors import SendHeld
from pipelines.lake import Lake
from pipelines.message.tokens import Token
from pipelines.schema import AUDIENCE
from pipelines.settings import Home

KEPT = 8
GLANCE_SECONDS = 1.0
WEB_ADDRESS = re.compile(r"https?://[!-~]+")


@dataclass
class Lookups:
    """Approved bundles of a home, the latest few kept in memory, and its audiences."""

    home: Home
    clock: Clock = field(default_factory=SystemClock)
    _bundles: dict[str, tuple[tuple[int, int], Bundle | None]] = field(default_factory=dict)
    _glance: tuple[float, int] = (float("-inf"), -1)

    def bundle(self, campaign: str) -> Bundle | None:
        """What was approved for those who got the campaign; before anybody did, the current approval.

        Links of mail that is out keep leading where they led, whatever is approved later. An amendment
        keeps their numbers and adds its own, so it stands for what it amends.
        """
        approved = _modified(self.home.approvals / campaign / bundle.CURRENT)
        stamp = (approved, self._audience_version())
        kept = self._bundles.get(campaign)
        if kept is None or kept[0] != stamp:
            found = self._approved(campaign) if approved else None
            self._bundles[campaign] = kept = (stamp, found)
            _forget(self._bundles)
        return kept[1]

    def _approved(self, campaign: str) -> Bundle | None:
        planned = Lake(self.home.lake).read(AUDIENCE.name).filter(pl.col("campaign") == campaign)
        hashes = pl.DataFrame(planned.select("bundle").drop_nulls().unique().collect())["bundle"]
        try:
            return bundle.load_planned(campaign, self.home.approvals, hashes.to_list())
        except SendHeld:
            return None

    def _audience_version(self) -> int:
        """The newest version of campaigns.audience, asked for once a second at most."""
        at, version = self._glance
        if self.clock.monotonic() - at >= GLANCE_SECONDS:
            found = Lake(self.home.lake).version(AUDIENCE.name)
            version = -1 if found is None else found
            self._glance = (self.clock.monotonic(), version)
        return version

    def link(self, campaign: str, number: int) -> str | None:
        """Where a link of an approved message leads."""
        approved = self.bundle(campaign)
        links = approved.message.get("links", []) if approved else []
        url = str(links[number]) if 0 <= number < len(links) else ""
        return url if WEB_ADDRESS.fullmatch(url) else None

    def address_hash(self, token: Token) -> str:
        """The keyed hash a recipient was planned under; '' when no audience holds them."""
        # One row of a million takes 8 ms; all of them in memory take 147 MB.
        planned = (
            Lake(self.home.lake)
            .read(AUDIENCE.name)
            .filter(
                pl.col("campaign") == token.campaign,
                pl.col("contact_id") == token.contact_id,
                pl.col("decision") == "mail",
            )
        )
        found = pl.DataFrame(planned.select("address_hash").collect())["address_hash"]
        return found[0] or "" if len(found) else ""

    def suppress(
        self, people: PeopleStore, token: Token, *, reason: Reason, scope: Scope, at: datetime
    ) -> None:
        """Write a decision to the people store. Where no approval tells the topic, it is all."""
        approved = self.bundle(token.campaign)
        is_topic = scope is Scope.TOPIC and approved is not None
        decision = Suppression(
            address_hash=self.address_hash(token),
            contact_id=token.contact_id,
            scope=Scope.TOPIC if is_topic else Scope.ALL,
            scope_key=approved.topic.key if is_topic and approved else "",
            reason=reason,
            since_at=at,
            origin=f"campaign {token.campaign}",
        )
        people.suppress([decision])


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _forget(kept: dict[Any, Any]) -> None:
    while len(kept) > KEPT:
        del kept[next(iter(kept))]
