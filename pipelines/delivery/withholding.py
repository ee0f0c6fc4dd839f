"""Who is not to be mailed after all, though the audience says so: asked again before each envelope.

People leave between planning and sending. What the people store holds counts from the next
envelope on; a decision that came with an export counts within a second of its table's commit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from pipelines.campaigns.bundle import Bundle
from pipelines.campaigns.campaign import slug_of
from pipelines.clock import Clock
from pipelines.delivery import audience
from pipelines.delivery.audience import survivors
from pipelines.delivery.ledger import reached_by_others
from pipelines.delivery.people import PeopleStore
from pipelines.lake import Lake

CONSENTS = "core.consents"
GLANCE_SECONDS = 1.0


class Withholding:
    """Asks the people store and core.consents on behalf of one campaign."""

    def __init__(
        self, bundle: Bundle, people: PeopleStore, lake: Lake, clock: Clock, ledgers: Path
    ) -> None:
        self._bundle, self._people, self._lake, self._clock = bundle, people, lake, clock
        self._changes = -1
        self._hashes: set[str] = set()
        self._contacts: set[int] = set()
        self._glanced = float("-inf")
        self._version: int | None = None
        self._disagreed: set[int] = set()
        # Two occurrences may be planned before either is sent: the second finds the first's ledger.
        once = bundle.campaign.once_per == "campaign"
        self._elsewhere = (
            reached_by_others(ledgers, slug_of(bundle.key), bundle.key) if once else set()
        )

    def reason(self, row: dict[str, Any]) -> str | None:
        """Why this recipient of campaigns.audience gets nothing; None when nothing stands against it."""
        self._ask_people()
        self._ask_consents()
        contact = row["contact_id"]
        hashes = {row["address_hash"], row["planned_hash"]}
        if hashes & self._hashes or contact in self._contacts:
            return "suppressed_since"
        if contact in self._disagreed:
            return "consent_withdrawn"
        if contact in self._elsewhere:
            return "mailed_by_another_occurrence"
        return "erased" if row["address"] is None else None

    def _ask_people(self) -> None:
        if (changes := self._people.changes()) == self._changes:
            return
        topic, brand = self._bundle.campaign.topic, self._bundle.campaign.brand
        self._hashes = self._people.suppressed_hashes(topic, brand)
        self._contacts = survivors(self._people.suppressed_contacts(topic, brand), self._lake)
        self._changes = changes

    def _ask_consents(self) -> None:
        now = self._clock.monotonic()
        if now - self._glanced < GLANCE_SECONDS:
            return
        self._glanced = now
        if (version := self._lake.version(CONSENTS)) == self._version:
            return
        consents = audience.on_topic(
            self._lake.read(CONSENTS, version), self._bundle.campaign.topic
        )
        rows = self._lake.read("campaigns.audience").filter(
            pl.col("campaign") == self._bundle.key,
            pl.col("decision") == audience.Decision.MAIL.value,
        )
        self._disagreed = audience.no_longer_agreed(consents, rows)
        self._version = version
