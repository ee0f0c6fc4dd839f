"""What is left of a campaign: whether a run would find work, and what ends it."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.campaigns.bundle import Bundle, save
from pipelines.campaigns.kinds import InDoubt
from pipelines.clock import FrozenClock
from pipelines.delivery import approval, sink
from pipelines.delivery.control import retry_failed
from pipelines.delivery.due import Due, due, hold_when_overdue, left_to_do
from pipelines.delivery.ledger import Ledger, micros
from pipelines.delivery.marks import Mark, Marks
from pipelines.delivery.sending import Consent, send_campaign
from pipelines.delivery.sink import STATE_FILE
from pipelines.demo.prepare import Demo
from pipelines.errors import LedgerRefused, RelayUnavailable, SendHeld
from pipelines.lake import Lake
from pipelines.schema import CONTACTS
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


def change(demo: Demo, statement: str, *values: object) -> None:
    with sqlite3.connect(demo.home.ledgers / f"{demo.campaign}.sqlite") as ledger:
        ledger.execute(statement, values)


def due_again(demo: Demo, now: Workspace, since: timedelta) -> None:
    """Let whoever is deferred be due again since so long."""
    since_when = micros(now.clock.now() - since)
    change(demo, "update sends set next_at = ? where state = 'deferred'", since_when)


def settings_of(demo: Demo, **changes: object) -> None:
    """Approve it with other settings, as if it had been so from the first."""
    bundle = approval.approved(demo.campaign, demo.workspace)
    amend(demo, bundle, campaign=bundle.campaign.model_copy(update=changes))


def approved_ago(demo: Demo, ago: timedelta) -> None:
    """Let its approval, and with it its time, lie so far back."""
    bundle = approval.approved(demo.campaign, demo.workspace)
    amend(demo, bundle, approved_at=bundle.approved_at - ago)


def amend(demo: Demo, bundle: Bundle, **changes: object) -> None:
    amended = bundle.model_copy(update={**changes, "amends": bundle.versions})
    save(amended, demo.home.approvals)


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
    approved_ago(demo, timedelta(hours=30))
    due_again(demo, demo.workspace, timedelta(hours=1))

    told = due(demo.workspace)
    hold_when_overdue(approval.approved(demo.campaign, demo.workspace), demo.workspace)
    result = send_campaign(demo.campaign, demo.workspace)

    assert told == [Due(demo.campaign, start=True, why="due")]
    assert (result.sent_this_run, result.counts) == (1, {"accepted": result.audience})


def test_in_a_home_that_was_restored_nobody_is_tried_again_by_itself(sent: Demo):
    change(sent, "update sends set state = 'deferred' where recipient = 0")
    Marks(sent.home.ledgers / f"{sent.campaign}.marks", 1)[0] = Mark.DEFERRED
    approved_ago(sent, timedelta(hours=30))
    due_again(sent, sent.workspace, timedelta(hours=29))

    told = due(sent.workspace)
    with pytest.raises(SendHeld, match="is overdue"):
        send_campaign(sent.campaign, sent.workspace)

    assert told == [Due(sent.campaign, False, "overdue; it does not start by itself")]
    result = send_campaign(sent.campaign, sent.workspace, consent=Consent(late=True))
    assert result.sent_this_run == 1


def test_whose_other_try_fell_into_their_night_is_tried_in_the_morning(sent: Demo):
    change(sent, "update sends set state = 'deferred' where recipient = 0")
    later = at(sent, timedelta(hours=30))
    due_again(sent, later, timedelta(hours=9))
    night = [later.clock.now() - timedelta(hours=hours) for hours in (10, 1)]
    contacts = sent.workspace.lake.read(CONTACTS.name).collect()
    sent.workspace.lake.replace(CONTACTS, contacts.with_columns(time_zone=pl.lit("UTC")))
    starts = [each.start for each in due(later)]

    settings_of(sent, quiet_hours="-".join(f"{each:%H:%M}" for each in night))

    assert (starts, [each.start for each in due(later)]) == ([False], [True])


def test_whom_a_person_lets_be_tried_again_when_it_is_overdue_waits_for_their_send(sent: Demo):
    rejected = "update sends set state = 'rejected', reply_class = 'policy' where recipient = 0"
    change(sent, rejected)
    Marks(sent.home.ledgers / f"{sent.campaign}.marks", 1)[0] = Mark.REJECTED
    approved_ago(sent, timedelta(days=40))

    assert retry_failed(sent.campaign, sent.workspace) == 1

    overdue = Due(sent.campaign, False, "overdue; it does not start by itself")
    assert due(sent.workspace) == [overdue]
    with pytest.raises(SendHeld, match="is overdue"):
        send_campaign(sent.campaign, sent.workspace)
    result = send_campaign(sent.campaign, sent.workspace, consent=Consent(late=True))
    assert result.sent_this_run == 1


def test_a_campaign_that_ends_because_its_time_is_over_asks_about_whom_is_in_doubt(sent: Demo):
    settings_of(sent, in_doubt=InDoubt.ASK)
    (sent.home.ledgers / f"{sent.campaign}.marks").unlink()
    change(sent, "update sends set state = 'deferred', next_at = 0 where recipient = 0")
    change(sent, "update sends set state = 'in_doubt' where recipient = 1")

    ended = send_campaign(sent.campaign, at(sent, timedelta(days=4)))

    assert (ended.counts["expired"], ended.counts["in_doubt"]) == (1, 1)
    assert ended.paused is not None
    assert "1 person is in doubt" in ended.paused.why


def test_by_policy_nobody_has_a_second_copy_because_a_ledger_was_accepted(sent: Demo):
    settings_of(sent, in_doubt=InDoubt.RESEND, resend_after=timedelta(hours=6))
    for path in sent.home.ledgers.glob("*.sqlite*"):
        path.unlink()
    ended = send_campaign(sent.campaign, sent.workspace, consent=Consent(ledger=True))
    change(sent, "update sends set reason = 'connection_lost' where recipient = 0")
    later = at(sent, timedelta(hours=7))

    assert ended.counts == {"in_doubt": ended.audience}
    assert left_to_do(approval.approved(sent.campaign, later), later).now == 1
    again = send_campaign(sent.campaign, later, consent=Consent(late=True))
    assert again.counts["in_doubt"] >= ended.audience - 1


def test_nobody_new_is_begun_by_itself_when_a_campaign_is_overdue(demo: Demo, tmp_path: Path):
    send_with_one_deferred(demo, tmp_path)
    change(demo, "delete from sends where recipient = 0")
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
