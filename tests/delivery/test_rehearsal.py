"""A rehearsal does all of a send but its last dot, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pipelines.campaigns.bundle import load_current, save
from pipelines.clock import FrozenClock
from pipelines.delivery import approval, pausing
from pipelines.delivery.berths import Berths
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.delivery.rehearsal import SAMPLE, TO_THE_DOT, Rehearsal, rehearse
from pipelines.delivery.sending import send_campaign
from pipelines.demo.prepare import Demo
from pipelines.schema import AUDIENCE, LEDGER_HEADS, SENDS
from pipelines.settings import DeliveryMode
from pipelines.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from conftest import Scripted, Speaker

pytestmark = pytest.mark.slow


def at_relay(demo: Demo, server: Scripted | None = None) -> Workspace:
    """The shop's workspace, its mail redirected to this server, or to where none is."""
    relay = {"host": "127.0.0.1", "port": server.port if server else 9, "tls": "none"}
    path = demo.workspace.project / "assets/delivery.yaml"
    path.write_text(yaml.safe_dump({"rate": 10, "relays": {"main": relay}}))
    changes = {"delivery_mode": DeliveryMode.REDIRECT, "redirect_to": "qa@mill.example"}
    return open_workspace(demo.settings.model_copy(update=changes))


def against(speaking: Speaker, demo: Demo, then: Callable[[Workspace], Any], **replies: Any) -> Any:
    """What comes of it, and the server that was spoken to."""

    async def both() -> Any:
        async with speaking(**replies) as server:
            return await asyncio.to_thread(then, at_relay(demo, server)), server

    return asyncio.run(both())


def kept(demo: Demo) -> list[object]:
    """What a send would have changed."""
    lake, home = demo.workspace.lake, demo.home
    versions = [lake.version(table.name) for table in (AUDIENCE, SENDS, LEDGER_HEADS)]
    people = PeopleStore(home.people).export().rows()
    return [*versions, people, sorted(home.ledgers.iterdir()), sorted(home.root.iterdir())]


def test_the_relay_hears_everything_but_the_end_and_a_send_mails_everybody_once_afterwards(
    demo: Demo, speaking: Speaker
):
    before = kept(demo)
    mailed = len(approval.frozen(demo.campaign, demo.workspace).filter(decision="mail"))

    found, server = against(speaking, demo, lambda space: rehearse(demo.campaign, space))

    assert server.bodies == []
    assert server.counts["dot"] == 0
    assert len(server.unended) == SAMPLE
    letter = message_from_bytes(server.unended[0])
    assert letter["Message-ID"]
    assert len(server.unended[0]) > found.median_bytes * 0.9
    assert kept(demo) == before
    assert found.is_fine
    assert found.outcomes == {"written": mailed}
    assert found.said == {TO_THE_DOT: SAMPLE}
    assert 0 < found.median_bytes <= found.largest_bytes
    assert found.duration == timedelta(seconds=mailed / 10)

    sent, server = against(speaking, demo, lambda space: send_campaign(demo.campaign, space))
    names = [message_from_bytes(body)["Message-ID"] for body in server.bodies]
    assert sent.counts == {"accepted": mailed}
    assert len(set(names)) == len(names) == mailed


def test_what_the_relay_refuses_is_told_by_its_meaning(demo: Demo, speaking: Speaker):
    found, server = against(
        speaking, demo, lambda space: rehearse(demo.campaign, space), rcpt=b"550 5.7.1 no relaying"
    )

    ((said, count),) = found.said.items()
    assert count == SAMPLE
    assert "at rcpt" in said
    assert not found.is_fine
    assert server.unended == []


def test_a_relay_whose_connections_are_all_in_use_hears_of_no_rehearsal(
    demo: Demo, speaking: Speaker
):
    held = Berths(demo.home.berths, "relay main", 1)
    held.take()

    def rehearsed(space: Workspace) -> Rehearsal:
        path = space.project / "assets/delivery.yaml"
        path.write_text(path.read_text().replace("tls: none", "tls: none\n    connections: 1"))
        return rehearse(demo.campaign, replace(space, clock=FrozenClock(space.clock.now())))

    found, server = against(speaking, demo, rehearsed)
    held.close()

    assert "has all its 1 connections in use" in str(found.held)
    assert server.counts["connect"] == 0


def suppress(demo: Demo, contact: dict[str, Any]) -> None:
    now = demo.workspace.clock.now()
    who = contact["address_hash"], contact["contact_id"]
    PeopleStore(demo.home.people).suppress(
        [Suppression(*who, Scope.ALL, "", Reason.UNSUBSCRIBED, now, "test")]
    )


def test_whoever_would_get_nothing_is_counted_with_the_reason(demo: Demo):
    audience = approval.frozen(demo.campaign, demo.workspace)
    suppress(demo, audience.filter(decision="mail").row(0, named=True))

    found = rehearse(demo.campaign, demo.workspace)

    assert found.outcomes["suppressed_since"] == 1
    assert found.outcomes.total() == found.audience


def test_a_part_is_rehearsed_when_a_part_is_asked_for(demo: Demo):
    found = rehearse(demo.campaign, demo.workspace, limit=3)

    assert found.outcomes == {"written": 3}
    assert found.said == {TO_THE_DOT: 3}


def test_what_would_hold_the_send_is_told_all_at_once(demo: Demo):
    space = at_relay(demo)
    now = space.clock.now()
    later = open_workspace(space.settings, FrozenClock(now + timedelta(days=2)))
    pausing.pause(demo.home.ledgers, demo.campaign, by="Ines", why="the price is wrong", at=now)
    bundle = load_current(demo.campaign, demo.home.approvals)
    assert bundle is not None
    save(bundle.model_copy(update={"expected_recipients": 10}), demo.home.approvals)

    found = rehearse(demo.campaign, later)

    assert [each.where for each in found.held] == [
        "Ines",
        "send_at",
        "audience",
        "LETTERMILL_RELAY_HOST, LETTERMILL_RELAY_PORT",
    ]
    assert found.outcomes["written"] == found.audience
    assert not found.is_fine


def test_an_audience_that_is_not_frozen_yet_is_planned_for_the_rehearsal_only(demo: Demo):
    path = demo.workspace.project / f"assets/campaigns/{demo.campaign}/campaign.yaml"
    values = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**values, "description": "Another one"}))
    approval.approve(demo.campaign, by="test", workspace=demo.workspace)
    before = kept(demo)

    found = rehearse(demo.campaign, demo.workspace)

    assert found.is_fine
    assert found.outcomes == {"written": found.audience}
    assert kept(demo) == before


def test_who_got_it_already_is_not_rehearsed_again(sent: Demo):
    found: Rehearsal = rehearse(sent.campaign, sent.workspace)

    assert found.done == {"accepted": found.audience}
    assert found.outcomes == {}
    assert found.duration is None
