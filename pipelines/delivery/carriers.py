"""Which relays a campaign's messages were given to, by epoch: kept in its ledger by whoever sends.

Of one recipient no more is known than that it was one of these, where the next took over from the first.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.delivery.ledger import Ledger
from pipelines.delivery.routes import Way

MARK = "carrier"


def keep(ledger: Ledger, epoch: int, way: Way) -> None:
    """Before the first message of an epoch goes this way."""
    ledger.set_meta(**{f"{MARK} {epoch} {way.name}": way.relay.host})


def carriers(ledger: Ledger) -> Mapping[int, Mapping[str, str]]:
    """For each epoch that sent: the names of its relays, and each one's host."""
    found: dict[int, dict[str, str]] = {}
    for name, host in ledger.ask("select name, value from meta where name like ?", (f"{MARK} %",)):
        _, epoch, way = name.split(" ", 2)
        found.setdefault(int(epoch), {})[way] = host
    return found
