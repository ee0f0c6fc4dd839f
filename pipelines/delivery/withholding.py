"""Who is not to be mailed after all, though the audience says so: asked again before each envelope.

People leave between planning and sending. Whom the people store stops is looked up as they are
claimed, and its changes from then on count within a tenth of a second of their commit; a decision
that came with an export within a second of its table's. So memory grows with neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

CONSENTS, IDENTITIES = "core.consents", "core.identities"
# The law is a second; asking costs a system call.
ASK_SECONDS = 0.1
GLANCE_SECONDS = 1.0
# Coarser than any file system's idea of when something was written.
TICK_SECONDS = 2.0
# Contacts whose consents are read at once.
CHUNK = 100_000


class Withholding:
    """Asks the people store and core.consents on behalf of one campaign."""

    def __init__(
        self, bundle: Bundle, people: PeopleStore, lake: Lake, clock: Clock, ledgers: Path
    ) -> None:
        self._bundle, self._people, self._lake, self._clock = bundle, people, lake, clock
        self._topic, self._brand = bundle.campaign.topic, bundle.campaign.brand
        self._asked = self._glanced = float("-inf")
        # Before anybody is looked up: what is decided after that is heard of as a change.
        self._changes, self._newest = people.changes(), people.newest_change()
        self._hashes: set[str] = set()
        self._contacts: set[int] = set()
        self._touched: list[int] | None = None
        self._versions: list[int | None] = []
        self._disagreed: set[int] = set()
        self._merged: dict[int, set[int]] = {}
        # Two occurrences may be planned before either is sent: the second finds the first's ledger.
        self._elsewhere: set[int] = set()
        if bundle.campaign.once_per != "occurrence":
            self._elsewhere = reached_by_others(
                ledgers,
                slug_of(bundle.key),
                bundle.key,
                since=bundle.campaign.once_since(clock.now()),
            )

    def look(self, rows: Sequence[dict[str, Any]]) -> None:
        """Look up rows of campaigns.audience that were just claimed: sets `is_stopped` of each."""
        self._glance()
        # A decision goes with the person: those of contacts that were merged into theirs count.
        persons = [{row["contact_id"], *self._merged.get(row["contact_id"], ())} for row in rows]
        hashes, contacts = self._people.stopped(
            {row[name] for row in rows for name in ("address_hash", "planned_hash")},
            set().union(*persons),
            topic=self._topic,
            brand=self._brand,
        )
        for row, person in zip(rows, persons, strict=True):
            row["is_stopped"] = (
                row["address_hash"] in hashes
                or row["planned_hash"] in hashes
                or not contacts.isdisjoint(person)
            )

    def reason(self, row: dict[str, Any]) -> str | None:
        """Why this recipient gets nothing; None when nothing stands against it."""
        now = self._clock.monotonic()
        if now - self._asked >= ASK_SECONDS:
            self._asked = now
            self._ask_people()
            self._glance()
        contact = row["contact_id"]
        if (
            row["is_stopped"]
            or contact in self._contacts
            or row["address_hash"] in self._hashes
            or row["planned_hash"] in self._hashes
        ):
            return "suppressed_since"
        if contact in self._disagreed:
            return "consent_withdrawn"
        if contact in self._elsewhere:
            return "mailed_by_another_occurrence"
        return "erased" if row["address"] is None else None

    def _ask_people(self) -> None:
        """Take in whose decisions were made or ended since the last time."""
        if (changes := self._people.changes()) == self._changes:
            return
        self._newest, hashes, contacts = self._people.changed_since(self._newest)
        stopped = self._people.stopped(hashes, contacts, topic=self._topic, brand=self._brand)
        self._hashes = (self._hashes - hashes) | stopped[0]
        self._contacts = (self._contacts - contacts) | survivors(stopped[1], self._lake)
        self._changes = changes

    def _glance(self) -> None:
        """See whether consents or identities have a new version, and read them if so."""
        now = self._clock.monotonic()
        if now - self._glanced < GLANCE_SECONDS:
            return
        self._glanced = now
        # Each by itself: where the clock went back, the later of the two may hide a write to the other.
        touched = [self._lake.touched_ns(name) for name in (CONSENTS, IDENTITIES)]
        if touched == self._touched:
            return
        # Of two writes within the file system's tick the second would not show: looked at again then.
        is_settled = max(touched) < (self._clock.now().timestamp() - TICK_SECONDS) * 1e9
        self._touched = touched if is_settled else None
        versions = [self._lake.version(name) for name in (CONSENTS, IDENTITIES)]
        if versions == self._versions:
            return
        self._disagreed = set().union(*self._disagreeing(versions[0]))
        self._merged = _merged(self._lake, versions[1])
        self._versions = versions

    def _disagreeing(self, version: int | None) -> Iterator[set[int]]:
        """Of those to be mailed, whose newest decision is no; some contacts at a time."""
        consents = audience.on_topic(self._lake.read(CONSENTS, version), self._topic)
        mailed = self._lake.read("campaigns.audience").filter(
            pl.col("campaign") == self._bundle.key,
            pl.col("decision") == audience.Decision.MAIL.value,
        )
        contact = pl.col("contact_id")
        known = mailed.select(pl.len(), contact.min().alias("low"), contact.max().alias("high"))
        count, low, high = pl.DataFrame(known.collect()).row(0)
        if not count:
            return
        step = (high - low) // (count // CHUNK + 1) + 1
        for first in range(low, high + 1, step):
            some = (contact >= first) & (contact < first + step)
            yield audience.no_longer_agreed(consents.filter(some), mailed.filter(some))


def _merged(lake: Lake, version: int | None) -> dict[int, set[int]]:
    """For each contact that others were merged into, however many steps ago: those others."""
    rows = lake.read(IDENTITIES, version).filter(pl.col("source") == "merged")
    pairs = dict(
        pl.DataFrame(
            rows.select(pl.col("external_id").cast(pl.Int64), "contact_id").collect()
        ).rows()
    )
    found: dict[int, set[int]] = {}
    for contact in pairs:
        into = pairs.get(contact)
        while into is not None and contact not in found.setdefault(into, set()):
            found[into].add(contact)
            into = pairs.get(into)
    return found
