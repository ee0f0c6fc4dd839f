"""How many of a segment's members could be mailed, by topic, and why the others could not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.campaigns.campaign import Campaign
from pipelines.clock import FrozenClock
from pipelines.contacts.address import address_hash
from pipelines.delivery import reach as module
from pipelines.delivery.audience import Keys, People, Why, counts, on_topic, plan
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.delivery.reach import Reach, reach
from pipelines.schema import CONSENTS, CONTACTS, IDENTITIES, Table
from pipelines.settings import CHECKOUT, HomeKind, Settings, make_home
from pipelines.workspace import Workspace, open_workspace

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def workspace(root: Path) -> Workspace:
    make_home(root, kind=HomeKind.DEVELOPMENT, at=NOW)
    return open_workspace(Settings(home=root, project=CHECKOUT), FrozenClock(NOW))


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return workspace(tmp_path / "home")


def put(space: Workspace, table: Table, *rows: dict[str, Any]) -> None:
    whole = [{column: row.get(column) for column in table.columns} for row in rows]
    space.lake.append(table, pl.DataFrame(whole, schema=table.schema))


def people(space: Workspace, *addresses: str | None) -> None:
    put(
        space,
        CONTACTS,
        *(
            {"contact_id": n, "address": address, "address_normalised": address}
            for n, address in enumerate(addresses)
        ),
    )


def decided(
    contact: int, status: str = "granted", topic: str | None = "news", days: int = 0
) -> dict[str, Any]:
    return {
        "contact_id": contact,
        "purpose": "marketing",
        "topic": topic,
        "status": status,
        "recorded_at": NOW - 99 * DAY + days * DAY,
    }


def leave(
    space: Workspace,
    address: str = "",
    contact: int | None = None,
    scope: Scope = Scope.ALL,
    key: str = "",
) -> None:
    hashed = address_hash(address, space.home.key("addresses")) if address else ""
    decision = Suppression(hashed, contact, scope, key, Reason.UNSUBSCRIBED, NOW, "test")
    PeopleStore(space.home.people).suppress([decision])


def ids(count: int) -> pl.DataFrame:
    return pl.DataFrame({"contact_id": range(count)}, schema={"contact_id": pl.Int64})


def news(space: Workspace, count: int) -> Reach:
    [found] = [each for each in reach(ids(count), space) if each.topic == "news"]
    return found


def test_everybody_who_could_not_be_mailed_is_counted_under_the_first_reason(space: Workspace):
    people(
        space,
        "fine@shop.example",
        None,
        "left@shop.example",
        "silent@shop.example",
        "no@shop.example",
    )
    put(space, CONSENTS, *(decided(n) for n in (0, 1, 2, 4)), decided(4, "withdrawn", days=9))
    leave(space, "left@shop.example")

    found = news(space, 5)

    assert found == Reach(
        "news", mailable=1, no_address=1, suppressed=1, no_consent=1, withdrawn=1, looked_at=5, of=5
    )


def test_each_topic_of_the_project_has_an_answer_of_its_own(space: Workspace):
    people(space, "ada@shop.example", "bert@shop.example")
    put(
        space,
        CONSENTS,
        decided(0, topic="news"),
        decided(1, topic="offers"),
        decided(1, topic="news"),
    )
    leave(space, "bert@shop.example", scope=Scope.TOPIC, key="offers")

    found = {each.topic: (each.mailable, each.suppressed) for each in reach(ids(2), space)}

    assert found == {"news": (2, 0), "offers": (0, 1), "events": (0, 0)}


@pytest.mark.parametrize("topic", [None, "*"], ids=["unnamed", "every one"])
def test_a_decision_about_all_mail_counts_for_every_topic(space: Workspace, topic: str | None):
    people(space, "ada@shop.example")
    put(space, CONSENTS, decided(0, topic="news"), decided(0, "withdrawn", topic=topic, days=1))

    assert [each.withdrawn for each in reach(ids(1), space)] == [1, 1, 1]


def test_of_two_decisions_at_one_time_the_withdrawal_counts(space: Workspace):
    people(space, "ada@shop.example")
    put(space, CONSENTS, decided(0, "withdrawn"), decided(0, "granted"))

    assert news(space, 1).withdrawn == 1


def test_what_somebody_said_of_one_brand_alone_is_left_out(space: Workspace):
    people(space, "ada@shop.example")
    put(space, CONSENTS, decided(0))
    leave(space, "ada@shop.example", scope=Scope.BRAND, key="mill")

    assert news(space, 1).mailable == 1


def test_a_decision_goes_with_whoever_the_contact_was_merged_into(space: Workspace):
    people(space, "ada@shop.example")
    put(space, CONSENTS, decided(0))
    put(space, IDENTITIES, {"source": "merged", "external_id": "77", "contact_id": 0})
    leave(space, contact=77)

    assert news(space, 1).suppressed == 1


def test_the_versions_a_segment_was_read_at_are_read_again(space: Workspace):
    people(space, "ada@shop.example")
    put(space, CONSENTS, decided(0))
    pins = space.lake.pin(["core.contacts", "core.consents"])
    put(space, CONSENTS, decided(0, "withdrawn", days=1))

    [before, *_] = reach(ids(1), space, pins)

    assert (before.mailable, news(space, 1).mailable) == (1, 0)


def test_of_a_large_segment_the_same_part_is_looked_at_whatever_its_order(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LOOKED_AT", 20)
    people(space, *(f"p{n}@shop.example" for n in range(100)))
    put(space, CONSENTS, *(decided(n) for n in range(0, 100, 2)))

    found = news(space, 100)
    turned = reach(ids(100).reverse(), space)[0]

    assert (found.looked_at, found.of) == (20, 100)
    assert 0 < found.mailable < 20
    assert turned == found


def test_nobody_reaches_nobody(space: Workspace):
    assert news(space, 0) == Reach("news", 0, 0, 0, 0, 0, looked_at=0, of=0)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    addresses=st.lists(st.sampled_from([None, "a", "b", "c", "d"]), min_size=1, max_size=8),
    decisions=st.lists(
        st.builds(
            decided,
            contact=st.integers(0, 7),
            status=st.sampled_from(["granted", "withdrawn"]),
            topic=st.sampled_from([None, "*", "news", "offers"]),
            days=st.integers(0, 2),
        ),
        max_size=15,
    ),
    left=st.sets(st.sampled_from(["a", "b"])),
)
def test_who_could_be_mailed_is_whom_the_audience_of_a_plain_campaign_mails(
    tmp_path_factory: pytest.TempPathFactory,
    addresses: list[str | None],
    decisions: list[dict[str, Any]],
    left: set[str],
):
    space = workspace(tmp_path_factory.mktemp("reach") / "home")
    people(space, *(each and f"{each}@shop.example" for each in addresses))
    put(space, CONSENTS, *decisions)
    for each in left:
        leave(space, f"{each}@shop.example")

    found = news(space, len(addresses))

    planned = audience(space, len(addresses))
    assert found.mailable == planned.get("mail", 0) + planned.get(
        f"excluded: {Why.DUPLICATE_ADDRESS}", 0
    )
    for reason, count in {
        Why.NO_ADDRESS: found.no_address,
        Why.SUPPRESSED: found.suppressed,
        Why.NO_CONSENT: found.no_consent,
        Why.CONSENT_WITHDRAWN: found.withdrawn,
    }.items():
        assert planned.get(f"excluded: {reason}", 0) == count


def audience(space: Workspace, count: int) -> dict[str, int]:
    campaign = Campaign.model_validate({
        "slug": "plain", "owner": "owner@shop.example", "topic": "news", "brand": "mill",
        "audience": {"include": ["everybody"]}, "variants": [{"name": "a", "subject": "A"}],
    })  # fmt: skip
    store = PeopleStore(space.home.people)
    everybody = People(
        contacts=space.lake.read("core.contacts"),
        consents=on_topic(space.lake.read("core.consents"), "news"),
        suppressed=store.suppressed_hashes("news", "mill"),
        suppressed_contacts=set(),
        no_tracking=set(),
        mailed=set(),
    )
    keys = Keys(space.home.key("addresses"), space.home.key("variants"))
    return counts(plan(campaign, ids(count), everybody, keys=keys, now=NOW))
