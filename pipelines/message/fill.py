"""Fill a compiled message for one person: string work, some 200 µs.

Knows the templates, the tokens and the headers every campaign message carries. Whether this person
may get it at all was decided in delivery.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from html import escape
from typing import Any

from jinja2 import Template
from jinja2.exceptions import TemplateError

from pipelines.errors import Refused
from pipelines.message import tokens
from pipelines.message.compiled import (
    PIXEL,
    PREHEADER,
    UNSUBSCRIBE,
    CompiledMessage,
    link_mark,
)
from pipelines.message.headers import SUBJECT_CHARACTERS, encode_text, mailbox, one_line, phrase
from pipelines.message.mime import compose
from pipelines.message.sandbox import fill_environment
from pipelines.message.tokens import Purpose, Token

# A value of 100 kB fits; a loop over one that fills the memory does not.
LARGEST = 500_000
_EMPTY_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
HIDDEN = (
    '<div style="display:none;font-size:1px;line-height:1px;max-height:0;max-width:0;opacity:0;'
    'overflow:hidden">{}</div>'
)
PIXEL_TAG = (
    '<img src="{{ _open }}" width="1" height="1" alt="" '
    'style="display:block;width:1px;height:1px;border:0">'
)


@dataclass(frozen=True)
class Recipient:
    """One person a message is filled for. `fields` are the contact's and the segment's columns."""

    contact_id: int
    address: str
    variant: str
    is_tracked: bool
    date: datetime
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Filled:
    """One person's message: `raw` is complete and ready for SMTP, with CRLF line ends."""

    raw: bytes
    subject: str
    html: str
    text: str
    message_id: str
    preheader: str


@dataclass(frozen=True)
class _Templates:
    """What one variant is filled from, for tracked or for untracked people."""

    subject: Template
    preheader: Template
    html: Template
    text: Template


class Filler:
    """Compiles a message's templates once and fills them for one person after another."""

    def __init__(
        self, compiled: CompiledMessage, *, public_url: str, campaign: str, link_key: bytes
    ) -> None:
        self._message = compiled
        self._url = public_url.rstrip("/")
        self._campaign = campaign
        self._key = link_key
        self._html = fill_environment(autoescape=True)
        self._text = fill_environment(autoescape=False)
        self._templates = {
            (variant, is_tracked): self._compile(variant, is_tracked)
            for variant in compiled.subjects
            for is_tracked in (True, False)
        }
        self._from = mailbox(compiled.sender_name, compiled.sender_address, header="From")
        list_name = phrase(compiled.list_name, "List-Id")
        self._list_id = f"{list_name} <{compiled.list_id}>".lstrip()

    def fill(self, recipient: Recipient) -> Filled:
        """The message for one person. Raises Refused when it cannot be made for them."""
        templates = self._templates.get((recipient.variant, recipient.is_tracked))
        if templates is None:
            raise Refused(f"the message has no variant '{recipient.variant}'")
        values, unsubscribe = self._values(recipient)
        subject = one_line(_rendered(templates.subject, values), SUBJECT_CHARACTERS)
        preheader = one_line(_rendered(templates.preheader, values), SUBJECT_CHARACTERS)
        html = _rendered(templates.html, {**values, "_preheader": preheader})
        # A paragraph left out leaves its empty lines behind.
        text = _EMPTY_LINES.sub("\n\n", _rendered(templates.text, values)).strip() + "\n"
        identifier = message_id(
            self._campaign, recipient.contact_id, self._key, self._message.message_id_domain
        )
        headers = self._headers(recipient, subject, identifier, unsubscribe)
        return Filled(compose(headers, text, html), subject, html, text, identifier, preheader)

    def _values(self, recipient: Recipient) -> tuple[dict[str, Any], str]:
        def token(purpose: Purpose) -> str:
            return tokens.sign(Token(purpose, self._campaign, recipient.contact_id), self._key)

        # What a contact lacks is empty, so `{{ first_name or 'there' }}` needs no further care.
        values = {
            name: "" if value is None else value
            for name, value in {**self._message.default_fields, **recipient.fields}.items()
        }
        unsubscribe = f"{self._url}/u/{token(Purpose.UNSUBSCRIBE)}"
        values["_unsubscribe"] = unsubscribe
        if recipient.is_tracked:
            values["_click"] = f"{self._url}/c/{token(Purpose.CLICK)}"
            values["_open"] = f"{self._url}/o/{token(Purpose.OPEN)}.gif"
        return values, unsubscribe

    def _headers(
        self, recipient: Recipient, subject: str, identifier: str, unsubscribe: str
    ) -> list[tuple[str, str]]:
        fields = recipient.fields
        name = f"{fields.get('first_name') or ''} {fields.get('last_name') or ''}"
        headers = [
            ("From", self._from),
            ("To", mailbox(name, recipient.address)),
            ("Subject", encode_text("Subject", subject)),
            ("Date", format_datetime(recipient.date.astimezone(UTC))),
            ("Message-ID", identifier),
            ("List-Unsubscribe", f"<{unsubscribe}>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            ("List-Id", self._list_id),
            ("Feedback-ID", self._message.feedback_id),
        ]
        if self._message.reply_to:
            headers.insert(1, ("Reply-To", self._message.reply_to))
        return headers

    def _compile(self, variant: str, is_tracked: bool) -> _Templates:
        message = self._message
        html = message.html.replace(PIXEL, PIXEL_TAG if is_tracked else "")
        html = html.replace(PREHEADER, HIDDEN.format("{{ _preheader }}"))
        return _Templates(
            subject=self._text.from_string(message.subjects[variant]),
            preheader=self._text.from_string(message.preheaders.get(variant, "")),
            html=self._html.from_string(self._linked(html, is_tracked, for_html=True)),
            text=self._text.from_string(self._linked(message.text, is_tracked, for_html=False)),
        )

    def _linked(self, body: str, is_tracked: bool, *, for_html: bool) -> str:
        for number, target in enumerate(self._message.links):
            plain = escape(target) if for_html else target
            url = f"{{{{ _click }}}}/{number}" if is_tracked else plain
            body = body.replace(link_mark(number), url)
        return body.replace(UNSUBSCRIBE, "{{ _unsubscribe }}")


def message_id(campaign: str, contact_id: int, key: bytes, domain: str) -> str:
    """The same for every attempt at this person and campaign; tells nobody who it is."""
    digest = hmac.digest(key, f"message-id\0{contact_id}\0{campaign}".encode(), "sha256")
    return f"<{digest[:16].hex()}@{domain}>"


def _rendered(template: Template, values: Mapping[str, Any]) -> str:
    try:
        rendered = template.render(values)
    except (TemplateError, TypeError, ValueError, KeyError, ArithmeticError) as error:
        # The message may quote a value of the contact's; its kind does not.
        raise Refused(f"the template fails for this contact: {type(error).__name__}") from error
    if len(rendered) > LARGEST:
        raise Refused(f"the message is longer than {LARGEST:,} characters")
    return str(rendered)
