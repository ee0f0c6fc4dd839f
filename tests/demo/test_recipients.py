"""What the simulated recipients find in a message is what a mail program would find."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import unescape
from pathlib import Path

import pytest

from pipelines.demo.recipients import behaviour, find
from pipelines.message.mime import compose

GOLDEN = Path(__file__).parents[1] / "golden" / "autumn-thanks.eml"
HEADERS = [("List-Unsubscribe", "<http://127.0.0.1:8025/u/leave>, <mailto:leave@mill.example>")]
HTML = """
<a href="http://127.0.0.1:8025/c/first/0">Læs &amp; svar</a>
<a href="http://127.0.0.1:8025/c/second/1?a=1&amp;b=2">далее</a>
<a href="https://shop.example/elsewhere">out of the demo</a>
<img src="http://127.0.0.1:8025/o/pixel" alt="">
"""


def by_the_standard_parser(raw: bytes) -> set[str]:
    """Every link and picture of the HTML part, as Python's own parser decodes it."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    html = message.get_body(("html",))
    assert html is not None
    return {unescape(url) for url in re.findall(r'(?:href|src)="([^"]+)"', html.get_content())}


@pytest.mark.parametrize("text", ["", "Привет, как дела? " * 400], ids=["quoted", "base64"])
def test_the_pixel_the_links_and_the_way_out_are_found_however_the_body_is_encoded(text: str):
    raw = compose(HEADERS, "plain", HTML + text).raw()

    found = find(raw)

    assert found.pixel == "/o/pixel"
    assert found.links == ["/c/first/0", "/c/second/1"]
    assert found.unsubscribe == "/u/leave"


def test_a_real_message_has_the_links_the_standard_parser_finds():
    raw = GOLDEN.read_bytes()
    paths = {re.sub(r"^https?://[^/]+", "", url) for url in by_the_standard_parser(raw)}

    found = find(raw)

    assert set(found.links) == {path.split("?")[0] for path in paths if path.startswith("/c/")}
    assert found.pixel in paths
    assert len(found.links) > 2


def test_the_same_address_behaves_the_same_and_who_clicks_or_leaves_has_opened():
    everybody = [behaviour(f"p{n}@shop.example", seed=7) for n in range(3_000)]

    assert everybody == [behaviour(f"p{n}@shop.example", seed=7) for n in range(3_000)]
    assert all(each.opens for each in everybody if each.clicks or each.unsubscribes)
    assert not any(each.opens or each.machine for each in everybody if each.bounces)
    assert 1_000 < sum(each.opens for each in everybody) < 1_400
