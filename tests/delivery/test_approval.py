"""What was approved is what is sent, to whom it was approved for, and to nobody else."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from pathlib import Path

import polars as pl
import pytest

from pipelines.campaigns.bundle import save
from pipelines.campaigns.sources import changed_since
from pipelines.delivery import approval
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.delivery.sending import send_campaign
from pipelines.demo.prepare import Demo
from pipelines.errors import CampaignInvalid, SendHeld
from pipelines.schema import AUDIENCE

pytestmark = pytest.mark.slow
BODY, SETTINGS = "body.mjml.j2", "campaign.yaml"


def file_of(demo: Demo, name: str) -> Path:
    return demo.workspace.project / "assets/campaigns" / demo.campaign / name


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def received(demo: Demo) -> list[Path]:
    return sorted((demo.home.sink / "new").glob("*"))


def subjects(demo: Demo) -> set[str]:
    mails = (message_from_bytes(path.read_bytes(), policy=default) for path in received(demo))
    return {str(mail["Subject"]) for mail in mails}


def audience(demo: Demo) -> pl.DataFrame:
    return demo.workspace.lake.read(AUDIENCE.name).filter(campaign=demo.campaign).collect()


def suppress(demo: Demo, part: float) -> None:
    """Part of those who would be mailed unsubscribe."""
    mailed = audience(demo).filter(decision="mail")
    leaving = mailed.head(int(mailed.height * part)).select("address_hash", "contact_id").rows()
    PeopleStore(demo.home.people).suppress(
        Suppression(address_hash, who, Scope.ALL, "", Reason.UNSUBSCRIBED, demo.workspace.clock.now(), "test")
        for address_hash, who in leaving
    )  # fmt: skip


def test_a_campaign_nobody_approved_is_held(demo: Demo):
    with pytest.raises(SendHeld, match="is not approved in this home; nobody is mailed"):
        send_campaign("cdnow-win-back", demo.workspace)


def test_an_audience_is_not_frozen_before_approval(demo: Demo):
    with pytest.raises(SendHeld, match="is not approved in this home"):
        approval.freeze_audience("cdnow-win-back", demo.workspace)


def test_an_approval_says_who_gave_it_and_for_how_many(demo: Demo):
    bundle = approval.approved(demo.campaign, demo.workspace)

    mailed = audience(demo).filter(decision="mail").height
    assert (bundle.approved_by, bundle.expected_recipients) == ("test", mailed)


def test_what_is_edited_after_approval_is_told_and_not_sent(demo: Demo):
    edit(file_of(demo, SETTINGS), "The winter papers are here", "An unapproved subject")
    file_of(demo, BODY).write_text("no MJML")
    bundle = approval.approved(demo.campaign, demo.workspace)

    result = send_campaign(demo.campaign, demo.workspace)

    assert result.counts == {"accepted": len(received(demo))}
    assert "The winter papers are here" in subjects(demo)
    assert "An unapproved subject" not in subjects(demo)
    assert changed_since(bundle, demo.workspace.project) == [
        f"assets/campaigns/{demo.campaign}/{name}" for name in (BODY, SETTINGS)
    ]


def test_a_folder_with_problems_is_not_approved_and_every_one_is_named(demo: Demo):
    edit(file_of(demo, SETTINGS), "bought_last_30_days", "bought_last_30_day")
    file_of(demo, BODY).write_text("no MJML")

    with pytest.raises(CampaignInvalid) as refused:
        approval.approve(demo.campaign, by="test", workspace=demo.workspace)

    assert "Did you mean 'bought_last_30_days'?" in str(refused.value)
    assert "'no MJML' stands outside of <mjml>" in str(refused.value)


def test_an_approval_that_today_s_rules_refuse_is_held_before_anybody_is_claimed(demo: Demo):
    bundle = approval.approved(demo.campaign, demo.workspace)
    message = {**bundle.message, "text": "{% set _unsubscribe = 'x' %}"}
    save(bundle.model_copy(update={"message": message}), demo.home.approvals)
    approval.freeze_audience(demo.campaign, demo.workspace)

    with pytest.raises(SendHeld, match="is held") as held:
        send_campaign(demo.campaign, demo.workspace)

    assert "cannot be filled any more: TemplateSyntaxError" in str(held.value)
    assert not list(demo.home.ledgers.glob("*.sqlite"))


def test_an_audience_planned_under_an_earlier_approval_is_held(demo: Demo):
    edit(file_of(demo, SETTINGS), "The winter papers are here", "The winter papers are in")
    approval.approve(demo.campaign, by="test", workspace=demo.workspace)

    with pytest.raises(SendHeld, match="was planned under an earlier approval"):
        send_campaign(demo.campaign, demo.workspace)

    assert received(demo) == []


@pytest.mark.parametrize("to_mail", [80, 100, 120])
def test_an_audience_about_as_large_as_approved_is_sent(demo: Demo, to_mail: int):
    bundle = approval.approved(demo.campaign, demo.workspace)

    approval.expected(bundle.model_copy(update={"expected_recipients": 100}), to_mail)


@pytest.mark.parametrize("to_mail", [0, 79, 121, 1_000])
def test_an_audience_far_from_what_was_approved_is_held_with_both_numbers(demo: Demo, to_mail: int):
    bundle = approval.approved(demo.campaign, demo.workspace)

    with pytest.raises(SendHeld, match=f"100 recipients were approved, now there are {to_mail:,}"):
        approval.expected(bundle.model_copy(update={"expected_recipients": 100}), to_mail)


def test_a_send_whose_audience_shrank_by_a_third_mails_nobody(demo: Demo):
    suppress(demo, part=1 / 3)
    approval.freeze_audience(demo.campaign, demo.workspace)

    with pytest.raises(SendHeld, match="recipients were approved, now there are"):
        send_campaign(demo.campaign, demo.workspace)

    assert received(demo) == []


def test_before_a_send_has_begun_the_audience_follows_the_data(demo: Demo):
    suppress(demo, part=1 / 3)
    before = audience(demo).filter(decision="mail").height

    plan = approval.freeze_audience(demo.campaign, demo.workspace)

    assert not plan.was_kept
    assert plan.counts["excluded: suppressed"] == before - plan.to_mail > 0


def test_once_a_send_has_begun_the_audience_stays_as_it_was(sent: Demo):
    before = audience(sent)
    suppress(sent, part=1 / 3)

    plan = approval.freeze_audience(sent.campaign, sent.workspace)

    assert plan.was_kept
    assert audience(sent).equals(before)


def test_an_audience_stays_as_it_was_even_when_the_ledger_is_lost(sent: Demo):
    before = audience(sent)
    suppress(sent, part=1 / 3)
    for path in sent.home.ledgers.glob("*.sqlite*"):
        path.unlink()

    assert approval.freeze_audience(sent.campaign, sent.workspace).was_kept
    assert audience(sent).equals(before)


def test_a_draft_of_the_audience_writes_nothing(demo: Demo):
    before = demo.workspace.lake.version(AUDIENCE.name)

    plan = approval.draft(demo.campaign, demo.workspace)

    assert plan.to_mail == audience(demo).filter(decision="mail").height
    assert demo.workspace.lake.version(AUDIENCE.name) == before
