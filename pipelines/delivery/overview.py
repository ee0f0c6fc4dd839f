"""Where a campaign stands, from its frozen audience and its ledger; and the story of one contact.

Reads only. The numbers add up: mail = the sum of the ledger's states + not yet claimed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from pipelines.delivery.states import State
from pipelines.schema import AUDIENCE, SENDS
from pipelines.workspace import Workspace

UNCLAIMED = "unclaimed"


@dataclass(frozen=True)
class Status:
    """One campaign: people by decision and state, and who is in doubt by id."""

    campaign: str
    counts: dict[str, int]
    in_doubt: list[int]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def status(key: str, workspace: Workspace) -> Status:
    """Counts of campaigns.audience and campaigns.sends, as last exported."""
    audience = _rows(key, AUDIENCE.name, workspace)
    sends = _rows(key, SENDS.name, workspace)
    doubt = sends.filter(state=State.IN_DOUBT.value)["contact_id"].sort().to_list()
    decisions = dict(audience.group_by("decision").len().sort("decision").rows())
    states = dict(sends.group_by("state").len().sort("len", descending=True).rows())
    return Status(key, {**decisions, **states}, doubt)


def unaccounted(key: str, workspace: Workspace) -> int:
    """Recipients of the audience without exactly one row among the sends; 0 when it adds up."""
    audience = _rows(key, AUDIENCE.name, workspace).filter(decision="mail")
    sends = _rows(key, SENDS.name, workspace)
    missing = audience.join(sends, on="contact_id", how="anti").height
    strange = sends.join(audience, on="contact_id", how="anti").height
    return missing + strange + sends.height - sends["contact_id"].n_unique()


def why(key: str, contact_id: int, workspace: Workspace) -> list[str]:
    """What was decided about a contact and what became of it, a sentence a line."""
    audience = _rows(key, AUDIENCE.name, workspace).filter(pl.col("contact_id") == contact_id)
    sends = _rows(key, SENDS.name, workspace).filter(pl.col("contact_id") == contact_id)
    lines = []
    for row in audience.iter_rows(named=True):
        is_told = row["reason"] and row["reason"] != row["decision"]
        reason = f" ({row['reason'].replace('_', ' ')})" if is_told else ""
        variant = f", variant {row['variant']}" if row["variant"] else ""
        decision = row["decision"].replace("_", " ")
        lines.append(f"{row['planned_at']:%Y-%m-%d %H:%M} planned: {decision}{reason}{variant}")
    for row in sends.iter_rows(named=True):
        at = f"{row['settled_at']:%Y-%m-%d %H:%M}" if row["settled_at"] else "not yet"
        reply = f", reply {row['reply_class']}" if row["reply_class"] else ""
        attempts = "1 attempt" if row["attempts"] == 1 else f"{row['attempts']} attempts"
        lines.append(f"{at} {row['state'].replace('_', ' ')} after {attempts}{reply}")
    return lines


def sends_of(key: str, workspace: Workspace) -> pl.DataFrame:
    """The rows of campaigns.sends of one campaign, as last exported."""
    return _rows(key, SENDS.name, workspace)


def _rows(key: str, table: str, workspace: Workspace) -> pl.DataFrame:
    return pl.DataFrame(workspace.lake.read(table).filter(pl.col("campaign") == key).collect())
