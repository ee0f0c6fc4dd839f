"""Claim a shard's due recipients, batch after batch, with their contact's fields as they are now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.clock import Clock
from pipelines.contacts.address import address_hash
from pipelines.delivery.ledger import BATCH, Ledger
from pipelines.delivery.letters import CONTACT_FIELDS, Row
from pipelines.delivery.marks import Marks
from pipelines.delivery.states import Candidate
from pipelines.lake import Lake
from pipelines.settings import Home


@dataclass(frozen=True)
class Shard:
    """The recipients of one worker: those whose number is `number` modulo `of`. One epoch of one campaign."""

    campaign: str
    number: int
    of: int
    epoch: int
    pins: Mapping[str, int]


def claim(
    shard: Shard, home: Home, *, ledger: Ledger, marks: Marks, clock: Clock
) -> Iterator[list[Row]]:
    """Rows of campaigns.audience whose claim is on disk. Raises LedgerRefused in a past epoch.

    The next batch is claimed when it is asked for.
    """
    for rows in _due(shard, home, clock):
        candidates = [Candidate(r["contact_id"], r["address_hash"], r["recipient"]) for r in rows]
        taken = ledger.claim(
            candidates, marks=marks, epoch=shard.epoch, worker=shard.number, at=clock.now()
        )
        mine = {candidate.recipient for candidate in taken}
        yield [row for row in rows if row["recipient"] in mine]


def _due(shard: Shard, home: Home, clock: Clock) -> Iterator[list[Row]]:
    """The shard's due recipients, in order, claimed before or not."""
    lake = Lake(home.lake)
    columns = ", ".join(f"contact.{name}" for name in CONTACT_FIELDS)
    connection: Any = lake.connect(("campaigns.audience", "core.contacts"), shard.pins, threads=1)
    reader = connection.sql(
        f"select audience.recipient, contact_id, audience.address_hash, audience.variant,"
        f" audience.is_tracked, audience.fields, contact.address, contact.address_normalised,"
        f" contact.attributes, {columns}"
        " from campaigns.audience as audience left join core.contacts as contact using (contact_id)"
        " where campaign = ? and decision = 'mail' and recipient % ? = ? and send_at <= ?"
        " order by recipient",
        params=[shard.campaign, shard.of, shard.number, clock.now()],
    ).to_arrow_reader(BATCH)
    key = home.key("addresses")
    for batch in reader:
        rows: list[Row] = batch.to_pylist()
        for row in rows:
            # The address may be another one than when the audience was planned, and then its
            # hash is what must be unique and not suppressed.
            row["planned_hash"] = row["address_hash"]
            if row["address_normalised"] is not None:
                row["address_hash"] = address_hash(row["address_normalised"], key)
        yield rows
