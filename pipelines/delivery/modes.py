"""Who really gets the mail: the delivery mode, and what has to be true before mode `live`.

Facts come in as arguments, the probe of the public URL included; nothing is fetched here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.errors import Problem, SendHeld
from pipelines.lake import Lake
from pipelines.settings import DeliveryMode, Environment, Home, HomeKind, Settings, machine_id

# RFC 2606 and RFC 6761: nobody's mailbox.
RESERVED_SUFFIXES = ("example", "test", "invalid", "localhost", "local", "onion")
RESERVED_DOMAINS = ("example.com", "example.net", "example.org")
# Given the public URL, the id of the home whose edge answers there, or None.
Probe = Callable[[str], str | None]


@dataclass(frozen=True)
class Routing:
    """Maps an address to where its mail really goes."""

    mode: DeliveryMode
    redirect_to: str | None = None
    allowlist: tuple[str, ...] = ()

    @classmethod
    def from_settings(cls, settings: Settings) -> Routing:
        return cls(settings.delivery_mode, settings.redirect_to, tuple(settings.allowlist))

    def target(self, address: str) -> str | None:
        """The envelope's recipient; None when this mode mails them nothing."""
        if self.mode is DeliveryMode.REDIRECT:
            return self.redirect_to
        if self.mode is DeliveryMode.ALLOWLIST and not self._is_listed(address):
            return None
        return address

    def _is_listed(self, address: str) -> bool:
        folded = address.casefold()
        domain = "@" + folded.rpartition("@")[2]
        return any(entry.casefold() in (folded, domain) for entry in self.allowlist)


@dataclass(frozen=True)
class LiveFacts:
    """What the audience says about itself."""

    reserved: int
    fictitious: int


def is_reserved(address: str) -> bool:
    """Whether an address is in a domain that stands for nobody."""
    domain = address.casefold().rpartition("@")[2].rstrip(".")
    parent = ".".join(domain.split(".")[-2:])
    return domain.rpartition(".")[2] in RESERVED_SUFFIXES or parent in RESERVED_DOMAINS


def live_facts(lake: Lake, campaign: str) -> LiveFacts:
    """Count recipients at reserved domains, and those whose consent is made up."""
    names = ("campaigns.audience", "core.contacts", "core.consents")
    suffixes = "|".join(RESERVED_SUFFIXES)
    domains = "|".join(domain.replace(".", "[.]") for domain in RESERVED_DOMAINS)
    reserved = f"[@.]({domains}|{suffixes})[.]?$"
    connection: Any = lake.connect(names)
    try:
        row = connection.execute(
            "with mailed as (select contact_id from campaigns.audience "
            "where campaign = ? and decision = 'mail') "
            "select (select count(*) from mailed join core.contacts using (contact_id) "
            "where regexp_matches(lower(address), ?)), "
            "(select count(distinct contact_id) from mailed join core.consents using (contact_id) "
            "where is_fictitious)",
            [campaign, reserved],
        ).fetchone()
    finally:
        connection.close()
    return LiveFacts(int(row[0]), int(row[1])) if row else LiveFacts(0, 0)


def check_mode(settings: Settings, home: Home, *, probe: Probe, facts: LiveFacts) -> None:
    """Raise SendHeld, with every reason, when this mode must not send now."""
    problems = {
        DeliveryMode.SINK: lambda: list[Problem](),
        DeliveryMode.REDIRECT: lambda: _redirect(settings),
        DeliveryMode.ALLOWLIST: lambda: _allowlist(settings),
        DeliveryMode.LIVE: lambda: _live(settings, home, probe, facts),
    }[settings.delivery_mode]()
    if problems:
        raise SendHeld(
            f"delivery mode '{settings.delivery_mode}' may not send yet",
            problems,
            do="Nobody was mailed. Set it right, then run: lettermill doctor",
        )


def _redirect(settings: Settings) -> list[Problem]:
    if settings.redirect_to:
        return []
    return [Problem("LETTERMILL_REDIRECT_TO", "is needed: the address that gets everything")]


def _allowlist(settings: Settings) -> list[Problem]:
    if settings.allowlist:
        return []
    return [Problem("LETTERMILL_ALLOWLIST", "is empty: nobody would be mailed")]


def _live(settings: Settings, home: Home, probe: Probe, facts: LiveFacts) -> list[Problem]:
    identity = home.identity()
    url = settings.public_url
    is_https = url.startswith("https://")
    checks = (
        (settings.environment is not Environment.PRODUCTION, "LETTERMILL_ENVIRONMENT",
         "is not 'production'"),
        (identity.kind is not HomeKind.PRODUCTION, "home",
         "was not made for production: lettermill init"),
        (identity.machine_id != machine_id(), "home", "was made on another machine"),
        (not is_https, "LETTERMILL_PUBLIC_URL", "is not https"),
        (is_https and probe(url) != identity.home_id, "LETTERMILL_PUBLIC_URL",
         "does not answer with this home's id"),
        (facts.reserved > 0, "audience", f"{facts.reserved} recipients are at reserved domains"),
        (facts.fictitious > 0, "audience", f"{facts.fictitious} recipients' consent is fictitious"),
    )  # fmt: skip
    return [Problem(where, what) for fails, where, what in checks if fails]
