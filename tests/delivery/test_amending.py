"""A paused send finished with another message: nobody twice, and each sees and clicks what they got."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from pipelines.campaigns.bundle import load_current
from pipelines.delivery import approval, control, sink
from pipelines.delivery.amending import amend
from pipelines.delivery.lock import CampaignLock
from pipelines.delivery.overview import sends_of, status, why
from pipelines.delivery.sender import send
from pipelines.delivery.sending import send_campaign
from pipelines.delivery.sink import STATE_FILE
from pipelines.delivery.viewing import Viewing
from pipelines.delivery.way_out import routes_of
from pipelines.delivery.workers import SendOrder
from pipelines.demo.prepare import Demo
from pipelines.errors import CampaignInvalid, LedgerRefused, SendHeld
from pipelines.reporting.campaign_report import build
from streaming.lookups import Lookups

if TYPE_CHECKING:
    from conftest import Copied

pytestmark = pytest.mark.slow
BODY, SETTINGS = "body.mjml.j2", "campaign.yaml"
OLD, NEW = "https://shop.example/winter-papers", "https://shop.example/the-right-papers"
FIRST = 40


def file_of(demo: Demo, name: str) -> Path:
    return demo.workspace.project / "assets/campaigns" / demo.campaign / name


def mend_the_message(demo: Demo) -> None:
    """Other subjects, and other links before those that stay."""
    body, settings = file_of(demo, BODY), file_of(demo, SETTINGS)
    body.write_text(body.read_text().replace(OLD, NEW))
    change(demo, variants=[{**each, "subject": "Now right"} for each in read(settings)["variants"]])


def read(path: Path) -> dict[str, list[dict[str, object]]]:
    return dict(yaml.safe_load(path.read_text()))


def change(demo: Demo, **values: object) -> None:
    path = file_of(demo, SETTINGS)
    path.write_text(yaml.safe_dump({**read(path), **values}))


def begin(demo: Demo, folder: Path) -> Demo:
    """Send to the first forty, and pause: whoever comes after them was told to come back later."""
    script = folder / "script.json"
    later = {"stage": "rcpt", "nth": FIRST + 1, "times": 9999, "reply": "450 4.2.1 later"}
    script.write_text(json.dumps([later]))
    with sink.running(demo.home, demo.settings, script=script):
        send_campaign(demo.campaign, demo.workspace)
    (demo.home.sink / STATE_FILE).unlink(missing_ok=True)
    with sqlite3.connect(demo.home.ledgers / f"{demo.campaign}.sqlite") as ledger:
        ledger.execute("update sends set next_at = 0 where state = 'deferred'")
    control.pause(demo.campaign, demo.workspace, by="Ines", why="the price is wrong")
    return demo


@pytest.fixture(scope="module")
def _begun(another: Copied, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("begun")
    return begin(another(folder / "shop"), folder)


@pytest.fixture(scope="module")
def finished(another: Copied, _begun: Demo, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Begun, amended by Tom, let go on and over. Not to be changed."""
    demo = another(tmp_path_factory.mktemp("finished") / "shop", _begun)
    mend_the_message(demo)
    amend(demo.campaign, by="Tom", workspace=demo.workspace)
    control.resume(demo.campaign, demo.workspace)
    send_campaign(demo.campaign, demo.workspace)
    return demo


@pytest.fixture
def begun(another: Copied, _begun: Demo, tmp_path: Path) -> Demo:
    return another(tmp_path / "shop", _begun)


def versions(demo: Demo) -> list[str]:
    current = load_current(demo.campaign, demo.home.approvals)
    assert current is not None
    return current.versions


def test_who_has_it_keeps_it_and_who_is_left_gets_the_new_one_each_once(finished: Demo):
    mails = [
        message_from_bytes(path.read_bytes(), policy=default)
        for path in (finished.home.sink / "new").glob("*")
    ]

    names = Counter(mail["Message-ID"] for mail in mails)
    assert set(names.values()) == {1}
    assert len(names) == sends_of(finished.campaign, finished.workspace).height
    assert Counter(mail["Subject"] == "Now right" for mail in mails)[False] == FIRST


def test_the_ledger_knows_who_got_which_version(finished: Demo):
    first, second = versions(finished)

    sends = sends_of(finished.campaign, finished.workspace)
    told = status(finished.campaign, finished.workspace)

    assert set(sends["state"]) == {"accepted"}
    assert told.bundles == {first: FIRST, second: sends.height - FIRST}


def test_why_says_whose_version_somebody_got(finished: Demo):
    first, _ = versions(finished)
    sends = sends_of(finished.campaign, finished.workspace)
    (early, *_), (late, *_) = (
        frame["contact_id"]
        for frame in (
            sends.filter(sends["bundle"] == first),
            sends.filter(sends["bundle"] != first),
        )
    )

    told = ["\n".join(why(finished.campaign, who, finished.workspace)) for who in (early, late)]

    assert "with the message that test approved on" in told[0]
    assert "after 2 attempts, reply accepted, with the message that Tom approved on" in told[1]


def test_links_of_either_version_lead_where_they_led(finished: Demo):
    first, _ = versions(finished)
    lookups = Lookups(finished.home)
    old = approval.load_current(finished.campaign, finished.home.approvals)
    before = json.loads(
        (finished.home.approvals / finished.campaign / f"{first}.json").read_text()
    )["message"]["links"]

    led = [lookups.link(finished.campaign, number) for number in range(len(before))]

    assert old is not None
    assert led == before
    assert NEW in old.message["links"][len(before) :]
    assert lookups.link(finished.campaign, old.message["links"].index(NEW)) == NEW


def test_each_sees_in_a_browser_what_they_got(finished: Demo):
    first, _ = versions(finished)
    current = load_current(finished.campaign, finished.home.approvals)
    sends = sends_of(finished.campaign, finished.workspace)
    viewing = Viewing(finished.home, "https://mail.mill.example")
    now = finished.workspace.clock.now()
    assert current is not None

    pages = {
        row["bundle"] == first: viewing.page(current, row["contact_id"], now=now) or ""
        for row in sends.iter_rows(named=True)
    }

    assert OLD in pages[True]
    assert NEW not in pages[True]
    assert NEW in pages[False]


def test_the_report_counts_both(finished: Demo):
    space = finished.workspace

    report = build(finished.campaign, lake=space.lake, home=space.home, clock=space.clock)

    assert report.states == {"accepted": report.all.people}
    assert report.funnel_problems() == []


def test_links_of_what_is_out_lead_on_when_a_later_approval_is_spoilt(begun: Demo):
    mend_the_message(begun)
    old = approval.approved(begun.campaign, begun.workspace)
    amended = amend(begun.campaign, by="Tom", workspace=begun.workspace)
    folder = begun.home.approvals / begun.campaign
    (folder / f"{amended.bundle.content_hash}.json").write_text("{")

    led = Lookups(begun.home).link(begun.campaign, 0)

    assert led == old.message["links"][0]


def test_what_the_frozen_audience_was_made_from_may_not_change(begun: Demo):
    before = versions(begun)
    mend_the_message(begun)
    variants = read(file_of(begun, SETTINGS))["variants"]
    renamed = [{**variants[0], "name": "other"}, *variants[1:]]
    change(begun, topic="offers", once_per="occurrence", hold_out=0.2, variants=renamed)

    with pytest.raises(CampaignInvalid, match="cannot be amended: 4 things") as refused:
        amend(begun.campaign, by="Tom", workspace=begun.workspace)

    assert [each.where for each in refused.value.problems] == [
        "topic",
        "hold_out",
        "once_per",
        "variants",
    ]
    assert versions(begun) == before


def test_a_message_with_problems_is_not_approved_for_the_rest_either(begun: Demo):
    file_of(begun, BODY).write_text("no MJML")

    with pytest.raises(CampaignInvalid, match="cannot be approved"):
        amend(begun.campaign, by="Tom", workspace=begun.workspace)


def test_nothing_changed_is_nothing_to_amend(begun: Demo):
    with pytest.raises(SendHeld, match="has changed since it was approved"):
        amend(begun.campaign, by="Tom", workspace=begun.workspace)


def test_a_send_that_is_not_paused_or_under_way_is_not_amended(begun: Demo):
    mend_the_message(begun)
    lock = CampaignLock(begun.home.ledgers / f"{begun.campaign}.lock")
    with pytest.raises(LedgerRefused, match="is being sent"):
        amend(begun.campaign, by="Tom", workspace=begun.workspace)
    lock.release()

    control.resume(begun.campaign, begun.workspace)
    with pytest.raises(SendHeld, match="is not paused"):
        amend(begun.campaign, by="Tom", workspace=begun.workspace)


def test_a_send_that_read_the_earlier_approval_does_not_begin(begun: Demo):
    space = begun.workspace
    read_before = approval.approved(begun.campaign, space)
    mend_the_message(begun)
    amend(begun.campaign, by="Tom", workspace=space)

    with (
        routes_of(space, read_before.brand.name) as routes,
        pytest.raises(SendHeld, match="approved anew in the meantime"),
    ):
        send(SendOrder(read_before, space, routes))


def test_before_anybody_got_it_it_is_approved_and_not_amended(demo: Demo):
    mend_the_message(demo)
    control.pause(demo.campaign, demo.workspace, by="Ines", why="the price is wrong")

    with pytest.raises(SendHeld, match="sent to nobody yet"):
        amend(demo.campaign, by="Tom", workspace=demo.workspace)


def test_after_everybody_got_it_there_is_nothing_to_amend(sent: Demo):
    mend_the_message(sent)
    control.pause(sent.campaign, sent.workspace, by="Ines", why="the price is wrong")

    with pytest.raises(SendHeld, match="nobody is left"):
        amend(sent.campaign, by="Tom", workspace=sent.workspace)


def test_approving_what_has_begun_is_refused_and_points_to_amend(begun: Demo):
    mend_the_message(begun)

    with pytest.raises(SendHeld, match="lettermill campaign amend"):
        approval.approve(begun.campaign, by="Tom", workspace=begun.workspace)
