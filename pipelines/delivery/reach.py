"""How many of some contacts could be mailed, by topic, and why the others could not.

An estimate for whoever writes a segment: caps, hold-outs and a campaign's own rules come later, in
the audience.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from pipelines.campaigns.topics import load_topics
from pipelines.contacts.address import hash_series
from pipelines.delivery.audience import survivors
from pipelines.delivery.people import PeopleStore
from pipelines.lake import Pins
from pipelines.workspace import Workspace

# Hashing an address takes a microsecond and more: of larger segments this many contacts are looked at.
LOOKED_AT = 1_000_000
# Which brand will mail is not known yet: what people said of one brand alone is left out.
NO_BRAND = ""
READ = ("core.contacts", "core.consents")
ADDRESSES = """
select
    m.contact_id,
    c.address_normalised
from members as m
join core.contacts as c on m.contact_id = c.contact_id
"""
# Of two decisions at one time the withdrawal counts.
DECISIONS = """
select
    m.contact_id,
    arg_max(
        d.status,
        (d.recorded_at is not null, d.recorded_at, d.status = 'withdrawn')
    ) as decision
from members as m
join core.consents as d on m.contact_id = d.contact_id
where
    d.purpose = 'marketing'
    and coalesce(d.topic, '*') in ('*', $topic)
group by m.contact_id
"""


@dataclass(frozen=True)
class Reach:
    """Of the members looked at, how many could get mail of a topic, and how many could not and why."""

    topic: str
    mailable: int
    no_address: int
    suppressed: int
    no_consent: int
    withdrawn: int
    looked_at: int
    of: int


def reach(ids: pl.DataFrame, workspace: Workspace, pins: Pins | None = None) -> list[Reach]:
    """One answer per topic of the project. ids: contact_id, one row each."""
    total = ids.height
    if total > LOOKED_AT:
        # By hash, so that the same members are looked at whatever their order.
        ids = ids.bottom_k(LOOKED_AT, by=pl.col("contact_id").hash(seed=0))
    store = PeopleStore(workspace.home.people)
    connection = workspace.lake.connect(READ, pins)
    try:
        connection.register("members", ids.select("contact_id").to_arrow())
        people = connection.sql(ADDRESSES).pl()
        hashes = hash_series(people["address_normalised"], workspace.home.key("addresses"))
        people = people.with_columns(hashes.alias("address_hash"))
        return [
            _of(
                topic,
                people,
                connection.sql(DECISIONS, params={"topic": topic}).pl(),
                store,
                workspace,
                total,
            )
            for topic in load_topics(workspace.project)
        ]
    finally:
        connection.close()


def _of(
    topic: str,
    people: pl.DataFrame,
    decisions: pl.DataFrame,
    store: PeopleStore,
    workspace: Workspace,
    total: int,
) -> Reach:
    hashes = store.suppressed_hashes(topic, NO_BRAND)
    gone = survivors(store.suppressed_contacts(topic, NO_BRAND), workspace.lake)
    is_suppressed = pl.col("contact_id").is_in(list(gone)) | pl.col("address_hash").is_in(
        list(hashes)
    )
    why = (
        pl.when(pl.col("address_normalised").is_null())
        .then(pl.lit("no_address"))
        .when(is_suppressed)
        .then(pl.lit("suppressed"))
        .when(pl.col("decision").is_null())
        .then(pl.lit("no_consent"))
        .when(pl.col("decision") != "granted")
        .then(pl.lit("withdrawn"))
        .otherwise(pl.lit("mailable"))
    )
    rows = people.join(decisions, on="contact_id", how="left")
    counts = dict(rows.select(why=why).group_by("why").len().rows())
    return Reach(
        topic,
        mailable=counts.get("mailable", 0),
        no_address=counts.get("no_address", 0),
        suppressed=counts.get("suppressed", 0),
        no_consent=counts.get("no_consent", 0),
        withdrawn=counts.get("withdrawn", 0),
        looked_at=rows.height,
        of=total,
    )
