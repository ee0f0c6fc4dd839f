"""What is left of a campaign: whether a run would find work, and what ends it."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.clock import FrozenClock
from pipelines.delivery import approval, sink
from pipelines.delivery.due import Due, due, left_to_do
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.sending import Consent, send_campaign
from pipelines.delivery.sink import STATE_FILE
from pipelines.demo.prepare import Demo
from pipelines.errors import LedgerRefused, RelayUnavailable, SendHeld
from pipelines.lake import Lake
from pipelines.workspace import Workspace, open_workspace


def states(demo: Demo) -> Counter[str]:
    return Counter(Lake(demo.home.lake).read("campaigns.sends").collect()["state"].to_list())


def at(demo: Demo, later: timedelta) -> Workspace:
    now = demo.workspace.clock.now()
    return open_workspace(demo.settings, FrozenClock(now + later))


def send_with_one_deferred(demo: Demo, folder: Path) -> None:
    script = folder / "script.json"
    script.write_text(json.dumps([{"stage": "rcpt", "nth": 3, "reply": "450 4.2.1 later"}]))
    with sink.running(demo.home, demo.settings, script=script):
        send_campaign(demo.campaign, demo.workspace, consent=Consent(late=True))
    (demo.home.sink / STATE_FILE).unlink(missing_ok=True)


def test_a_planned_campaign_is_due(demo: Demo):
    assert due(demo.workspace) == [Due(demo.campaign, start=True, why="due")]


def test_a_campaign_that_was_sent_to_everybody_is_not_started_again(sent: Demo):
    assert due(sent.workspace) == [Due(sent.campaign, start=False, why="everybody was sent to")]


def test_who_is_deferred_is_due_again_when_the_time_has_come(demo: Demo, tmp_path: Path):
    send_with_one_deferred(demo, tmp_path)
    bundle = approval.approved(demo.campaign, demo.workspace)

    now, soon = (
        left_to_do(bundle, demo.workspace),
        left_to_do(bundle, at(demo, timedelta(minutes=8))),
    )

    assert (now.now, now.deferred) == (0, 1)
    assert soon.now == 1


def test_whoever_a_relay_put_off_is_tried_again_though_the_campaign_is_overdue(
    demo: Demo, tmp_path: Path
):
    send_with_one_deferred(demo, tmp_path)
    with sqlite3.connect(demo.home.ledgers / f"{demo.campaign}.sqlite") as ledger:
        ledger.execute("update sends set next_at = 0 where state = 'deferred'")
    later = at(demo, timedelta(hours=30))

    told = due(later)
    result = send_campaign(demo.campaign, later)

    assert told == [Due(demo.campaign, start=True, why="due")]
    assert (result.sent_this_run, result.counts) == (1, {"accepted": result.audience})


def test_nobody_new_is_begun_by_itself_when_a_campaign_is_overdue(demo: Demo, tmp_path: Path):
    send_with_one_deferred(demo, tmp_path)
    with sqlite3.connect(demo.home.ledgers / f"{demo.campaign}.sqlite") as ledger:
        ledger.execute("delete from sends where recipient = 0")
    (demo.home.ledgers / f"{demo.campaign}.marks").unlink()
    later = at(demo, timedelta(hours=30))

    told = due(later)
    with pytest.raises(SendHeld, match="is overdue"):
        send_campaign(demo.campaign, later)

    assert told == [Due(demo.campaign, False, "overdue; it does not start by itself")]


def test_who_is_still_deferred_when_the_time_is_over_is_given_up_on(demo: Demo, tmp_path: Path):
    send_with_one_deferred(demo, tmp_path)
    later = at(demo, timedelta(days=4))
    messages = len(list((demo.home.sink / "new").iterdir()))

    told = due(later)
    send_campaign(demo.campaign, later)

    assert told == [Due(demo.campaign, start=True, why="overdue: who is deferred is given up on")]
    assert states(demo)["expired"] == 1
    assert len(list((demo.home.sink / "new").iterdir())) == messages
    assert [each.start for each in due(later)] == [False]


def test_who_was_claimed_and_not_begun_when_a_run_stops_is_free_and_never_given_up_on(
    demo: Demo, tmp_path: Path
):
    script = tmp_path / "script.json"
    refusal = {"stage": "mail", "nth": 9, "times": 10**6, "reply": "530 5.7.0 log in first"}
    script.write_text(json.dumps([refusal]))
    with (
        sink.running(demo.home, demo.settings, script=script),
        pytest.raises(RelayUnavailable),
    ):
        send_campaign(demo.campaign, demo.workspace)

    left = states(demo)

    assert left["claimed"] == 0
    assert left["unclaimed"] > 50
    assert left["deferred"] <= demo.settings.connections


def test_once_somebody_was_mailed_nothing_else_can_be_approved_in_its_place(sent: Demo):
    body = sent.settings.project / "assets/campaigns" / sent.campaign / "body.mjml.j2"
    body.write_text(body.read_text().replace("Warmly", "Yours"))

    with pytest.raises(SendHeld, match="already sent to some; its approval stays as it is"):
        approval.approve(sent.campaign, by="test", workspace=sent.workspace)

    assert send_campaign(sent.campaign, sent.workspace).sent_this_run == 0


def test_a_run_that_claimed_nobody_leaves_the_campaign_free_to_be_approved_anew(demo: Demo):
    Ledger(demo.home.ledgers / f"{demo.campaign}.sqlite").close()
    body = demo.settings.project / "assets/campaigns" / demo.campaign / "body.mjml.j2"
    body.write_text(body.read_text().replace("Warmly", "Yours"))
    approval.approve(demo.campaign, by="test", workspace=demo.workspace)

    approval.freeze_audience(demo.campaign, demo.workspace)
    result = send_campaign(demo.campaign, demo.workspace)

    assert result.sent_this_run == result.audience > 0


def test_a_ledger_that_is_no_database_is_named_and_nobody_is_mailed(demo: Demo):
    (demo.home.ledgers / f"{demo.campaign}.sqlite").write_text("not a database, but long enough")

    with pytest.raises(LedgerRefused, match=r"cannot be read(.|\n)*Nobody was mailed"):
        send_campaign(demo.campaign, demo.workspace)

    assert not list((demo.home.sink / "new").glob("*"))
