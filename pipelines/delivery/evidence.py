"""Find out whether a message in doubt arrived: by what recipients did, by our sink, by a relay's own log.

Reads only. What arrived leaves traces, and any one proves it; that it did not is proved only where every
message that arrives is seen: in the sink, which is ours, and in a log that is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.parser import BytesHeaderParser
from pathlib import Path

import polars as pl

from pipelines.campaigns.bundle import Bundle
from pipelines.delivery.carriers import carriers
from pipelines.delivery.doubts import Doubt, Verdict
from pipelines.delivery.ledger import Ledger, moment
from pipelines.delivery.relay_log import LAG, Dating, RelayLog, read_log
from pipelines.delivery.states import Source, State
from pipelines.message.fill import message_id
from pipelines.schema import ENGAGEMENT_EVENTS
from pipelines.settings import DeliveryMode
from pipelines.workspace import Workspace

SENT, UNSENT = State.CONFIRMED_SENT, State.CONFIRMED_UNSENT
# Of those accepted about the same time, so many at most must stand in a log that proves what is not in it.
NEIGHBOURS = 10_000


@dataclass(frozen=True)
class Log:
    """A relay's log: its files, and the zone of times that name none."""

    paths: tuple[Path, ...]
    dating: Dating


def by_events(key: str, doubted: Sequence[Doubt], workspace: Workspace) -> Iterator[Verdict]:
    """Whoever opened, clicked, left, complained or bounced has got it, and so has whom a report names."""
    mine = {each.contact_id: each for each in doubted}
    wanted = pl.LazyFrame({"contact_id": list(mine)}, schema={"contact_id": pl.Int64})
    events = workspace.lake.read(ENGAGEMENT_EVENTS.name).filter(pl.col("campaign") == key)
    found = events.join(wanted, on="contact_id", how="semi").sort("occurred_at", "event_id")
    first = found.group_by("contact_id", maintain_order=True).agg(pl.col("kind").first())
    for contact_id, kind in pl.DataFrame(first.collect()).iter_rows():
        yield Verdict(mine[contact_id], SENT, Source.EVENT, kind)


def by_sink(
    bundle: Bundle, doubted: Sequence[Doubt], ledger: Ledger, workspace: Workspace
) -> Iterator[Verdict]:
    """What the sink has, somebody got; what it has not, nobody. Nothing, unless it was sent there."""
    if (
        not doubted
        or workspace.settings.delivery_mode is not DeliveryMode.SINK
        or ledger.meta("delivery") not in (None, DeliveryMode.SINK.value)
    ):
        return
    received = _received(workspace)
    for doubt, name in _named(bundle, doubted, workspace):
        yield Verdict(doubt, SENT if name in received else UNSENT, Source.SINK)


def by_log(
    log: Log, bundle: Bundle, doubted: Sequence[Doubt], ledger: Ledger, workspace: Workspace
) -> tuple[list[Verdict], list[str]]:
    """Verdicts, and why the log proves of nobody that they got nothing, where it does not."""
    names = list(_named(bundle, doubted, workspace))
    neighbours = _neighbours(ledger, doubted)
    said = read_log(log.paths, [*(name for _, name in names), *neighbours], log.dating)
    flaws = [*_flaws(said, neighbours), *_other_relays(ledger, doubted)]
    verdicts = []
    for doubt, name in names:
        if name in said.accepted:
            verdicts.append(Verdict(doubt, SENT, Source.RELAY_LOG))
        elif name not in said.named and not flaws and _is_covered(said, doubt):
            verdicts.append(Verdict(doubt, UNSENT, Source.RELAY_LOG))
    return verdicts, flaws


def _is_covered(said: RelayLog, doubt: Doubt) -> bool:
    """Whether the log has every line that could be of this one: from the claim until a while after."""
    if doubt.claimed_at is None:
        return False
    return said.covers(moment(doubt.claimed_at), moment(doubt.settled_at) + LAG)


def _flaws(said: RelayLog, neighbours: dict[str, tuple[datetime, datetime]]) -> Iterator[str]:
    """Why this cannot be the whole log of the relay that had the message: those it took are not in it."""
    if not said.spans:
        yield "no line of it is Postfix's"
        return
    if missing := sum(name not in said.named for name in neighbours):
        yield (
            f"it lacks {missing:,} of {len(neighbours):,} messages accepted about that time:"
            " it is not whole, or there was another relay"
        )
    seen = [(said.named[name], *span) for name, span in neighbours.items() if name in said.named]
    if any(not claimed - LAG <= at <= settled + LAG for at, claimed, settled in seen):
        yield "its clock is another one: say in which zone it is, with --zone"
    if not seen:
        yield "no message accepted about that time is in it: it may be another relay's"
        if not said.is_zoned:
            yield "its times name no zone: say which it is, with --zone"


def _other_relays(ledger: Ledger, doubted: Iterable[Doubt]) -> Iterator[str]:
    """Why the message may have been another relay's than the one whose log this is."""
    known = carriers(ledger)
    hosts = {host for ways in known.values() for host in ways.values()}
    if len(hosts) > 1:
        yield f"the campaign went by {len(hosts)} relays, and nobody knows which had whom"
    if any(each.epoch not in known for each in doubted if each.claimed_at is not None):
        yield "by which relay they went was not kept"


def _neighbours(ledger: Ledger, doubted: Iterable[Doubt]) -> dict[str, tuple[datetime, datetime]]:
    """The Message-IDs accepted while those in doubt were on their way, each with claim and settlement."""
    known = [each for each in doubted if each.claimed_at is not None]
    if not known:
        return {}
    first = min(each.claimed_at or 0 for each in known)
    last = max(each.settled_at for each in known)
    rows = ledger.ask(
        "select message_id, claimed_at, settled_at from sends where state = 'accepted'"
        " and message_id is not null and settled_at between ? and ? order by settled_at limit ?",
        (first, last, NEIGHBOURS),
    )
    return {name: (moment(claimed), moment(settled)) for name, claimed, settled in rows}


def _named(
    bundle: Bundle, doubted: Iterable[Doubt], workspace: Workspace
) -> Iterator[tuple[Doubt, str]]:
    """Each with the Message-ID of every try at them."""
    domain, key = str(bundle.message["message_id_domain"]), workspace.home.key("links")
    for each in doubted:
        yield each, message_id(bundle.key, each.contact_id, key, domain)


def _received(workspace: Workspace) -> set[str]:
    """The Message-ID of everything the sink holds."""
    found = set()
    for folder in ("new", "cur"):
        for path in (workspace.home.sink / folder).glob("*"):
            with path.open("rb") as file:
                found.add(str(BytesHeaderParser().parse(file)["Message-ID"]).strip())
    return found
