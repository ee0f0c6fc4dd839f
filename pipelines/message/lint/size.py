"""How many bytes of HTML one person is sent: click addresses, pixel, preheader and values in it.

Knows how fill.py writes a message, and makes none: a size needs neither headers nor a signature.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from jinja2.exceptions import TemplateError

from pipelines.message import tokens
from pipelines.message.check import SAMPLE
from pipelines.message.compiled import (
    PIXEL,
    PREHEADER,
    UNSUBSCRIBE,
    CompiledMessage,
    link_mark,
)
from pipelines.message.fill import HIDDEN, PIXEL_TAG
from pipelines.message.sandbox import fill_environment
from pipelines.message.tokens import Purpose, Token

# As long as an edge's address is; lint of an approval knows no settings.
USUAL_URL = "https://click.mail-of-the-shop.example"


def sent_bytes(compiled: CompiledMessage, public_url: str | None = None) -> int:
    """Bytes of the HTML as a sample person gets it, tracked, before transfer encoding."""
    url = (public_url or USUAL_URL).rstrip("/")
    slug = compiled.feedback_id.partition(":")[0]

    def token(purpose: Purpose) -> str:
        return tokens.sign(Token(purpose, slug, 1), b"size")

    html = compiled.html
    click = f"{url}/c/{token(Purpose.CLICK)}"
    for number in range(len(compiled.links)):
        html = html.replace(link_mark(number), f"{click}/{number}")
    pixel = PIXEL_TAG.replace("{{ _open }}", f"{url}/o/{token(Purpose.OPEN)}.gif")
    preheader = max(compiled.preheaders.values(), key=len, default="")
    html = html.replace(UNSUBSCRIBE, f"{url}/u/{token(Purpose.UNSUBSCRIBE)}")
    html = html.replace(PIXEL, pixel).replace(PREHEADER, HIDDEN.format(preheader))
    return len(_filled(html, compiled.default_fields).encode("utf-8", "replace"))


def _filled(html: str, defaults: dict[str, Any]) -> str:
    """With sample values; as it stands where these do not fit, which check.py tells."""
    try:
        template = fill_environment(autoescape=True).from_string(html)
        return template.render({**defaults, **SAMPLE, "attributes": defaultdict(str)})
    except (TemplateError, TypeError, ValueError, KeyError, ArithmeticError, RecursionError):
        return html
