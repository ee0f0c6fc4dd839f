"""What a ledger holds as a table of the lake: campaigns.sends, one row per recipient of the audience.

Read in chunks: a million rows as Python's objects were most of a send's memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import polars as pl

from pipelines.delivery.doubts import resent
from pipelines.delivery.ledger import Ledger, micros
from pipelines.delivery.people import PeopleStore
from pipelines.delivery.states import Candidate, State
from pipelines.lake import Lake
from pipelines.schema import AUDIENCE, SENDS
from pipelines.workspace import Workspace

CHUNK = 50_000
COLUMNS = {
    "contact_id": pl.Int64, "state": pl.String, "reason": pl.String, "attempts": pl.Int64,
    "reply_class": pl.String, "message_id": pl.String, "claimed_at": pl.Int64, "settled_at": pl.Int64,
    "epoch": pl.Int64,
}  # fmt: skip


def mailed(key: str, lake: Lake) -> pl.LazyFrame:
    """The rows of the frozen audience that are to be mailed."""
    audience = lake.read(AUDIENCE.name)
    return audience.filter(pl.col("campaign") == key, pl.col("decision") == "mail")


def candidates_of(key: str, lake: Lake) -> Iterator[Candidate]:
    """The same as the ledger knows them."""
    columns = mailed(key, lake).select("contact_id", "address_hash", "recipient")
    return (Candidate(*row) for row in pl.DataFrame(columns.collect()).iter_rows())


def audience_size(key: str, lake: Lake) -> int:
    return int(mailed(key, lake).select(pl.len()).collect().item())


def due_later(key: str, workspace: Workspace) -> int:
    """How many of those to be mailed are not due yet, or were put off until later."""
    now = workspace.clock.now()
    to_come = mailed(key, workspace.lake).filter(pl.col("send_at") > now)
    count = int(to_come.select(pl.len()).collect().item())
    with closing(Ledger(workspace.home.ledgers / f"{key}.sqlite")) as ledger:
        put_off = "select count(*) from sends where state = 'deferred' and next_at > ?"
        ((more,),) = ledger.ask(put_off, [micros(now)])
    return count + int(more)


def export(key: str, ledger: Ledger, workspace: Workspace) -> None:
    """Put the ledger's rows, and who is not yet claimed, into campaigns.sends."""
    frame = export_sends(key, ledger, mailed(key, workspace.lake))
    workspace.lake.replace(SENDS, frame, campaign=key)
    accepted = frame.filter(pl.col("state").is_in([State.ACCEPTED, State.CONFIRMED_SENT]))[
        "contact_id"
    ]
    del frame
    people = PeopleStore(workspace.home.people)
    people.record_mailed(iter(accepted), key, workspace.clock.now())


def export_sends(
    key: str, ledger: Ledger, recipients: pl.LazyFrame, *, chunk: int = CHUNK
) -> pl.DataFrame:
    """One row per recipient, in the shape of campaigns.sends."""
    planned = recipients.select("contact_id", "recipient", "variant", "is_tracked")
    people = pl.DataFrame(planned.sort("contact_id").collect())
    parts = [
        _with_fates(key, ledger, people[first : first + chunk])
        for first in range(0, people.height, chunk)
    ]
    return pl.concat([SENDS.empty(), *parts], rechunk=False)


def _with_fates(key: str, ledger: Ledger, people: pl.DataFrame) -> pl.DataFrame:
    """These recipients, contact after contact, with what the ledger says of each."""
    rows = ledger.between(COLUMNS, people["contact_id"][0], people["contact_id"][-1])
    known = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    bundles = pl.DataFrame(
        list(ledger.bundles().items()),
        schema={"epoch": pl.Int64, "bundle": pl.String},
        orient="row",
    )
    return (
        people.join(known, on="contact_id", how="left")
        .join(bundles, on="epoch", how="left")
        .with_columns(
            pl.from_epoch(pl.col("claimed_at", "settled_at"), "us").dt.replace_time_zone("UTC"),
            campaign=pl.lit(key),
            was_resent=pl.col("contact_id").is_in(sorted(resent(ledger))),
            state=pl.col("state").fill_null("unclaimed"),
            attempts=pl.col("attempts").fill_null(0),
        )
        .select(SENDS.schema.names())
    )
