"""Who is due and may not go yet, why, and until when: quiet hours, and caps that are reached.

Asked before a run is started, so that none is that would end at once. The engine asks for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from pipelines.campaigns.bundle import Bundle
from pipelines.delivery.audience import Decision
from pipelines.delivery.destinations import OTHER, to
from pipelines.delivery.doubts import due_by_policy
from pipelines.delivery.exchangers import recalled
from pipelines.delivery.ledger import Ledger, micros
from pipelines.delivery.pace import Full, Pace
from pipelines.delivery.quiet import Quiet, quiet_of
from pipelines.delivery.routes import Routes, by_relay, load_routes
from pipelines.delivery.states import is_due
from pipelines.schema import AUDIENCE, CONTACTS
from pipelines.settings import DeliveryMode
from pipelines.workspace import Workspace

# Rows of the ledger that are read at once.
CHUNK = 100_000
ZONE, DOMAIN = "time_zone", "domain"

# What is true of whom, and until when and why that holds them up.
_Held = dict[tuple[str, str | None], tuple[datetime, str]]


@dataclass(frozen=True)
class Waiting:
    """So many are due and held up, the first of them until a time."""

    count: int
    why: str
    until: datetime

    def __str__(self) -> str:
        verb = "waits" if self.count == 1 else "wait"
        return f"{self.count:,} {verb} until {self.until:%Y-%m-%d %H:%M} UTC: {self.why}"


def waiting(bundle: Bundle, workspace: Workspace, due: int) -> Waiting | None:
    """Who of `due` recipients is held up now; None when nobody is."""
    now, routes = workspace.clock.now(), _routes(bundle, workspace)
    full = dict[str, Full]()
    if routes is not None:
        with closing(Pace(workspace.home.pace, workspace.clock)) as pace:
            first = routes.ways[0]
            if (found := pace.full(by_relay(first.name), first.limit)) is not None:
                return Waiting(due, found.why, found.until)
            caps = {name: pace.full(to(name), each) for name, each in routes.limits.items()}
            full = {name: each for name, each in caps.items() if each is not None}
    quiet = quiet_of(bundle, workspace.clock)
    if quiet is None and not full:
        return None
    recipients = _recipients(bundle, workspace).filter(pl.col("send_at") <= now)
    held = {**_quiet(recipients, quiet, now), **_full(recipients, full, routes, workspace)}
    if not held:
        return None
    until, why = min(held.values())
    count = _open(bundle, workspace, recipients, list(held), due)
    return Waiting(count, why, until) if count else None


def zones_of(bundle: Bundle, workspace: Workspace) -> list[str | None]:
    """The time zones of whoever is to be mailed."""
    zones = _recipients(bundle, workspace).select(pl.col(ZONE).unique()).collect()
    return pl.DataFrame(zones)[ZONE].to_list()


def first_by_zone(
    times: Mapping[int, datetime], workspace: Workspace
) -> dict[str | None, datetime]:
    """The first of these contacts' times in each time zone."""
    zones = workspace.lake.read(CONTACTS.name).select("contact_id", ZONE)
    known = zones.filter(pl.col("contact_id").is_in(list(times))).collect()
    found: dict[str | None, datetime] = {}
    for contact, zone in pl.DataFrame(known).iter_rows():
        found[zone] = min(found.get(zone, times[contact]), times[contact])
    return found


def _routes(bundle: Bundle, workspace: Workspace) -> Routes | None:
    """The brand's routes, where they have caps; none for the sink."""
    if workspace.settings.delivery_mode is DeliveryMode.SINK:
        return None
    routes = load_routes(workspace.settings, brand=bundle.brand.name)
    limits = (routes.ways[0].limit, *routes.limits.values())
    has_caps = any(each.hourly is not None or each.daily is not None for each in limits)
    return routes if has_caps else None


def _quiet(recipients: pl.LazyFrame, quiet: Quiet | None, now: datetime) -> _Held:
    """The time zones in which it is quiet now."""
    if quiet is None:
        return {}
    zones = pl.DataFrame(recipients.select(pl.col(ZONE).unique()).collect())[ZONE].to_list()
    return {
        (ZONE, zone): (quiet.ends(zone, now), "quiet hours")
        for zone in zones
        if quiet.is_quiet(zone, now)
    }


def _full(
    recipients: pl.LazyFrame,
    full: Mapping[str, Full],
    routes: Routes | None,
    workspace: Workspace,
) -> _Held:
    """The domains of destinations whose cap is reached."""
    if not full or routes is None:
        return {}
    domains = pl.DataFrame(recipients.select(pl.col(DOMAIN).unique()).collect())[DOMAIN].to_list()
    destinations = recalled(routes, domains, workspace).destinations
    found = {each: full.get(destinations.of_domain(each) if each else OTHER) for each in domains}
    return {(DOMAIN, each): (cap.until, cap.why) for each, cap in found.items() if cap is not None}


def _open(
    bundle: Bundle,
    workspace: Workspace,
    recipients: pl.LazyFrame,
    held: Sequence[tuple[str, str | None]],
    due: int,
) -> int:
    """How many a run would try, of those that are held up by what is true of them."""
    zones, domains = ([each for name, each in held if name == of] for of in (ZONE, DOMAIN))
    is_held = pl.col(ZONE).is_in(zones, nulls_equal=True)
    is_held |= pl.col(DOMAIN).is_in(domains, nulls_equal=True)
    found = recipients.select("contact_id", is_held.alias("is_held")).collect()
    contacts = pl.DataFrame(found).filter("is_held")["contact_id"]
    path = workspace.home.ledgers / f"{bundle.key}.sqlite"
    if contacts.len() == pl.DataFrame(found).height:
        return due
    if not path.exists() or contacts.is_empty():
        return contacts.len()
    with closing(Ledger(path)) as ledger:
        now = workspace.clock.now()
        settled = set(_settled(ledger, contacts, micros(now) or 0))
        settled -= {each.contact_id for each in due_by_policy(bundle.campaign, ledger, now)}
    return sum(contact not in settled for contact in contacts)


def _settled(ledger: Ledger, contacts: pl.Series, now: int) -> Iterator[int]:
    """Those of these contacts whom no run would try now."""
    low, high = int(contacts.min()), int(contacts.max())  # type: ignore[arg-type]
    step = (high - low) // (len(contacts) // CHUNK + 1) + 1
    for first in range(low, high + 1, step):
        rows = ledger.between(("contact_id", "state", "next_at"), first, first + step - 1)
        for contact, state, next_at in rows:
            if not is_due(state, next_at, now):
                yield contact


def _recipients(bundle: Bundle, workspace: Workspace) -> pl.LazyFrame:
    """Whoever is to be mailed: contact_id, send_at, and their contact's zone and domain as they are now."""
    audience = workspace.lake.read(AUDIENCE.name).filter(
        pl.col("campaign") == bundle.key, pl.col("decision") == Decision.MAIL.value
    )
    contacts = workspace.lake.read(CONTACTS.name).select(
        "contact_id", ZONE, pl.col("address").str.split("@").list.last().alias(DOMAIN)
    )
    return audience.select("contact_id", "send_at").join(contacts, on="contact_id", how="left")
