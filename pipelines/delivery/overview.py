"""Where a campaign stands, from its frozen audience and its ledger; and the story of one contact.

Reads only. The numbers add up: mail = the sum of the ledger's states + not yet claimed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from pipelines.campaigns.bundle import load
from pipelines.contacts.address import normalise
from pipelines.delivery.carriers import carriers
from pipelines.delivery.doubts import history
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.people import PeopleStore
from pipelines.delivery.states import Source, State
from pipelines.errors import SendHeld
from pipelines.schema import AUDIENCE, ENGAGEMENT_EVENTS, SENDS
from pipelines.workspace import Workspace

UNCLAIMED = "unclaimed"
SAID = {
    State.CONFIRMED_SENT: "confirmed sent",
    State.CONFIRMED_UNSENT: "confirmed unsent",
    State.WAIVED_SKIP: "left at that",
    State.WAIVED_RESEND: "let have a second copy",
}
WORDS = {
    Source.EVENT: "an event",
    Source.SINK: "what the sink has",
    Source.RELAY_LOG: "the relay's log",
    Source.PERSON: "a person's word",
    Source.POLICY: "the campaign's policy",
}
# Something left for the relay.
GONE = (
    State.ACCEPTED, State.IN_DOUBT, State.CONFIRMED_SENT, State.WAIVED_SKIP, State.WAIVED_RESEND,
)  # fmt: skip


@dataclass(frozen=True)
class Status:
    """One campaign: people by decision and state, who is in doubt by id, and who has which version."""

    campaign: str
    counts: dict[str, int]
    in_doubt: list[int]
    # Content hash of an approval → how many have its message or may have it.
    bundles: dict[str, int]
    # To whom a second copy went, or goes, though they may have the first.
    resent: int = 0
    # Copies for seeds, by what became of them.
    seeds: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def status(key: str, workspace: Workspace) -> Status:
    """Counts of campaigns.audience and campaigns.sends, as last exported."""
    audience = _rows(key, AUDIENCE.name, workspace)
    sends = _rows(key, SENDS.name, workspace)
    doubt = sends.filter(state=State.IN_DOUBT.value)["contact_id"].sort().to_list()
    decisions = dict(audience.group_by("decision").len().sort("decision").rows())
    states = dict(sends.group_by("state").len().sort("len", descending=True).rows())
    gone = sends.filter(pl.col("state").is_in(GONE)).drop_nulls("bundle")
    bundles = dict(gone.group_by("bundle", maintain_order=True).len().rows())
    resent = sends.filter("was_resent").height
    path = workspace.home.ledgers / f"{key}.sqlite"
    seeds: dict[str, int] = {}
    if path.exists():
        with closing(Ledger(path)) as ledger:
            seeds = dict(ledger.ask("select state, count(*) from seeds group by state"))
    return Status(key, {**decisions, **states}, doubt, bundles, resent, seeds)


def unaccounted(key: str, workspace: Workspace) -> int:
    """Recipients of the audience without exactly one row among the sends; 0 when it adds up."""
    audience = _rows(key, AUDIENCE.name, workspace).filter(decision="mail")
    sends = _rows(key, SENDS.name, workspace)
    missing = audience.join(sends, on="contact_id", how="anti").height
    strange = sends.join(audience, on="contact_id", how="anti").height
    return missing + strange + sends.height - sends["contact_id"].n_unique()


def contacts_of(who: str, workspace: Workspace) -> list[int]:
    """The contacts with an address, or the one with this id; several may share an address."""
    contacts = workspace.lake.read("core.contacts")
    if who.isascii() and who.isdigit():
        found = contacts.filter(pl.col("contact_id") == int(who))
    else:
        try:
            found = contacts.filter(pl.col("address_normalised") == normalise(who))
        except ValueError:
            return []
    return pl.DataFrame(found.select("contact_id").collect())["contact_id"].sort().to_list()


def why(key: str, contact_id: int, workspace: Workspace) -> list[str]:
    """What was decided about a contact, what became of it and what they did, a sentence a line."""
    mine = pl.col("contact_id") == contact_id
    audience = _rows(key, AUDIENCE.name, workspace).filter(mine)
    sends = _rows(key, SENDS.name, workspace).filter(mine)
    lines = []
    for row in audience.iter_rows(named=True):
        is_told = row["reason"] and row["reason"] != row["decision"]
        reason = f" ({row['reason'].replace('_', ' ')})" if is_told else ""
        variant = f", variant {row['variant']}" if row["variant"] else ""
        decision = row["decision"].replace("_", " ")
        lines.append(f"{row['planned_at']:%Y-%m-%d %H:%M} planned: {decision}{reason}{variant}")
    for row in sends.iter_rows(named=True):
        at = f"{row['settled_at']:%Y-%m-%d %H:%M}" if row["settled_at"] else "not yet"
        reason = f" ({row['reason'].replace('_', ' ')})" if row["reason"] else ""
        reply = f", reply {row['reply_class']}" if row["reply_class"] else ""
        attempts = "1 attempt" if row["attempts"] == 1 else f"{row['attempts']} attempts"
        version = f", with {_version(key, row['bundle'], workspace)}" if row["bundle"] else ""
        told = f"{row['state'].replace('_', ' ')}{reason} after {attempts}{reply}{version}"
        told += _relay(key, row, workspace)
        lines.append(f"{at} {told}")
    if not lines:
        return []
    lines += _settlements(key, contact_id, workspace)
    return [*lines, *_deeds(key, contact_id, workspace), *_decisions(audience, workspace)]


def _settlements(key: str, contact_id: int, workspace: Workspace) -> Iterator[str]:
    """What settled them each time they were in doubt, and by whom."""
    path = workspace.home.ledgers / f"{key}.sqlite"
    if not path.exists():
        return
    with closing(Ledger(path)) as ledger:
        known = history(ledger, contact_id)
    for each in known:
        detail = f" ({each.detail})" if each.detail else ""
        by = f", {each.by}" if each.by else ""
        told = f"{SAID[each.state]} by {WORDS[each.source]}{detail}{by}"
        yield f"{each.at:%Y-%m-%d %H:%M} was in doubt: {told}"


def _relay(key: str, row: Mapping[str, Any], workspace: Workspace) -> str:
    """By which relay the latest try went, or by one of which; nothing of whom no relay heard."""
    path = workspace.home.ledgers / f"{key}.sqlite"
    if row["state"] == State.WITHHELD or not row["attempts"] or not path.exists():
        return ""
    with closing(Ledger(path)) as ledger:
        ((epoch,),) = ledger.between(["epoch"], row["contact_id"], row["contact_id"]) or [(0,)]
        names = carriers(ledger).get(epoch, {})
    return f", by relay {' or '.join(sorted(names))}" if names else ""


def _version(key: str, name: str, workspace: Workspace) -> str:
    try:
        bundle = load(key, workspace.home.approvals, name)
    except SendHeld:
        bundle = None
    if bundle is None:
        return f"the message of an approval that is gone ({name[:12]})"
    by, at = bundle.approved_by, bundle.approved_at
    return f"the message that {by} approved on {at:%Y-%m-%d %H:%M} ({name[:12]})"


def _deeds(key: str, contact_id: int, workspace: Workspace) -> Iterator[str]:
    """What they did with it, or a machine on their behalf."""
    events = workspace.lake.read(ENGAGEMENT_EVENTS.name).filter(
        pl.col("campaign") == key, pl.col("contact_id") == contact_id
    )
    for row in pl.DataFrame(events.sort("occurred_at").collect()).iter_rows(named=True):
        link = f", link {row['link']}" if row["link"] is not None else ""
        detail = f" ({row['detail']})" if row["detail"] else ""
        machine = f", by a machine: {row['verdict']}" if row["is_machine"] else ""
        yield f"{row['occurred_at']:%Y-%m-%d %H:%M} {row['kind']}{detail}{link}{machine}"


def _decisions(audience: pl.DataFrame, workspace: Workspace) -> Iterator[str]:
    """What stands against mailing them now."""
    people = PeopleStore(workspace.home.people)
    for row in audience.iter_rows(named=True):
        for scope, name, reason in people.decisions(row["address_hash"] or "", row["contact_id"]):
            what = f"{scope.value} {name}".strip()
            yield f"now suppressed for {what}: {reason.replace('_', ' ')}"


def sends_of(key: str, workspace: Workspace) -> pl.DataFrame:
    """The rows of campaigns.sends of one campaign, as last exported."""
    return _rows(key, SENDS.name, workspace)


def _rows(key: str, table: str, workspace: Workspace) -> pl.DataFrame:
    return pl.DataFrame(workspace.lake.read(table).filter(pl.col("campaign") == key).collect())
