from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engagement.classify import GMAIL_PREFETCH, classify
from pipelines.engagement.events import Hit, Kind, event_id, network_of, parse
from pipelines.engagement.rollup import engagement
from pipelines.schema import ENGAGEMENT, ENGAGEMENT_EVENTS, SENDS

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def hit(**changes: object) -> Hit:
    values = {"kind": "open", "at": NOON, "campaign": "spring", "contact_id": 1, "mark": "m"}
    return Hit.model_validate(values | changes)


def test_the_same_hit_is_the_same_event_wherever_it_is_read() -> None:
    once = parse(hit().to_bytes(), partition="edge", offset=0)
    again = parse(hit().to_bytes(), partition="mailbox", offset=99)

    assert once is not None
    assert again is not None
    assert once.event_id == again.event_id


def test_an_unsubscribe_said_later_again_is_the_same_event() -> None:
    first = hit(kind=Kind.UNSUBSCRIBE, mark="topic")
    later = hit(kind=Kind.UNSUBSCRIBE, mark="topic", at=NOON + timedelta(days=1))

    assert event_id(first) == event_id(later)
    assert event_id(first) != event_id(hit(kind=Kind.UNSUBSCRIBE, mark="all"))


@given(st.binary(max_size=300))
def test_what_is_no_hit_is_no_event(payload: bytes) -> None:
    assert parse(payload, partition="edge", offset=0) is None


@pytest.mark.parametrize(
    ("agent", "method", "rule"),
    [
        ("Mozilla/5.0", "GET", "apple_mail_privacy"),
        (f"Mozilla/5.0 (Windows NT 10.0) {GMAIL_PREFETCH}", "GET", "gmail_prefetch"),
        ("Googlebot/2.1", "GET", "known_crawler"),
        (FIREFOX, "HEAD", "head_request"),
        ("", "GET", "no_user_agent"),
        (None, "GET", "no_user_agent"),
    ],
)
def test_a_machine_is_told_by_a_named_rule(agent: str | None, method: str, rule: str) -> None:
    verdict = classify("open", user_agent=agent, method=method)

    assert (verdict.is_machine, verdict.rule) == (True, rule)


def test_a_person_is_not_taken_for_a_machine() -> None:
    assert not classify("open", user_agent=FIREFOX).is_machine
    assert not classify("open", user_agent="Firefox (via ggpht.com GoogleImageProxy)").is_machine
    assert not classify("unsubscribe", user_agent="Mozilla/5.0").is_machine


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("testclient", None),
        (None, None),
    ],
)
def test_only_the_network_of_an_address_is_kept(host: str | None, network: str | None) -> None:
    assert network_of(host) == network


def test_the_rollup_counts_people_within_their_windows() -> None:
    events = pl.DataFrame(
        [
            {"contact_id": 1, "kind": "open", "occurred_at": NOON, "is_machine": False},
            {"contact_id": 1, "kind": "open", "occurred_at": NOON, "is_machine": True},
            {"contact_id": 1, "kind": "click", "occurred_at": NOON - timedelta(days=91),
             "is_machine": False},
            {"contact_id": 2, "kind": "open", "occurred_at": NOON + timedelta(days=1),
             "is_machine": False},
        ],
        schema=ENGAGEMENT_EVENTS.schema,
    )  # fmt: skip
    sends = pl.DataFrame(
        [
            {"contact_id": 1, "state": "accepted", "settled_at": NOON, "is_tracked": True},
            {"contact_id": 3, "state": "accepted", "settled_at": NOON, "is_tracked": False},
            {"contact_id": 4, "state": "rejected", "settled_at": NOON, "is_tracked": True},
        ],
        schema=SENDS.schema,
    )

    rows = engagement(events.lazy(), sends.lazy(), as_of=NOON)

    assert rows.schema == ENGAGEMENT.schema
    assert rows["contact_id"].to_list() == [1, 3]
    one, three = rows.to_dicts()
    assert (one["opened_90_days"], one["clicked_90_days"], one["sent_90_days"]) == (1, 0, 1)
    assert one["last_clicked_at"] == NOON - timedelta(days=91)
    assert three["last_tracked_sent_at"] is None
    assert (three["sent_90_days"], three["opened_90_days"]) == (1, 0)
