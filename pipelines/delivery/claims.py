"""Claim a shard's due recipients, batch after batch, with their contact's fields as they are now.

The audience is read in windows of recipients, so that memory does not grow with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.clock import Clock
from pipelines.contacts.address import address_hash
from pipelines.delivery.ledger import BATCH, Ledger
from pipelines.delivery.letters import Row
from pipelines.delivery.marks import Marks
from pipelines.delivery.states import Candidate
from pipelines.lake import Lake
from pipelines.message.compiled import CONTACT_FIELDS
from pipelines.settings import Home

# Recipients of all shards together; half a row group, each of which is read twice therefore.
WINDOW = 65_536
MEMORY = "128MB"
PLANNED = ("recipient", "contact_id", "address_hash", "variant", "is_tracked", "fields")
CURRENT = ("address", "address_normalised", *CONTACT_FIELDS)


@dataclass(frozen=True)
class Shard:
    """The recipients of one worker: those whose number is `number` modulo `of`. One epoch of one campaign.

    size   how many recipients all shards have together
    """

    campaign: str
    number: int
    of: int
    epoch: int
    size: int
    pins: Mapping[str, int]


def claim(
    shard: Shard,
    home: Home,
    *,
    ledger: Ledger,
    marks: Marks,
    clock: Clock,
    wanted: Callable[[Row], bool] | None = None,
    window: int = WINDOW,
) -> Iterator[list[Row]]:
    """Rows of campaigns.audience whose claim is on disk. Raises LedgerRefused in a past epoch.

    wanted  asked of each before it is claimed; who is not stays as they were

    The next batch is claimed when it is asked for.
    """
    for found in _due(shard, home, clock, window):
        rows = found if wanted is None else [row for row in found if wanted(row)]
        if not rows:
            yield []
            continue
        candidates = [Candidate(r["contact_id"], r["address_hash"], r["recipient"]) for r in rows]
        taken = ledger.claim(
            candidates, marks=marks, epoch=shard.epoch, worker=shard.number, at=clock.now()
        )
        mine = {candidate.recipient for candidate in taken}
        yield [row for row in rows if row["recipient"] in mine]


def _due(shard: Shard, home: Home, clock: Clock, window: int) -> Iterator[list[Row]]:
    """The shard's due recipients, in order, claimed before or not."""
    lake, key = Lake(home.lake), home.key("addresses")
    tables = ("campaigns.audience", "core.contacts")
    connection: Any = lake.connect(tables, shard.pins, memory=MEMORY, threads=1)
    names = (*PLANNED, *CURRENT)
    for first in range(0, shard.size, window):
        _open_window(connection, shard, range(first, first + window), clock)
        while batch := connection.fetchmany(BATCH):
            rows: list[Row] = [dict(zip(names, values, strict=True)) for values in batch]
            for row in rows:
                # The address may be another one than when the audience was planned, and then its
                # hash is what must be unique and not suppressed.
                row["planned_hash"] = row["address_hash"]
                if row["address_normalised"] is not None:
                    row["address_hash"] = address_hash(row["address_normalised"], key)
            yield rows


def _open_window(connection: Any, shard: Shard, numbers: range, clock: Clock) -> None:
    """Begin to read the due recipients among these numbers."""
    connection.execute(
        f"create or replace temp table due as select {', '.join(PLANNED)} from campaigns.audience"
        " where campaign = ? and decision = 'mail' and recipient >= ? and recipient < ?"
        " and recipient % ? = ? and send_at <= ?",
        [shard.campaign, numbers.start, numbers.stop, shard.of, shard.number, clock.now()],
    )
    # As numbers and not as a join, so that files and row groups without them are not read.
    bounds = connection.execute("select min(contact_id), max(contact_id) from due").fetchone()
    planned = ", ".join(f"due.{name}" for name in PLANNED)
    current = ", ".join(f"contact.{name}" for name in CURRENT)
    connection.execute(
        f"select {planned}, {current} from due left join"
        " (select * from core.contacts where contact_id between ? and ?) as contact"
        " using (contact_id) order by recipient",
        list(bounds),
    )
