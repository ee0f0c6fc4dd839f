from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from pipelines.campaigns import bundle, topics
from pipelines.campaigns.brands import load_brand
from pipelines.campaigns.campaign import Audience, Campaign, CampaignKey, Variant
from pipelines.clock import FrozenClock
from pipelines.delivery.people import PeopleStore
from pipelines.lake import Lake
from pipelines.message.tokens import Purpose, Token, sign
from pipelines.schema import AUDIENCE
from pipelines.settings import Home
from streaming.edge import make_app
from streaming.log import read

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
SHOP = "https://shop.example/spring?from=mail&x=1"


@dataclass(frozen=True)
class Campaigning:
    """A home with one approved campaign whose audience is known."""

    home: Home
    people: PeopleStore

    def url(self, purpose: Purpose, contact_id: int = 1) -> str:
        folder = {Purpose.OPEN: "o", Purpose.CLICK: "c", Purpose.UNSUBSCRIBE: "u"}[purpose]
        token = sign(Token(purpose, "spring", contact_id), self.home.key("links"))
        return f"/{folder}/{token}"

    def logged(self, partition: str = "edge") -> list[dict[str, object]]:
        records = read(self.home.event_log / partition, 0)
        return [json.loads(record.payload or b"{}") for record in records]


def spring(project: Path) -> bundle.Bundle:
    campaign = Campaign(
        slug="spring",
        owner="owner@shop.example",
        topic="offers",
        brand="mill",
        audience=Audience(include=["everybody"]),
        variants=[Variant(name="a", subject="Spring", share=1.0)],
    )
    return bundle.Bundle(
        campaign=campaign,
        key=CampaignKey("spring"),
        segments={},
        message={"links": [SHOP, "javascript:alert(1)"]},
        topic=topics.load_topics(project)["offers"],
        brand=load_brand(project, "mill"),
        sources={},
        approved_by="owner",
        approved_at=NOON,
        expected_recipients=2,
        environment="development",
        home_id="a-home",
    )


@pytest.fixture
def campaigning(home: Home, lake: Lake, project: Path) -> Campaigning:
    bundle.save(spring(project), home.approvals)
    rows = [
        {
            "campaign": "spring",
            "contact_id": contact,
            "decision": "mail",
            "address_hash": f"hash-{contact}",
        }
        for contact in (1, 2)
    ]
    lake.append(AUDIENCE, pl.DataFrame(rows, schema=AUDIENCE.schema))
    return Campaigning(home, PeopleStore(home.people))


@pytest.fixture
def browser(campaigning: Campaigning, clock: FrozenClock) -> Iterator[TestClient]:
    app = make_app(campaigning.home, clock)
    with TestClient(app, follow_redirects=False) as client:
        yield client
