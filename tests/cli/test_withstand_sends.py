"""Campaigns that must not go out, or not as edited: nobody is mailed, and the reason is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from email import message_from_bytes, policy
from typing import Any

import dagster as dg
import pytest

from pipelines.automation import campaign_due, campaign_folder_added
from pipelines.partitions import CAMPAIGN

SLUG = "autumn-thanks"
BODY = f"assets/campaigns/{SLUG}/body.mjml.j2"
SETTINGS = f"assets/campaigns/{SLUG}/campaign.yaml"
SEGMENT = "sql/segments/bought_last_30_days.sql"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def test_a_template_with_an_undefined_variable_is_named_by_check_and_not_approved(fresh: Any):
    fresh.edit(BODY, "{{ first_name }}", "{{ firts_name }}")

    checked = fresh.run("campaign", "check", SLUG)
    approved = fresh.run("campaign", "approve", SLUG, "--by", "ines")

    words = (f"{BODY}, line 4", "'firts_name'", "Did you mean 'first_name'?", "campaign check")
    checked.refused("CampaignInvalid", "1 problem", *words)
    approved.refused("CampaignInvalid", "1 problem", *words)
    assert not fresh.home.approvals.exists()


def test_everything_wrong_with_a_campaign_is_told_at_once_with_its_file(fresh: Any):
    fresh.edit(SETTINGS, "topic: news", "topic: newz")
    fresh.edit(SETTINGS, "time_zone: recipient\n", "")

    done = fresh.run("campaign", "check", SLUG)

    done.refused(f"{SETTINGS} has 2 problems", "'newz'", "Did you mean 'news'?", "no time_zone")


def test_a_campaign_on_a_segment_that_cannot_be_read_is_not_approved(fresh: Any):
    fresh.edit(SEGMENT, "from core.orders", "from core.oders")

    done = fresh.run("campaign", "approve", SLUG, "--by", "ines")

    done.refused("CampaignInvalid", "lettermill segment check bought_last_30_days")
    assert not fresh.home.approvals.exists()


def test_an_unreadable_campaign_is_named_and_every_other_is_listed(fresh: Any):
    fresh.write(SETTINGS, "topic: [\n")

    listed = fresh.run("campaign", "list").succeeded().out

    assert "unreadable" in listed
    assert {"cdnow-win-back", "hillstrom-recent", "online-retail-top"} <= set(listed.split())
    fresh.run("campaign", "check", SLUG).refused(f"{SETTINGS} has 1 problem", "line 2", "not YAML")


def test_a_campaign_nobody_approved_is_not_sent_and_nothing_is_written(shop: Any):
    before = shop.versions()

    done = shop.run("campaign", "send", SLUG)

    done.refused(f"SendHeld: {SLUG} is not approved", f"lettermill campaign approve {SLUG} --by")
    assert shop.versions() == before
    assert not shop.began_to_send()


@pytest.mark.slow
def test_what_was_edited_after_approval_shows_as_changed_and_only_the_approved_goes_out(
    approved: Any,
):
    approved.edit(BODY, "<h1>Thank you", "<h1>Edited later")
    approved.edit(SETTINGS, "The winter papers are here", "Edited later")
    approved.edit(SEGMENT, "status = 'completed'", "status = 'edited later'")

    status = approved.run("campaign", "status", SLUG, "--json").succeeded().json()
    shown = approved.run("campaign", "status", SLUG).succeeded().out
    sent = approved.run("campaign", "send", SLUG).succeeded()

    assert status["changed_since_approval"] == [BODY, SETTINGS, SEGMENT]
    assert [line for line in (BODY, SETTINGS, SEGMENT) if f"approval {line}" not in shown] == []
    assert "sending" in sent.err
    letters = [
        message_from_bytes(p.read_bytes(), policy=policy.default) for p in approved.letters()
    ]
    texts = [letter.get_body(("plain",)).get_content() for letter in letters]
    assert len(texts) > 50
    assert all("Thank you" in text for text in texts)
    assert not any("Edited" in letter["Subject"] for letter in letters)


def test_a_relay_that_is_down_is_named_and_nobody_is_claimed(approved: Any, nobody_listens: str):
    settings = {
        "LETTERMILL_DELIVERY_MODE": "redirect",
        "LETTERMILL_REDIRECT_TO": "ines@mill.example",
        "LETTERMILL_RELAY_PORT": nobody_listens,
    }

    done = approved.run("campaign", "send", SLUG, **settings)

    done.refused(
        "RelayUnavailable",
        f"127.0.0.1:{nobody_listens}",
        "LETTERMILL_RELAY_HOST",
        "run the send again: nobody is mailed twice",
    )
    assert "sending" not in done.err
    assert not approved.began_to_send()


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"LETTERMILL_DELIVERY_MODE": "allowlist"}, "LETTERMILL_ALLOWLIST"),
        ({"LETTERMILL_DELIVERY_MODE": "live"}, "LETTERMILL_ENVIRONMENT"),
    ],
    ids=["allowlist", "live"],
)
def test_a_mode_without_what_it_needs_mails_nobody_and_names_the_setting(
    approved: Any, settings: dict[str, str], setting: str
):
    done = approved.run("campaign", "send", SLUG, **settings)

    done.refused("SendHeld", setting, "Nobody was mailed", "lettermill doctor")
    assert not approved.began_to_send()


def test_a_home_on_a_new_machine_mails_nobody(fresh: Any):
    done = fresh.run("campaign", "send", SLUG)

    done.refused("SendHeld", "not approved in this home; nobody is mailed")
    assert not fresh.began_to_send()


@pytest.mark.parametrize("words", [[], ["--late"]], ids=["as it is", "late"])
def test_an_approval_copied_from_another_home_mails_nobody_on_a_new_machine(
    overdue: Any, fresh_beside: Any, words: list[str]
):
    shutil.copytree(overdue.home.approvals, fresh_beside.home.approvals)

    done = fresh_beside.run("campaign", "send", SLUG, *words)

    done.refused("SendHeld", "approved in another home; nobody is mailed", "campaign approve")
    assert not fresh_beside.began_to_send()


def test_a_tampered_approval_is_not_sent_and_the_other_campaigns_are_still_listed(approved: Any):
    (bundle,) = (approved.home.approvals / SLUG).glob("*.json")
    bundle.write_text(bundle.read_text().replace("Ines and everybody", "Somebody"))

    done = approved.run("campaign", "send", SLUG)
    listed = approved.run("campaign", "list").succeeded().out

    done.refused("SendHeld", "content hash differs", f"lettermill campaign approve {SLUG}")
    assert not approved.began_to_send()
    assert "cdnow-win-back" in listed


def test_the_sensor_starts_no_overdue_campaign_and_says_why(
    overdue: Any, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    for name, text in overdue.settings().items():
        monkeypatch.setenv(name, text)
    instance.add_dynamic_partitions(str(CAMPAIGN.name), [SLUG])

    result = campaign_due(dg.build_sensor_context(instance=instance))

    assert not result.run_requests
    assert result.skip_reason.skip_message == f"{SLUG}: overdue; it does not start by itself"


@pytest.mark.parametrize("is_home", [True, False], ids=["no approvals", "no home"])
def test_the_sensor_starts_nothing_on_a_new_machine(
    fresh: Any, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, is_home: bool
):
    for name, text in fresh.settings().items():
        monkeypatch.setenv(name, text)
    if not is_home:
        shutil.rmtree(fresh.home.root)

    result = campaign_due(dg.build_sensor_context(instance=instance))

    assert not result.run_requests
    assert ("lettermill init" in result.skip_reason.skip_message) is not is_home


def test_the_sensor_registers_every_readable_campaign_and_names_the_unreadable_one(
    fresh: Any, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    fresh.write(SETTINGS, "topic: [\n")
    for name, text in fresh.settings().items():
        monkeypatch.setenv(name, text)

    result = campaign_folder_added(dg.build_sensor_context(instance=instance))

    (request,) = result.dynamic_partitions_requests
    assert request.partition_keys == ["cdnow-win-back", "hillstrom-recent", "online-retail-top"]
    assert f"{SETTINGS} has 1 problem" in result.skip_reason.skip_message
    assert f"lettermill campaign check {SLUG}" in result.skip_reason.skip_message


def test_check_tells_an_unknown_topic_and_an_unknown_segment_at_once(fresh: Any):
    path = fresh.project / "assets/campaigns" / SLUG / "campaign.yaml"
    text = path.read_text()
    fresh.write(
        f"assets/campaigns/{SLUG}/campaign.yaml",
        text.replace("topic: news", "topic: nws").replace(
            "bought_last_30_days", "bought_last_30_day"
        ),
    )

    done = fresh.run("campaign", "check", SLUG)

    done.refused("CampaignInvalid", "has 2 problems", "'nws'", "'bought_last_30_day'")
