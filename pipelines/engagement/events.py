"""A hit as the edge and the mailbox log it, and the event it becomes.

Pure. A hit is what was seen; an event adds what it means. The same hit always gives the same
event_id, so an event that was logged or read twice can be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import blake2b
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import orjson
import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pipelines.engagement.classify import RULE_VERSION, classify
from pipelines.schema import ENGAGEMENT_EVENTS

MAX_USER_AGENT = 512
INT64 = 2**63


class Kind(StrEnum):
    OPEN = "open"
    CLICK = "click"
    UNSUBSCRIBE = "unsubscribe"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    # A relay's or a mailbox's own word that it took the message (RFC 3464: delivered, relayed, expanded).
    DELIVERY = "delivery"


# Said once and meant once, however often it is heard: told by content, not by the single request.
SAID_ONCE = frozenset({Kind.UNSUBSCRIBE, Kind.BOUNCE, Kind.COMPLAINT, Kind.DELIVERY})


class Hit(BaseModel):
    """One thing that reached us, as it stands in the log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    at: AwareDatetime
    campaign: str = Field(min_length=1, max_length=200)
    contact_id: int = Field(ge=-INT64, lt=INT64)
    # Tells this hit from another: random for an open or a click, else made from the content.
    mark: str = Field(max_length=64)
    link: int | None = Field(None, ge=0, lt=2**31)
    detail: str | None = Field(None, max_length=200)
    method: str = Field("GET", max_length=16)
    user_agent: str | None = Field(None, max_length=MAX_USER_AGENT)
    network: str | None = Field(None, max_length=64)

    def to_bytes(self) -> bytes:
        return orjson.dumps(self.model_dump(mode="json", exclude_none=True))


@dataclass(frozen=True)
class Event:
    """One row of core.engagement_events."""

    event_id: str
    kind: str
    occurred_at: datetime
    campaign: str
    contact_id: int
    link: int | None
    detail: str | None
    is_machine: bool
    verdict: str
    rule_version: int
    user_agent: str | None
    network: str | None
    log_partition: str
    log_offset: int


def parse(payload: bytes, *, partition: str, offset: int) -> Event | None:
    """The event a logged hit is, or None when it is no hit at all."""
    try:
        hit = Hit.model_validate_json(payload)
    except ValidationError:
        return None
    verdict = classify(hit.kind, user_agent=hit.user_agent, method=hit.method)
    return Event(
        event_id=event_id(hit),
        kind=hit.kind.value,
        occurred_at=hit.at.astimezone(UTC),
        campaign=hit.campaign,
        contact_id=hit.contact_id,
        link=hit.link,
        detail=hit.detail,
        is_machine=verdict.is_machine,
        verdict=verdict.rule,
        rule_version=RULE_VERSION,
        user_agent=hit.user_agent,
        network=hit.network,
        log_partition=partition,
        log_offset=offset,
    )


def event_id(hit: Hit) -> str:
    """128 bits over what makes a hit itself. What is said once leaves out when it was said."""
    when = "" if hit.kind in SAID_ONCE else hit.at.astimezone(UTC).isoformat()
    parts: list[Any] = [hit.kind, hit.campaign, hit.contact_id, hit.mark, hit.link, when]
    return blake2b(orjson.dumps(parts), digest_size=16).hexdigest()


def frame(events: Iterable[Event]) -> pl.DataFrame:
    """Events as rows of core.engagement_events."""
    return pl.DataFrame([asdict(event) for event in events], schema=ENGAGEMENT_EVENTS.schema)


def network_of(host: str | None) -> str | None:
    """The /24 or /48 of an address: enough to see a burst, too little to know a household."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return None
    bits = 24 if isinstance(address, IPv4Address) else 48
    return str(ip_network(f"{address}/{bits}", strict=False)) if "%" not in str(address) else None
