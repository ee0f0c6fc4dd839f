"""Which destination an address belongs to: the organisation that runs the mail of its domain.

By the domains and servers of large providers (destinations.yaml), and what the project adds. A domain
that is none of these is of the destination OTHER.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

TABLE = Path(__file__).with_name("destinations.yaml")
OTHER = "other"


@dataclass(frozen=True)
class Destination:
    """One organisation: domains of its own, and names its servers end in."""

    domains: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()


class Destinations:
    """All of them. `own` are the project's: one of a known name adds to it, and its domains go before."""

    def __init__(self, own: Mapping[str, Destination] | None = None) -> None:
        self._by_domain: dict[str, str] = {}
        self._by_server: dict[str, str] = {}
        for known in (providers(), own or {}):
            for name, destination in known.items():
                self._by_domain |= dict.fromkeys(map(str.lower, destination.domains), name)
                self._by_server |= dict.fromkeys(map(str.lower, destination.mx), name)
        self._found: dict[str, str] = {}

    def of_domain(self, domain: str) -> str:
        """The destination of a domain, as far as its name tells, or what `learn` was told."""
        found = self._found.get(domain)
        if found is None:
            found = _within(domain.lower().rstrip("."), self._by_domain) or OTHER
            self._found[domain] = found
        return found

    def of_address(self, address: str) -> str:
        return self.of_domain(address.rpartition("@")[2])

    def learn(self, domain: str, servers: Iterable[str]) -> str:
        """Take a domain's MX records into account; returns its destination from now on."""
        found = self.of_domain(domain)
        if found == OTHER:
            names = (_within(each.lower().rstrip("."), self._by_server) for each in servers)
            found = next((name for name in names if name), OTHER)
            self._found[domain] = found
        return found


@cache
def providers() -> Mapping[str, Destination]:
    """The large providers, by name."""
    values = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {
        name: Destination(tuple(told["domains"]), tuple(told["mx"]))
        for name, told in values.items()
    }


def _within(name: str, known: Mapping[str, str]) -> str | None:
    """What is known of a name or of the nearest one above it."""
    labels = name.split(".")
    above = (".".join(labels[start:]) for start in range(len(labels)))
    return next((known[each] for each in above if each in known), None)
