"""People who leave between planning and sending, and replies that are about us and not about them."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from pipelines.clock import FrozenClock
from pipelines.contacts.address import address_hash
from pipelines.delivery import approval, sink
from pipelines.delivery.ledger import micros
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.delivery.sending import Consent, send_campaign
from pipelines.delivery.sink import STATE_FILE
from pipelines.delivery.withholding import ASK_SECONDS, Withholding
from pipelines.demo.prepare import Demo
from pipelines.errors import LedgerRefused, RelayUnavailable
from pipelines.lake import Lake
from pipelines.schema import CONSENTS, CONTACTS, IDENTITIES
from pipelines.settings import DeliveryMode
from pipelines.workspace import open_workspace

LATE = Consent(late=True)


def mailed(demo: Demo) -> pl.DataFrame:
    rows = Lake(demo.home.lake).read("campaigns.audience").filter(decision="mail")
    return pl.DataFrame(rows.sort("recipient").collect())


def states(demo: Demo) -> Counter[tuple[str, str | None]]:
    rows = Lake(demo.home.lake).read("campaigns.sends").select("state", "reason").collect()
    return Counter(rows.rows())


def test_whoever_was_suppressed_since_the_audience_was_planned_gets_nothing(demo: Demo):
    left = mailed(demo).row(3, named=True)
    decision = Suppression(
        address_hash=left["address_hash"],
        contact_id=left["contact_id"],
        scope=Scope.TOPIC,
        scope_key="news",
        reason=Reason.UNSUBSCRIBED,
        since_at=demo.workspace.clock.now(),
        origin="test",
    )
    PeopleStore(demo.home.people).suppress([decision])

    send_campaign(demo.campaign, demo.workspace, consent=LATE)

    assert states(demo) == {
        ("accepted", None): mailed(demo).height - 1,
        ("withheld", "suppressed_since"): 1,
    }


def test_whoever_withdrew_in_an_export_loaded_since_gets_nothing(demo: Demo):
    space, left = demo.workspace, mailed(demo).row(5, named=True)["contact_id"]
    consents = space.lake.read("core.consents")
    newest = consents.filter(pl.col("contact_id") == left, pl.col("purpose") == "marketing")
    withdrawn = newest.with_columns(
        status=pl.lit("withdrawn"),
        recorded_at=pl.col("recorded_at") + timedelta(days=3000),
        consent_id=pl.col("consent_id") + "-later",
    ).collect()
    space.lake.append(CONSENTS, withdrawn)

    send_campaign(demo.campaign, space, consent=LATE)

    assert states(demo)["withheld", "consent_withdrawn"] == 1
    assert states(demo)["accepted", None] == mailed(demo).height - 1


def test_a_relay_that_denies_relaying_stops_the_run_and_rejects_nobody(demo: Demo, tmp_path: Path):
    script = tmp_path / "script.json"
    refusal = {"stage": "rcpt", "nth": 5, "times": 10**6, "reply": "554 5.7.1 Relay access denied"}
    script.write_text(json.dumps([refusal]))

    with (
        sink.running(demo.home, demo.settings, script=script),
        pytest.raises(RelayUnavailable, match="Relay access denied"),
    ):
        send_campaign(demo.campaign, demo.workspace, consent=LATE)
    stopped = states(demo)
    (demo.home.sink / STATE_FILE).unlink(missing_ok=True)
    send_campaign(demo.campaign, demo.workspace, consent=LATE)

    assert {state for state, _ in stopped} <= {"accepted", "claimed", "deferred", "unclaimed"}
    assert {state for state, _ in states(demo)} <= {"accepted", "deferred"}


def with_address_of(demo: Demo, contact: int, address: str) -> None:
    """As if a load since had given the contact another address."""
    lake = Lake(demo.home.lake)
    changed = lake.read("core.contacts").with_columns(
        pl.when(pl.col("contact_id") == contact).then(pl.lit(address)).otherwise(name).alias(name)
        for name in ("address", "address_normalised")
    )
    lake.replace(CONTACTS, pl.DataFrame(changed.collect()))


def delivered_to(demo: Demo) -> Counter[str]:
    """Messages by recipient, as the sink noted them on top of each."""
    found: Counter[str] = Counter()
    for path in (demo.home.sink / "new").iterdir():
        found[
            path.read_text(encoding="utf-8").partition("Delivered-To: ")[2].partition("\n")[0]
        ] += 1
    return found


def test_a_contact_who_got_the_address_of_another_since_is_not_mailed_there_again(demo: Demo):
    moved, other = mailed(demo)["contact_id"].to_list()[:2]
    contacts = Lake(demo.home.lake).read("core.contacts").filter(contact_id=other).collect()
    with_address_of(demo, moved, contacts["address_normalised"].item())

    send_campaign(demo.campaign, demo.workspace, consent=LATE)

    assert set(delivered_to(demo).values()) == {1}
    assert states(demo)["withheld", "duplicate_address"] == 1
    assert sum(states(demo).values()) == mailed(demo).height


def test_a_contact_whose_new_address_is_suppressed_gets_nothing(demo: Demo):
    moved = mailed(demo)["contact_id"].to_list()[0]
    with_address_of(demo, moved, "gone@mail.example")
    gone = address_hash("gone@mail.example", demo.home.key("addresses"))
    decision = Suppression(
        address_hash=gone,
        contact_id=None,
        scope=Scope.ALL,
        scope_key="",
        reason=Reason.COMPLAINT,
        since_at=demo.workspace.clock.now(),
        origin="test",
    )
    PeopleStore(demo.home.people).suppress([decision])

    send_campaign(demo.campaign, demo.workspace, consent=LATE)

    assert "gone@mail.example" not in delivered_to(demo)
    assert states(demo)["withheld", "suppressed_since"] == 1


def test_what_was_sent_to_the_sink_is_not_gone_on_with_through_another_mode(demo: Demo):
    send_campaign(demo.campaign, demo.workspace, consent=LATE)
    changes = {
        "delivery_mode": DeliveryMode.REDIRECT, "redirect_to": "one@shop.example",
        "relay_host": "127.0.0.1", "relay_tls": "none",
    }  # fmt: skip
    with sink.running(demo.home, demo.settings) as (_, port):
        settings = demo.settings.model_copy(update={**changes, "relay_port": port})
        with pytest.raises(LedgerRefused, match="delivery"):
            send_campaign(demo.campaign, open_workspace(settings), consent=LATE)


def test_a_second_occurrence_planned_before_the_first_was_sent_mails_nobody_again(demo: Demo):
    space, second = demo.workspace, f"{demo.campaign}@two"
    approval.approve(second, by="test", workspace=space)
    approval.freeze_audience(second, space)
    first = send_campaign(demo.campaign, space, consent=LATE)

    again = send_campaign(second, space, consent=LATE)

    assert (first.sent_this_run, again.sent_this_run) == (first.audience, 0)
    assert again.counts == {"withheld": again.audience}


@pytest.mark.parametrize("state", ["in_doubt", "deferred", "claimed"])
def test_whom_another_occurrence_may_have_reached_within_the_days_is_mailed_by_none(
    sent: Demo, state: str
):
    space, second = sent.workspace, f"{sent.campaign}@two"
    file = space.project / f"assets/campaigns/{sent.campaign}/campaign.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "once_per": "30d"}))
    # Of these two the people store knows nothing: it hears of accepted mail only.
    late, long_ago = mailed(sent)["contact_id"].to_list()[:2]
    with sqlite3.connect(space.home.people) as people:
        people.execute("delete from last_mailed where contact_id in (?, ?)", (late, long_ago))
    with sqlite3.connect(space.home.ledgers / f"{sent.campaign}.sqlite") as ledger:
        days_ago = micros(space.clock.now() - timedelta(days=31))
        ledger.execute(
            "update sends set state = ? where contact_id in (?, ?)", (state, late, long_ago)
        )
        ledger.execute("update sends set claimed_at = ? where contact_id = ?", (days_ago, long_ago))

    plan = approval.draft(second, space)
    bundle = approval.approve(second, by="test", workspace=space)
    withholding = Withholding(
        bundle, PeopleStore(space.home.people), space.lake, space.clock, space.home.ledgers
    )
    rows = mailed(sent).filter(pl.col("contact_id").is_in([late, long_ago])).rows(named=True)
    told = [{**row, "planned_hash": row["address_hash"], "address": "theirs"} for row in rows]
    withholding.look(told)

    planned = plan.frame.filter(decision="mail")["contact_id"].to_list()
    assert (late in planned, long_ago in planned) == (False, True)
    assert {row["contact_id"]: withholding.reason(row) for row in told} == {
        late: "mailed_by_another_occurrence", long_ago: None,
    }  # fmt: skip


def test_a_bounce_of_the_one_address_everything_is_redirected_to_suppresses_nobody(
    demo: Demo, tmp_path: Path
):
    script = tmp_path / "script.json"
    gone = {"stage": "rcpt", "nth": 1, "times": 10**6, "reply": "550 5.1.1 No such user"}
    script.write_text(json.dumps([gone]))
    changes = {
        "delivery_mode": DeliveryMode.REDIRECT, "redirect_to": "typo@shop.example",
        "relay_host": "127.0.0.1", "relay_tls": "none",
    }  # fmt: skip

    with sink.running(demo.home, demo.settings, script=script) as (_, port):
        settings = demo.settings.model_copy(update={**changes, "relay_port": port})
        send_campaign(demo.campaign, open_workspace(settings), consent=LATE)

    assert PeopleStore(demo.home.people).export().is_empty()


class Asking:
    """A Withholding of the shop's campaign on a clock that stands still, and the store it asks."""

    def __init__(self, demo: Demo) -> None:
        self.clock = FrozenClock(demo.workspace.clock.now())
        self.people, self.lake = PeopleStore(demo.home.people), Lake(demo.home.lake)
        bundle = approval.approved(demo.campaign, demo.workspace)
        self.rows = [
            {**row, "planned_hash": row["address_hash"], "address": "somebody's"}
            for row in mailed(demo).rows(named=True)
        ]
        self.withholding = Withholding(
            bundle, PeopleStore(demo.home.people), self.lake, self.clock, demo.home.ledgers
        )

    def leaves(self, row: dict[str, Any], *, by_contact: bool = False) -> None:
        told = (
            {"address_hash": f"of {row['contact_id']}", "contact_id": row["contact_id"]}
            if by_contact
            else {"address_hash": row["address_hash"], "contact_id": None}
        )
        decision = Suppression(
            **told, scope=Scope.ALL, scope_key="", reason=Reason.COMPLAINT,
            since_at=self.clock.now(), origin="test",
        )  # fmt: skip
        self.people.suppress([decision])

    def comes_back(self, row: dict[str, Any]) -> None:
        at = self.clock.now()
        self.people.release(row["address_hash"], scope=Scope.ALL, scope_key="", at=at)

    def after_a_moment(self) -> list[int]:
        """Whom it withholds, by their place among the mailed."""
        self.clock.sleep(2 * ASK_SECONDS)
        reasons = [self.withholding.reason(row) for row in self.rows]
        assert set(reasons) <= {None, "suppressed_since"}
        return [place for place, reason in enumerate(reasons) if reason]


@pytest.fixture
def asking(demo: Demo) -> Asking:
    return Asking(demo)


@pytest.mark.parametrize("by_contact", [False, True], ids=["by address", "by contact"])
def test_decisions_before_and_after_the_look_are_both_heard_of(asking: Asking, by_contact: bool):
    asking.leaves(asking.rows[0], by_contact=by_contact)
    asking.withholding.look(asking.rows)
    before = asking.after_a_moment()
    asking.leaves(asking.rows[2], by_contact=by_contact)
    asking.leaves(asking.rows[5], by_contact=by_contact)

    assert (before, asking.after_a_moment()) == ([0], [0, 2, 5])


def test_who_leaves_comes_back_and_leaves_again_is_withheld_as_they_last_said(asking: Asking):
    asking.withholding.look(asking.rows)
    heard = []
    for act in (asking.leaves, asking.comes_back, asking.leaves):
        act(asking.rows[1])
        heard.append(asking.after_a_moment())

    assert heard == [[1], [], [1]]


@pytest.mark.parametrize("first", ["leaves", "look"])
def test_a_decision_of_a_contact_goes_with_whoever_they_were_merged_into(
    asking: Asking, first: str
):
    survivor = asking.rows[3]["contact_id"]
    chain = [(900_001, 900_002), (900_002, survivor)]
    merged = [{"source": "merged", "external_id": str(a), "contact_id": b} for a, b in chain]
    asking.lake.append(IDENTITIES, pl.DataFrame(merged))
    steps = {
        "look": lambda: asking.withholding.look(asking.rows),
        "leaves": lambda: asking.leaves({"contact_id": 900_001}, by_contact=True),
    }

    for step in sorted(steps, key=lambda name: name != first):
        steps[step]()

    assert asking.after_a_moment() == [3]


def test_a_withdrawal_is_heard_of_though_the_clock_went_back_since_the_last_merge(asking: Asking):
    space, left = asking.lake, asking.rows[4]["contact_id"]
    now = asking.clock.now().timestamp()

    def written(name: str, seconds_ago: float) -> None:
        at = now - seconds_ago
        os.utime(space.path(name) / "_delta_log", (at, at))

    written("core.identities", 10)
    written("core.consents", 100)
    asking.withholding.look(asking.rows)
    newest = space.read("core.consents").filter(
        pl.col("contact_id") == left, pl.col("purpose") == "marketing"
    )
    withdrawn = newest.with_columns(
        status=pl.lit("withdrawn"),
        recorded_at=pl.col("recorded_at") + timedelta(days=3000),
        consent_id=pl.col("consent_id") + "-later",
    )
    space.append(CONSENTS, withdrawn.collect())
    written("core.consents", 20)

    asking.clock.sleep(1)
    reasons = [asking.withholding.reason(row) for row in asking.rows]

    assert [place for place, reason in enumerate(reasons) if reason == "consent_withdrawn"] == [4]
