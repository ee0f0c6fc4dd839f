"""A test message: real as far as the inbox, and nowhere in the numbers."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest

from pipelines.contacts.address import address_hash, normalise
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.delivery.trial import send_trial
from pipelines.demo.prepare import Demo
from pipelines.errors import SendHeld

TO = "ines@mill.example"


def arrived(demo: Demo) -> list[EmailMessage]:
    policy = email.policy.default
    found = [path.read_bytes() for path in sorted((demo.home.sink / "new").iterdir())]
    return [email.message_from_bytes(raw, policy=policy) for raw in found]  # type: ignore[misc]


def test_each_variant_arrives_marked_at_the_address_that_was_named(demo: Demo):
    before = demo.workspace.lake.pin(demo.workspace.lake.names())

    trials = send_trial(demo.campaign, TO, demo.workspace)

    messages = arrived(demo)
    assert [each.target for each in trials] == [TO] * len(messages)
    assert len(messages) == len({str(each["Subject"]) for each in messages}) > 1
    assert all(str(each["Subject"]).startswith("[Test] ") for each in messages)
    assert all(str(each["To"]).endswith(f"<{TO}>") for each in messages)
    assert demo.workspace.lake.pin(demo.workspace.lake.names()) == before


def test_it_tracks_nobody_and_its_links_lead_where_they_say(demo: Demo):
    send_trial(demo.campaign, TO, demo.workspace)

    html = arrived(demo)[0].get_body(("html",)).get_content()  # type: ignore[union-attr]
    assert "/o/" not in html
    assert "/c/" not in html
    assert "https://shop.example/" in html


def test_it_carries_the_values_of_the_contact_that_is_named(demo: Demo):
    contacts = demo.workspace.lake.read("core.contacts").collect()
    chosen = contacts.filter(contacts["first_name"].is_not_null()).row(7, named=True)

    [first, *_] = send_trial(demo.campaign, TO, demo.workspace, contact=chosen["contact_id"])

    assert first.contact_id == chosen["contact_id"]
    assert any(chosen["first_name"] in str(each["Subject"]) for each in arrived(demo))


def test_whoever_is_suppressed_gets_no_test_either(demo: Demo):
    hashed = address_hash(normalise(TO), demo.home.key("addresses"))
    at = demo.workspace.clock.now()
    decision = Suppression(hashed, None, Scope.ALL, "", Reason.COMPLAINT, at, "test")
    PeopleStore(demo.home.people).suppress([decision])

    with pytest.raises(SendHeld, match="has left, bounced or complained"):
        send_trial(demo.campaign, TO, demo.workspace)

    assert not (demo.home.sink / "new").exists() or arrived(demo) == []


@pytest.mark.parametrize(
    ("to", "contact", "told"),
    [("nobody", None, "no test can be sent there"), (TO, 10**9, "there is no contact 1000000000")],
)
def test_what_cannot_be_sent_is_told(demo: Demo, to: str, contact: int | None, told: str):
    with pytest.raises(SendHeld, match=told):
        send_trial(demo.campaign, to, demo.workspace, contact=contact)
