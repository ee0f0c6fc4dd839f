"""A home with a key signs every message it sends."""

from __future__ import annotations

import dkim

from pipelines.delivery.sending import send_campaign
from pipelines.demo.prepare import Demo
from pipelines.message.dkim_keys import activate, make_key, record

DOMAIN = "mill.example"


def test_every_message_of_a_send_carries_a_signature_that_holds(demo: Demo):
    key = make_key(demo.home.keys, DOMAIN, "s1", kind="ed25519")
    activate(demo.home.keys, DOMAIN, "s1")

    send_campaign(demo.campaign, demo.workspace)

    published = record(key).strip('"').encode()
    messages = [path.read_bytes() for path in (demo.home.sink / "new").iterdir()]
    held = [dkim.verify(raw, dnsfunc=lambda *_, **__: published) for raw in messages]
    assert len(held) > 10
    assert all(held)
