"""Whole messages, byte for byte as they were: what changes in one is seen in the change itself.

When a change is meant: python -m pytest tests/message/test_golden.py --rewrite-golden
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines.campaigns.campaign import load
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CompiledMessage
from pipelines.message.dkim import DkimKey, Signer
from pipelines.message.fill import Filler, Recipient
from pipelines.message.library import starters
from pipelines.settings import CHECKOUT

FOLDER = Path(__file__).parent.parent / "golden"
AT = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
ADA = {
    "first_name": "Ada", "last_name": "Brückner", "city": "Oslo", "locale": "en-GB", "country": "GB",
    "time_zone": "Europe/Oslo", "birth_on": date(1990, 4, 1), "attributes": {},
}  # fmt: skip
CAMPAIGNS = ["autumn-thanks", "hillstrom-recent"]
STARTERS = {each.name: each for each in starters(CHECKOUT)}


# Beside these, one in another language than its brand's first.
TRANSLATED = {"welcome-de": ("welcome", {**ADA, "locale": "de-AT"})}


def compiled(name: str) -> CompiledMessage:
    if name in CAMPAIGNS:
        return compile_message(load(CHECKOUT, name), project=CHECKOUT)
    starter = STARTERS[name]
    return compile_message(starter.campaign, project=CHECKOUT, folder=starter.folder)


def written(name: str) -> bytes:
    """Tracked, and signed with a key whose signatures are the same each time."""
    name, fields = TRANSLATED.get(name, (name, ADA))
    message = compiled(name)
    key = DkimKey(
        "mill.example", "golden", Ed25519PrivateKey.from_private_bytes(b"golden" * 5 + b"gg")
    )
    filler = Filler(
        message,
        public_url="https://edge.mill.example",
        campaign=name,
        link_key=b"k" * 32,
        signer=Signer([key]),
    )
    variant = next(iter(message.subjects))
    return filler.write(Recipient(7, "ada@shop.example", variant, True, AT, fields)).raw


@pytest.mark.parametrize("name", [*CAMPAIGNS, *STARTERS, *TRANSLATED])
def test_the_message_is_as_it_was(name: str, request: pytest.FixtureRequest):
    path = FOLDER / f"{name}.eml"
    raw = written(name)

    if request.config.getoption("--rewrite-golden"):
        path.write_bytes(raw)

    assert raw == path.read_bytes()
