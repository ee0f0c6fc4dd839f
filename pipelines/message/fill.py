"""Fill a compiled message for one person: string work, some 130 µs.

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
from functools import lru_cache
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
from pipelines.message.dkim import Signer
from pipelines.message.headers import SUBJECT_CHARACTERS, encode_text, mailbox, one_line, phrase
from pipelines.message.mime import composed, quoted_part, text_part
from pipelines.message.quoted import as_quoted, quotable, quoted_template
from pipelines.message.sandbox import fill_environment
from pipelines.message.tokens import Purpose, Token

# A value of 100 kB fits; a loop over one that fills the memory does not.
LARGEST = 500_000
_EMPTY_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
_EMPTY_QUOTED = re.compile(r"\r\n\r\n\r\n(?:\r\n)*")
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
# What a template can do wrong for one contact; the others get theirs.
STOPPED = (
    TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError,
    MemoryError,
)  # fmt: skip
# Values that are ours, come in many times, and need no escaping.
OURS = ("_click", "_open", "_unsubscribe")
SAMPLE_DATE = datetime(2026, 1, 1, tzinfo=UTC)
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


def made_up(variant: str, fields: Mapping[str, Any], *, is_tracked: bool = False) -> Recipient:
    """Nobody, for samples: an address that no mail reaches, and these fields."""
    return Recipient(1, "ada@shop.example", variant, is_tracked, SAMPLE_DATE, fields)


@dataclass(frozen=True)
class Written:
    """One person's message: `raw` is complete and ready for SMTP, with CRLF line ends."""

    raw: bytes
    message_id: str


@dataclass(frozen=True)
class Filled(Written):
    """The same with what a mail program shows of it."""

    subject: str
    html: str
    text: str
    preheader: str


@dataclass(frozen=True)
class _Templates:
    """What one variant is filled from, for tracked or for untracked people.

    quoted_html, quoted_text  render quoted-printable; None where base64 or a captured text forbids it
    """

    subject: Template
    preheader: Template
    html: Template
    text: Template
    quoted_html: Template | None
    quoted_text: Template | None


class Filler:
    """Compiles a message's templates once and fills them for one person after another."""

    def __init__(
        self,
        compiled: CompiledMessage,
        *,
        public_url: str,
        campaign: str,
        link_key: bytes,
        signer: Signer | None = None,
    ) -> None:
        self._message, self._signer = compiled, signer
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

    def write(self, recipient: Recipient) -> Written:
        """The message for one person. Raises Refused when it cannot be made for them."""
        templates = self._of(recipient)
        values, unsubscribe = self._values(recipient)
        subject = one_line(_rendered(templates.subject, values), SUBJECT_CHARACTERS)
        values["_preheader"] = one_line(_rendered(templates.preheader, values), SUBJECT_CHARACTERS)
        parts = self._parts(templates, values)
        identifier = message_id(
            self._campaign, recipient.contact_id, self._key, self._message.message_id_domain
        )
        headers = self._headers(recipient, subject, identifier, unsubscribe)
        message = composed(headers, *parts)
        raw = self._signer.signed(message, recipient.date) if self._signer else message.raw()
        return Written(raw, identifier)

    def fill(self, recipient: Recipient) -> Filled:
        """The same, and what is in it as text: for those who look at it before it is sent."""
        written = self.write(recipient)
        templates, (values, _) = self._of(recipient), self._values(recipient)
        subject = one_line(_rendered(templates.subject, values), SUBJECT_CHARACTERS)
        preheader = one_line(_rendered(templates.preheader, values), SUBJECT_CHARACTERS)
        values["_preheader"] = preheader
        html = _rendered(templates.html, values)
        text = _closed_up(_rendered(templates.text, values))
        return Filled(written.raw, written.message_id, subject, html, text, preheader)

    def _of(self, recipient: Recipient) -> _Templates:
        templates = self._templates.get((recipient.variant, recipient.is_tracked))
        if templates is None:
            raise Refused(f"the message has no variant '{recipient.variant}'")
        return templates

    def _parts(self, templates: _Templates, values: Mapping[str, Any]) -> tuple[bytes, bytes]:
        quoted = {**values, **{name: as_quoted(values[name]) for name in OURS if name in values}}
        if templates.quoted_text:
            rendered = _rendered(templates.quoted_text, quoted)
            rendered = _EMPTY_QUOTED.sub(_two_line_ends, rendered)
            text = quoted_part("plain", rendered.lstrip("\r\n"))
        else:
            text = text_part("plain", _closed_up(_rendered(templates.text, values)))
        if templates.quoted_html:
            html = quoted_part("html", _rendered(templates.quoted_html, quoted))
        else:
            html = text_part("html", _rendered(templates.html, values))
        return text, html

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
            ("Date", _dated(recipient.date.replace(microsecond=0))),
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
        html = self._linked(html, is_tracked, for_html=True)
        text = self._linked(message.text, is_tracked, for_html=False)
        return _Templates(
            subject=self._text.from_string(message.subjects[variant]),
            preheader=self._text.from_string(message.preheaders.get(variant, "")),
            html=self._html.from_string(html),
            text=self._text.from_string(text),
            quoted_html=_quoted(html, is_html=True),
            quoted_text=_quoted(_EMPTY_LINES.sub("\n\n", _TRAILING.sub("", text)), is_html=False),
        )

    def _linked(self, body: str, is_tracked: bool, *, for_html: bool) -> str:
        for number, target in enumerate(self._message.links):
            plain = escape(target) if for_html else target
            url = f"{{{{ _click }}}}/{number}" if is_tracked else plain
            body = body.replace(link_mark(number), url)
        return body.replace(UNSUBSCRIBE, "{{ _unsubscribe }}")


@lru_cache(maxsize=64)  # thousands are written in a second
def _dated(at: datetime) -> str:
    return format_datetime(at.astimezone(UTC))


def message_id(campaign: str, contact_id: int, key: bytes, domain: str) -> str:
    """The same for every attempt at this person and campaign; tells nobody who it is."""
    digest = hmac.digest(key, f"message-id\0{contact_id}\0{campaign}".encode(), "sha256")
    return f"<{digest[:16].hex()}@{domain}>"


def _quoted(source: str, *, is_html: bool) -> Template | None:
    environment = fill_environment(autoescape=False)
    if not quotable(source, environment):
        return None
    return quoted_template(source.rstrip() + "\n", environment, is_html=is_html)


def _two_line_ends(found: re.Match[str]) -> str:
    """Two line ends of many; the first may be a soft one, which ends no line."""
    soft = "\r\n" if found.string[found.start() - 1] == "=" else ""
    return soft + "\r\n\r\n"


def _closed_up(text: str) -> str:
    """A paragraph left out leaves its empty lines behind."""
    return _EMPTY_LINES.sub("\n\n", text).strip() + "\n"


def _rendered(template: Template, values: Mapping[str, Any]) -> str:
    try:
        rendered = template.render(values)
    except STOPPED as error:
        # The message may quote a value of the contact's; its kind does not.
        raise Refused(f"the template fails for this contact: {type(error).__name__}") from error
    if len(rendered) > LARGEST:
        raise Refused(f"the message is longer than {LARGEST:,} characters")
    return str(rendered)
