"""Whose servers take the mail of a domain: its MX records, asked ahead of a send and kept for a week.

Asked for all domains of an audience at once and never for longer than a deadline; of whatever has no answer
by then nothing is known. Never in the way of a message.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pipelines.clock import Clock
from pipelines.delivery.audience import Decision
from pipelines.delivery.destinations import OTHER
from pipelines.delivery.routes import Routes
from pipelines.schema import AUDIENCE, CONTACTS
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

KEPT, KEPT_NONE = timedelta(days=7), timedelta(days=1)
# At once, in all, and for one domain; without a network all of them fail, and so many are enough to see it.
AT_ONCE, ALL_SECONDS, EACH_SECONDS, IN_VAIN = 64, 20.0, 4.0, 32
# The most frequent of an audience: the rest are a few recipients each.
MOST = 20_000
_TABLE = """
create table if not exists exchangers (
    domain text primary key, server text not null, asked_at integer not null
) without rowid;
"""


@dataclass
class Exchangers:
    """The servers of domains as they were last asked for; '' for a domain that names none."""

    path: Path
    clock: Clock

    def of(self, domains: Collection[str]) -> dict[str, str]:
        """What is known of these and not too old."""
        now, wanted = self.clock.now(), set(domains)
        oldest, oldest_none = (int((now - kept).timestamp()) for kept in (KEPT, KEPT_NONE))
        with closing(self._open()) as database:
            rows = database.execute(
                "select domain, server from exchangers where asked_at > iif(server = '', ?, ?)",
                (oldest_none, oldest),
            )
            return {domain: server for domain, server in rows if domain in wanted}

    def keep(self, found: dict[str, str]) -> None:
        now = self.clock.now()
        with closing(self._open()) as database, database:
            oldest = int((now - KEPT).timestamp())
            database.execute("delete from exchangers where asked_at <= ?", (oldest,))
            database.executemany(
                "insert or replace into exchangers values (?, ?, ?)",
                [(domain, server, int(now.timestamp())) for domain, server in found.items()],
            )

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=10)
        database.executescript(_TABLE)
        return database


def knowing(
    routes: Routes, key: str, workspace: Workspace, *, resolver: Resolver | None = None
) -> Routes:
    """The routes with whatever can be told of the domains of a campaign's audience, where it matters."""
    if not routes.asks_mx:
        return routes
    strangers = [
        each for each in _domains(key, workspace) if routes.destinations.of_domain(each) == OTHER
    ]
    kept = Exchangers(workspace.home.exchangers, workspace.clock)
    known = kept.of(strangers)
    asked = ask([each for each in strangers if each not in known], resolver=resolver)
    if asked:
        kept.keep(asked)
    return _with(routes, {**known, **asked})


def recalled(routes: Routes, domains: Iterable[str | None], workspace: Workspace) -> Routes:
    """The routes with what is known of these domains; nobody is asked."""
    if not routes.asks_mx:
        return routes
    kept = Exchangers(workspace.home.exchangers, workspace.clock)
    return _with(routes, kept.of({_name(each) for each in domains if each}))


def ask(
    domains: Sequence[str], *, resolver: Resolver | None = None, seconds: float = ALL_SECONDS
) -> dict[str, str]:
    """The most preferred server of each domain that has an answer; '' of one that names none."""
    if not domains:
        return {}
    # A tenth of a second that only who asks pays for.
    from dns.asyncresolver import Resolver
    from dns.exception import DNSException

    try:
        asked = resolver or Resolver()
    except DNSException:  # this machine names no server to ask
        return {}
    return asyncio.run(_Round(asked, list(reversed(domains))).run(seconds))


@dataclass
class _Round:
    """Many questions, some at a time, the first of them last in `left`."""

    resolver: Resolver
    left: list[str]
    found: dict[str, str] = field(default_factory=dict)
    in_vain: int = 0

    async def run(self, seconds: float) -> dict[str, str]:
        tasks = [asyncio.create_task(self._ask_on()) for _ in range(min(AT_ONCE, len(self.left)))]
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return self.found

    async def _ask_on(self) -> None:
        while self.left and (self.found or self.in_vain < IN_VAIN):
            domain = self.left.pop()
            server = await self._server(domain)
            if server is None:
                self.in_vain += 1
            else:
                self.found[domain] = server

    async def _server(self, domain: str) -> str | None:
        """The server of one domain; None when there is no answer."""
        from dns.exception import DNSException
        from dns.resolver import NXDOMAIN, NoAnswer

        try:
            answer = await self.resolver.resolve(domain, "MX", lifetime=EACH_SECONDS, search=False)
        except (NXDOMAIN, NoAnswer):
            return ""
        except (DNSException, OSError, ValueError):
            return None
        # Of several that are preferred alike the first by name, so that every look says the same.
        best = min(answer, key=lambda each: (each.preference, str(each.exchange).lower()))
        # RFC 7505: a lone dot is a domain that takes no mail; the relay says so of each recipient.
        return str(best.exchange).rstrip(".").lower()


def _with(routes: Routes, servers: dict[str, str]) -> Routes:
    destinations = routes.destinations
    told = {domain: destinations.of_server(server) for domain, server in servers.items() if server}
    known = {domain: name for domain, name in told.items() if name != OTHER}
    return replace(routes, destinations=destinations.knowing(known))


def _domains(key: str, workspace: Workspace) -> list[str]:
    """The domains of whoever is to be mailed, the most frequent first."""
    mailed = workspace.lake.read(AUDIENCE.name).filter(
        pl.col("campaign") == key, pl.col("decision") == Decision.MAIL.value
    )
    domain = (
        pl.col("address").str.split("@").list.last().str.strip_chars_end(".").str.to_lowercase()
    )
    contacts = workspace.lake.read(CONTACTS.name).select("contact_id", domain.alias("domain"))
    joined = mailed.select("contact_id").join(contacts, on="contact_id").drop_nulls("domain")
    counts = joined.group_by("domain").len().sort(["len", "domain"], descending=[True, False])
    return pl.DataFrame(counts.head(MOST).collect())["domain"].to_list()


def _name(domain: str) -> str:
    return domain.lower().rstrip(".")
