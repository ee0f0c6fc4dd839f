"""The report in its owner's mailbox: readable, with its pictures, and once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING

import dkim
import pytest

from pipelines.clock import FrozenClock
from pipelines.delivery.sink import running
from pipelines.errors import SendHeld
from pipelines.lake import Lake
from pipelines.message.dkim_keys import activate, make_key, record
from pipelines.reporting.campaign_report import CampaignReport, build
from pipelines.reporting.report_mail import Edition, edition, mail_report
from pipelines.reporting.wording import headline
from pipelines.settings import DeliveryMode, Home, Settings
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Shop

KEY = "autumn-thanks"


@pytest.fixture
def space(home: Home, lake: Lake, project: Path, clock: FrozenClock) -> Workspace:
    return Workspace(Settings(home=home.root, project=project), home, lake, project, clock)


def reported(space: Workspace) -> CampaignReport:
    return build(KEY, lake=space.lake, home=space.home, clock=space.clock)


def parsed(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def kept(home: Home) -> list[EmailMessage]:
    return [parsed(path.read_bytes()) for path in sorted((home.sink / "new").iterdir())]


@pytest.fixture
def finished(shop: Shop) -> None:
    """A campaign whose every recipient has an outcome; its fortnight of orders ended yesterday."""
    shop.fill(500, settled=True)


@pytest.mark.usefixtures("finished")
def test_the_owner_gets_the_headline_the_figures_and_every_chart(space: Workspace):
    report = reported(space)

    mailed = mail_report(report, space)

    (message,) = kept(space.home)
    assert mailed.edition is Edition.FINAL
    assert message["To"] == "marketing@mill.example"
    assert message["Subject"].startswith(f"{KEY}: {report.all.delivered} people got it")
    text = message.get_body(("plain",))
    html = message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert headline(report) in " ".join(text.get_content().split())
    pictures = {
        part["Content-ID"].strip("<>"): part.get_content()
        for part in message.walk()
        if part.get_content_type() == "image/png"
    }
    assert {
        f"{name}@report" for name in ("funnel", "variants", "hold-out", "time", "excluded")
    } == set(pictures)
    assert all(content.startswith(b"\x89PNG") for content in pictures.values())
    assert all(f"cid:{name}" in html.get_content() for name in pictures)


@pytest.mark.usefixtures("finished")
def test_a_reader_without_pictures_has_their_figures_in_words(space: Workspace):
    report = reported(space)
    mail_report(report, space)

    text = kept(space.home)[0].get_body(("plain",))

    assert text is not None
    assert f"Candidates: {report.candidates}" in text.get_content()


@pytest.mark.usefixtures("finished")
def test_a_home_with_a_key_signs_the_report_too(space: Workspace):
    key = make_key(space.home.keys, "mill.example", "s1", kind="ed25519")
    activate(space.home.keys, "mill.example", "s1")

    mailed = mail_report(reported(space), space)

    assert mailed.path is not None
    published = record(key).strip('"').encode()
    assert dkim.verify(mailed.path.read_bytes(), dnsfunc=lambda *_, **__: published)


@pytest.mark.usefixtures("finished")
def test_each_edition_is_mailed_once(space: Workspace):
    with running(space.home, space.settings):
        first = mail_report(reported(space), space)
        again = mail_report(reported(space), space)

    assert first.path is not None
    assert again.path is None
    assert again.why == "this edition was mailed before"
    assert len(kept(space.home)) == 1


@pytest.mark.usefixtures("finished")
def test_the_first_edition_comes_while_orders_still_count_and_the_final_one_after(
    space: Workspace, clock: FrozenClock
):
    earlier = replace(space, clock=FrozenClock(clock.now() - timedelta(days=5)))

    early = mail_report(reported(earlier), earlier)
    late = mail_report(reported(space), space)

    assert (early.edition, late.edition) == (Edition.FIRST, Edition.FINAL)
    names = {message["Message-ID"] for message in kept(space.home)}
    assert len(names) == 2


def test_nothing_is_mailed_while_somebody_is_still_to_be_sent(
    shop: Shop, space: Workspace, clock: FrozenClock
):
    shop.fill(500)
    earlier = replace(space, clock=FrozenClock(clock.now() - timedelta(days=5)))
    report = reported(earlier)

    mailed = mail_report(report, earlier)

    assert report.states["deferred"] > 0
    assert edition(report) is None
    assert mailed.why == "the send is not over"
    assert not list((space.home.sink / "new").glob("*"))


@pytest.mark.usefixtures("finished")
def test_an_owner_who_is_not_on_the_allowlist_gets_none(space: Workspace):
    settings = space.settings.model_copy(
        update={"delivery_mode": DeliveryMode.ALLOWLIST, "allowlist": ["@other.example"]}
    )
    guarded = replace(space, settings=settings)

    assert mail_report(reported(guarded), guarded).why == "the owner is not on the allowlist"


@pytest.mark.usefixtures("finished")
def test_live_mode_refuses_an_owner_whose_domain_stands_for_nobody(space: Workspace):
    settings = space.settings.model_copy(update={"delivery_mode": DeliveryMode.LIVE})
    live = replace(space, settings=settings)

    with pytest.raises(SendHeld, match="reserved domains"):
        mail_report(reported(live), live)
