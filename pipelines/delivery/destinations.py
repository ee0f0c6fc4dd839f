"""Which destination an address belongs to: the organisation that runs the mail of its domain.

By the domains of large providers (destinations.yaml) and what the project adds; of any other domain by the
server that takes its mail, where somebody asked for that (exchangers.py). What is none of these is OTHER.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

TABLE = Path(__file__).with_name("destinations.yaml")
OTHER = "other"


@dataclass(frozen=True)
class Provider:
    """What belongs to one organisation: its own domains, and its servers' as MX records name them."""

    domains: Sequence[str] = ()
    mx: Sequence[str] = ()


class Destinations:
    """All of them.

    own        what the project gives, by name of the destination; it goes before the known
    exchanged  domain → destination, of those that are known by their servers
    """

    def __init__(
        self,
        own: Mapping[str, Provider] | None = None,
        exchanged: Mapping[str, str] | None = None,
    ) -> None:
        self._own, self._exchanged = own or {}, exchanged or {}
        self._by_domain, self._by_server = dict[str, str](), dict[str, str]()
        for known in (providers(), self._own):
            for name, each in known.items():
                self._by_domain |= dict.fromkeys(map(str.lower, each.domains), name)
                self._by_server |= dict.fromkeys(map(str.lower, each.mx), name)
        self._found: dict[str, str] = {}

    def knowing(self, exchanged: Mapping[str, str]) -> Destinations:
        """These, and what is known by servers."""
        return Destinations(self._own, exchanged)

    def of_domain(self, domain: str) -> str:
        """The destination of a domain, or of the nearest one above it."""
        found = self._found.get(domain)
        if found is None:
            name = domain.lower().rstrip(".")
            found = _nearest(name, self._by_domain) or self._exchanged.get(name, OTHER)
            self._found[domain] = found
        return found

    def of_address(self, address: str) -> str:
        return self.of_domain(address.rpartition("@")[2])

    def of_server(self, host: str) -> str:
        """The destination whose servers this one is among, by its name."""
        return _nearest(host.lower().rstrip("."), self._by_server) or OTHER


@cache
def providers() -> Mapping[str, Provider]:
    """What is known of large providers, by name."""
    known = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {name: Provider(**each) for name, each in known.items()}


def to(destination: str) -> str:
    """What the slots of a destination are called."""
    return f"to {destination or OTHER}"


def _nearest(domain: str, known: Mapping[str, str]) -> str | None:
    labels = domain.split(".")
    above = (".".join(labels[start:]) for start in range(len(labels)))
    return next((known[each] for each in above if each in known), None)
