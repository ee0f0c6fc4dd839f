"""What one person gets, topic by topic, and how they change it themselves.

Knows consents and the people store. Only what somebody agreed to, or left by themselves, can be chosen
again here: no page makes a consent that was not given.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from pipelines.campaigns.topics import Topic
from pipelines.delivery.audience import survivors
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.lake import Lake

# Whoever complained, bounced or was erased does not come back by a tick in a box.
THEIR_OWN = frozenset({Reason.UNSUBSCRIBED.value})


@dataclass(frozen=True)
class Choices:
    """What can be chosen and what is. `is_blocked`: they get nothing, for a reason that is not their own.

    topics      topic → whether they get it now
    left_all    they left everything, or everything of this brand, whatever is said of single topics
    is_counted  whether opens and clicks are recorded; None when they never agreed to it
    """

    topics: Mapping[str, bool]
    is_blocked: bool
    is_counted: bool | None
    left_all: bool = False


@dataclass(frozen=True)
class Wanted:
    """What somebody ticked, and of what: of a topic added since they were shown them nobody asked."""

    ticked: Collection[str]
    shown: Collection[str]


@dataclass(frozen=True)
class Person:
    """Whose choices: the contact, the keyed hash of their address ('' where no audience tells it), of
    whose mail, and under which numbers they are known: the contact's, and of whom it was merged into."""

    contact_id: int
    address_hash: str
    brand: str
    known_as: Collection[int]

    @property
    def everything(self) -> tuple[tuple[Scope, str], ...]:
        """The decisions that stand before those about single topics."""
        return (Scope.ALL, ""), (Scope.BRAND, self.brand)


def choices(
    person: Person, topics: Mapping[str, Topic], people: PeopleStore, lake: Lake
) -> Choices:
    """How things stand with one person."""
    decided = [
        each
        for contact in person.known_as
        for each in people.decisions(person.address_hash, contact)
    ]
    of_all = [why for scope, key, why in decided if (scope, key) in person.everything]
    is_blocked = any(why not in THEIR_OWN for why in of_all)
    left_all = bool(of_all)
    left = {key for scope, key, _ in decided if scope is Scope.TOPIC}
    held = {key for scope, key, why in decided if scope is Scope.TOPIC and why not in THEIR_OWN}
    agreed, tracking = _agreed(person.known_as, topics, lake)
    shown = {
        key: not left_all and key not in left for key in topics if key in agreed and key not in held
    }
    withdrawn = not people.withdrawn_tracking().isdisjoint(person.known_as)
    return Choices(shown, is_blocked, (not withdrawn) if tracking else None, left_all)


def choose(
    person: Person,
    wanted: Wanted,
    now: Choices,
    people: PeopleStore,
    *,
    at: datetime,
    origin: str,
) -> list[str]:
    """Make what they want so; returns the topics they left by it. Topics that are not offered are left alone.

    What they leave is written first: at no time do they get what they do not want.
    """
    offered = set(now.topics)
    shown = offered & set(wanted.shown)
    ticked = shown & set(wanted.ticked)
    # Whoever comes back comes back to what they ticked, and to nothing else they once agreed to.
    unwanted = sorted((offered if now.left_all else shown) - ticked)
    people.suppress(
        Suppression(
            person.address_hash,
            person.contact_id,
            Scope.TOPIC,
            topic,
            Reason.UNSUBSCRIBED,
            at,
            origin,
        )
        for topic in unwanted
    )
    back = sorted(ticked)
    if back and not now.is_blocked:
        for scope, key in [*((Scope.TOPIC, topic) for topic in back), *person.everything]:
            for contact in person.known_as:
                people.come_back(person.address_hash, contact, scope=scope, scope_key=key, at=at)
    return [topic for topic in unwanted if now.topics[topic]]


def person_of(contact_id: int, address_hash: str, brand: str, lake: Lake) -> Person:
    """Somebody as a campaign knew them, and as they are known by now."""
    return Person(contact_id, address_hash, brand, survivors({contact_id}, lake))


def _agreed(
    contacts: Collection[int], topics: Mapping[str, Topic], lake: Lake
) -> tuple[set[str], bool]:
    """The topics of somebody's own newest yes, and whether they agreed to being counted."""
    consents = lake.read("core.consents").filter(pl.col("contact_id").is_in(list(contacts)))
    rows = pl.DataFrame(
        consents.select("purpose", "topic", "status", "recorded_at").collect()
    ).sort("recorded_at", pl.col("status") == "withdrawn", nulls_last=False)
    latest: dict[str, bool] = {}
    tracking = False
    for purpose, topic, status, _ in rows.rows():
        if purpose != "marketing":
            tracking = status == "granted"
        else:
            for key in topics if topic in (None, "*") else (topic,):
                latest[key] = status == "granted"
    return {key for key, is_granted in latest.items() if is_granted}, tracking
