"""One recipient's letter: whom it names, and to whom it goes."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.campaigns.bundle import load_current
from pipelines.delivery.letters import Letter, Letters
from pipelines.demo.prepare import Demo
from pipelines.message.compiled import CONTACT_FIELDS
from pipelines.settings import DeliveryMode


@pytest.mark.parametrize(
    ("mode", "target", "named"),
    [
        (DeliveryMode.SINK, "ädä@shop.example", "ädä@shop.example"),
        (DeliveryMode.REDIRECT, "qa@mill.example", "qa@mill.example"),
    ],
)
def test_a_header_beyond_ascii_goes_only_with_an_envelope_that_says_so(
    demo: Demo, mode: DeliveryMode, target: str, named: str
):
    bundle = load_current(demo.campaign, demo.home.approvals)
    assert bundle is not None
    changes = {"delivery_mode": mode, "redirect_to": "qa@mill.example"}
    settings = demo.settings.model_copy(update=changes)
    row: dict[str, Any] = dict.fromkeys(("attributes", "fields", *CONTACT_FIELDS))
    variant = bundle.campaign.variants[0].name
    row |= {"address": "ädä@shop.example", "contact_id": 1, "variant": variant, "is_tracked": True}

    letter = Letters(bundle, settings, demo.home, demo.workspace.clock).write(row)

    assert isinstance(letter, Letter)
    assert letter.target == target
    assert f"To: {named}\r\n".encode() in letter.raw
    assert letter.raw.isascii() == named.isascii()
