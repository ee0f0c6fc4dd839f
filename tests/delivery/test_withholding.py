"""People who leave between planning and sending, and replies that are about us and not about them."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.contacts.core import load_all
from pipelines.delivery import approval, sink
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.delivery.sending import Consent, send_campaign
from pipelines.delivery.sink import STATE_FILE
from pipelines.demo.prepare import Demo, prepare
from pipelines.errors import RelayUnavailable
from pipelines.lake import Lake
from pipelines.schema import CONSENTS

LATE = Consent(late=True)


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    """A small shop with an approved campaign and a frozen audience, not yet sent."""
    ready = prepare("shop", contacts=400, home=tmp_path / "home")
    space = ready.workspace
    load_all(space.project, space.home, space.lake, space.clock, ["shop"])
    approval.approve(ready.campaign, by="test", workspace=space)
    approval.freeze_audience(ready.campaign, space)
    return ready


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
