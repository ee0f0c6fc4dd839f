"""Which destination an address belongs to: the organisation that runs the mail of its domain.

By the domains of large providers (destinations.yaml), and what the project adds. A domain that is none
of these is of the destination OTHER; whose servers it uses nobody asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import yaml

TABLE = Path(__file__).with_name("destinations.yaml")
OTHER = "other"


class Destinations:
    """All of them. own: domains the project gives by name of the destination; they go before the known."""

    def __init__(self, own: Mapping[str, Sequence[str]] | None = None) -> None:
        self._by_domain: dict[str, str] = {}
        for known in (providers(), own or {}):
            for name, domains in known.items():
                self._by_domain |= dict.fromkeys(map(str.lower, domains), name)
        self._found: dict[str, str] = {}

    def of_domain(self, domain: str) -> str:
        """The destination of a domain, or of the nearest one above it."""
        found = self._found.get(domain)
        if found is None:
            labels = domain.lower().rstrip(".").split(".")
            above = (".".join(labels[start:]) for start in range(len(labels)))
            known = (self._by_domain[each] for each in above if each in self._by_domain)
            self._found[domain] = found = next(known, OTHER)
        return found

    def of_address(self, address: str) -> str:
        return self.of_domain(address.rpartition("@")[2])


@cache
def providers() -> Mapping[str, Sequence[str]]:
    """The domains of large providers, by name."""
    known: Mapping[str, Sequence[str]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return known


def to(destination: str) -> str:
    """What the slots of a destination are called."""
    return f"to {destination or OTHER}"
