"""A campaign that was sent to a few hundred made-up people, in a real lake."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.campaigns import bundle as bundles
from pipelines.campaigns.brands import load_brand
from pipelines.campaigns.bundle import Bundle
from pipelines.campaigns.campaign import Audience, Campaign, CampaignKey, Variant
from pipelines.campaigns.topics import load_topics
from pipelines.clock import FrozenClock
from pipelines.lake import Lake
from pipelines.schema import AUDIENCE, ENGAGEMENT_EVENTS, ORDERS, SENDS, SUPPRESSIONS
from pipelines.settings import Home

KEY = "autumn-thanks"
LINKS = (
    "https://shop.example/winter?utm_source=mail",
    "https://shop.example/thanks",
    "https://shop.example/journal/how-paper-is-made",
)
SUBJECTS = {
    "thanks": "{{ first_name or 'Hello' }}, thank you for this autumn",
    "winter": "The winter papers are here",
}
EXCLUDED = ("no_consent", "suppressed", "frequency_cap", "no_address")


@dataclass(frozen=True)
class Likelihoods:
    """How the made-up people behave."""

    opened: dict[str, float]
    ordered: dict[str, float]


TYPICAL = Likelihoods(
    opened={"thanks": 0.36, "winter": 0.54},
    ordered={"thanks": 0.12, "winter": 0.14, "hold_out": 0.06},
)


@dataclass
class Shop:
    """Writes the tables of one campaign, person by person, the same at every run."""

    lake: Lake
    started_at: datetime
    likelihoods: Likelihoods = TYPICAL

    def __post_init__(self) -> None:
        self.random = random.Random(7)
        self.rows: dict[str, list[dict[str, object]]] = {
            name: [] for name in ("audience", "sends", "events", "orders", "suppressions")
        }

    def fill(self, people: int, *, settled: bool = False) -> None:
        """Write everybody; `settled` leaves nobody to be tried again."""
        self.settled = settled
        for contact in range(people):
            self._person(contact)
        for table, name in (
            (AUDIENCE, "audience"),
            (SENDS, "sends"),
            (ENGAGEMENT_EVENTS, "events"),
            (ORDERS, "orders"),
            (SUPPRESSIONS, "suppressions"),
        ):
            self.lake.append(table, pl.DataFrame(self.rows[name], schema=table.schema))

    def _person(self, contact: int) -> None:
        chance = self.random.random()
        if chance < 0.12:
            reason = EXCLUDED[min(int(self.random.expovariate(1.1)), 3)]
            self._candidate(contact, "excluded", reason=reason)
        elif chance < 0.22:
            self._candidate(contact, "hold_out", reason="hold_out")
            self._orders(contact, "hold_out")
        else:
            variant = "thanks" if self.random.random() < 0.5 else "winter"
            is_tracked = self.random.random() < 0.7
            self._candidate(contact, "mail", variant=variant, is_tracked=is_tracked)
            self._orders(contact, variant)
            self._letter(contact, variant, is_tracked)

    def _candidate(self, contact: int, decision: str, **more: object) -> None:
        named = {"campaign": KEY, "contact_id": contact, "decision": decision}
        self.rows["audience"].append({**named, **more, "planned_at": self.started_at})

    def _letter(self, contact: int, variant: str, is_tracked: bool) -> None:
        chance = self.random.random()
        state = (
            "accepted"
            if chance < 0.98
            else self.random.choice(["deferred", "rejected", "in_doubt"])
        )
        if self.settled and state == "deferred":
            state = "expired"
        at = self.started_at + timedelta(seconds=len(self.rows["sends"]) // 20)
        self.rows["sends"].append(
            {
                "campaign": KEY,
                "contact_id": contact,
                "variant": variant,
                "state": state,
                "is_tracked": is_tracked,
                "claimed_at": at,
                "settled_at": at,
            }
        )
        if state != "accepted":
            return
        if self.random.random() < 0.02:
            self._event(contact, "bounce", 0.01, detail="hard 5.1.1")
            return
        if is_tracked:
            self._reading(contact, variant)
        if self.random.random() < 0.01:
            self._event(contact, "unsubscribe", 3, detail="topic")
            self.rows["suppressions"].append(
                {
                    "contact_id": contact,
                    "reason": "unsubscribed",
                    "since_at": self.started_at + timedelta(hours=3),
                }
            )

    def _reading(self, contact: int, variant: str) -> None:
        if self.random.random() < 0.25:
            self._event(contact, "open", 0.001, is_machine=True)
        if self.random.random() >= self.likelihoods.opened[variant]:
            return
        delay = self.random.expovariate(1 / 6)
        for again in range(1 + int(self.random.random() < 0.3)):
            self._event(contact, "open", delay + again)
        if self.random.random() < 0.3:
            link = min(int(self.random.expovariate(1)), len(LINKS) - 1)
            self._event(contact, "click", delay + 0.1, link=link)

    def _event(self, contact: int, kind: str, hours: float, **more: object) -> None:
        self.rows["events"].append(
            {
                "event_id": str(len(self.rows["events"])),
                "kind": kind,
                "campaign": KEY,
                "contact_id": contact,
                "occurred_at": self.started_at + timedelta(hours=hours),
                "is_machine": False,
                **more,
            }
        )

    def _orders(self, contact: int, arm: str) -> None:
        if self.random.random() >= self.likelihoods.ordered[arm]:
            return
        self.rows["orders"].append(
            {
                "order_id": f"shop:{contact}",
                "contact_id": contact,
                "ordered_at": self.started_at + timedelta(days=self.random.uniform(0, 13)),
                "amount_minor": int(self.random.lognormvariate(8, 0.6)),
                "currency": "GBP",
                "status": "completed",
            }
        )


@pytest.fixture
def approved(home: Home, project: Path, clock: FrozenClock) -> Bundle:
    """The campaign's approval in the home: two variants, a tenth held out."""
    variants = [Variant(name=name, subject=text, share=0.5) for name, text in SUBJECTS.items()]
    campaign = Campaign(
        slug=KEY,
        description="A thank-you to everybody who bought in the last month",
        owner="marketing@mill.example",
        topic="news",
        brand="mill",
        audience=Audience(include=["bought_last_30_days"]),
        variants=variants,
        hold_out=0.1,
    )
    bundle = Bundle(
        campaign=campaign,
        key=CampaignKey(KEY),
        segments={},
        message={"subjects": SUBJECTS, "links": list(LINKS)},
        topic=load_topics(project)["news"],
        brand=load_brand(project, "mill"),
        sources={},
        approved_by="ada",
        approved_at=clock.now(),
        expected_recipients=700,
        environment="development",
        home_id=home.identity().home_id,
    )
    bundles.save(bundle, home.approvals)
    return bundle


@pytest.fixture
def shop(lake: Lake, approved: Bundle, clock: FrozenClock) -> Shop:
    """A shop whose campaign began fifteen days ago; `fill` it with people."""
    return Shop(lake, clock.now() - timedelta(days=15))
