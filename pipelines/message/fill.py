"""Fill a compiled message for one person: string work, some 130 µs.

Knows the templates, the tokens and the headers every campaign message carries. Whether this person
may get it at all was decided in delivery.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template
from jinja2.exceptions import TemplateError

from pipelines.errors import Refused
from pipelines.message import tokens
from pipelines.message.compiled import CONTACT_FIELDS, CompiledMessage
from pipelines.message.dkim import Signer
from pipelines.message.headers import SUBJECT_CHARACTERS, encode_text, mailbox, one_line
from pipelines.message.languages import chosen, is_of
from pipelines.message.mime import composed, quoted_part, related_part, text_part
from pipelines.message.quoted import as_quoted
from pipelines.message.templates import EMPTY_LINES, OURS, Language, Templates, language_of
from pipelines.message.tokens import Purpose, Token

# A value of 100 kB fits; a loop over one that fills the memory does not.
LARGEST = 500_000
REMEMBERED = 1024
_EMPTY_QUOTED = re.compile(r"\r\n\r\n\r\n(?:\r\n)*")
# What a template can do wrong for one contact; the others get theirs.
STOPPED = (
    TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError,
    MemoryError,
)  # fmt: skip
SAMPLE_DATE = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Recipient:
    """One person a message is filled for. `fields` are the contact's and the segment's columns."""

    contact_id: int
    address: str
    variant: str
    is_tracked: bool
    date: datetime
    fields: Mapping[str, Any]


def recipient_of(
    row: Mapping[str, Any],
    *,
    variant: str,
    date: datetime,
    is_tracked: bool = False,
    address: str | None = None,
) -> Recipient:
    """Somebody of core.contacts, with what an audience keeps for them under `fields` (a JSON object).

    address  whom the message names, where that is not the contact's own
    """
    fields = {name: row[name] for name in CONTACT_FIELDS}
    fields["attributes"] = json.loads(row["attributes"]) if row["attributes"] else {}
    if row["fields"]:
        fields.update(json.loads(row["fields"]))
    named = address or row["address"] or ""
    return Recipient(row["contact_id"], named, variant, is_tracked, date, fields)


def made_up(variant: str, fields: Mapping[str, Any], *, is_tracked: bool = False) -> Recipient:
    """Nobody, for samples: an address that no mail reaches, and these fields."""
    return Recipient(1, "ada@shop.example", variant, is_tracked, SAMPLE_DATE, fields)


@dataclass(frozen=True)
class Written:
    """One person's message: `raw` is complete and ready for SMTP, with CRLF line ends."""

    raw: bytes
    message_id: str


@dataclass(frozen=True)
class Page:
    """What a browser shows of one person's message; pictures that travel along are `cid:` addresses."""

    subject: str
    html: str
    preheader: str


@dataclass(frozen=True)
class Filled(Written):
    """The same with what a mail program shows of it."""

    subject: str
    html: str
    text: str
    preheader: str


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
        is_only = not compiled.translations
        self._first = language_of(compiled, is_only=is_only)
        self._further = {
            name: language_of(each, is_only=False) for name, each in compiled.translations.items()
        }
        self._languages: dict[object, Language] = {}
        self._from = mailbox(compiled.sender_name, compiled.sender_address, header="From")

    def write(self, recipient: Recipient) -> Written:
        """The message for one person. Raises Refused when it cannot be made for them."""
        language = self._language(recipient)
        templates = self._templates(language, recipient)
        values, unsubscribe = self._values(language, recipient)
        subject = one_line(_rendered(templates.subject, values), SUBJECT_CHARACTERS)
        values["_preheader"] = one_line(_rendered(templates.preheader, values), SUBJECT_CHARACTERS)
        text, html = self._parts(templates, values)
        if language.pictures:
            html = related_part(html, language.pictures)
        identifier = message_id(
            self._campaign, recipient.contact_id, self._key, self._message.message_id_domain
        )
        headers = self._headers(recipient, subject, identifier, unsubscribe, language)
        message = composed(headers, text, html)
        raw = self._signer.signed(message, recipient.date) if self._signer else message.raw()
        return Written(raw, identifier)

    def fill(self, recipient: Recipient) -> Filled:
        """The same, and what is in it as text: for those who look at it before it is sent."""
        written = self.write(recipient)
        page = self.page(recipient)
        language = self._language(recipient)
        values, _ = self._values(language, recipient)
        text = _closed_up(_rendered(self._templates(language, recipient).text, values))
        return Filled(
            written.raw, written.message_id, page.subject, page.html, text, page.preheader
        )

    def page(self, recipient: Recipient) -> Page:
        """The HTML for one person, as a browser would show it."""
        language = self._language(recipient)
        templates = self._templates(language, recipient)
        values, _ = self._values(language, recipient)
        subject = one_line(_rendered(templates.subject, values), SUBJECT_CHARACTERS)
        preheader = one_line(_rendered(templates.preheader, values), SUBJECT_CHARACTERS)
        values["_preheader"] = preheader
        return Page(subject, _rendered(templates.html, values), preheader)

    def _language(self, recipient: Recipient) -> Language:
        if not self._further:
            return self._first
        locale = str(recipient.fields.get("locale") or "")[:40]
        if locale not in self._languages:
            if len(self._languages) > REMEMBERED:
                self._languages.clear()
            first = self._message.language.lower()
            name = chosen(locale, {first, *self._further})
            self._languages[locale] = self._further.get(name, self._first)
        return self._languages[locale]

    def _templates(self, language: Language, recipient: Recipient) -> Templates:
        templates = language.templates.get((recipient.variant, recipient.is_tracked))
        if templates is None:
            raise Refused(f"the message has no variant '{recipient.variant}'")
        return templates

    def _parts(self, templates: Templates, values: Mapping[str, Any]) -> tuple[bytes, bytes]:
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

    def _values(self, language: Language, recipient: Recipient) -> tuple[dict[str, Any], str]:
        def address(page: str, purpose: Purpose) -> str:
            token = Token(purpose, self._campaign, recipient.contact_id)
            return f"{self._url}/{page}/{tokens.sign(token, self._key)}"

        # What a contact lacks, an empty list too, is what the campaign says stands there.
        values: dict[str, Any] = dict(language.defaults)
        for name, value in recipient.fields.items():
            if value is not None and value != []:
                values[name] = value
        for name in self._message.required:
            if not values.get(name):
                raise Refused(f"there is no {name} for this contact")
        if language.locale and not is_of(values["locale"], language.locale):
            values["_locale"] = language.locale
        unsubscribe = address("u", Purpose.UNSUBSCRIBE)
        values["_unsubscribe"] = unsubscribe
        if language.shows_view:
            values["_view"] = address("v", Purpose.VIEW)
        if language.shows_preferences:
            values["_preferences"] = address("p", Purpose.PREFERENCES)
        if recipient.is_tracked:
            values["_click"] = address("c", Purpose.CLICK)
            values["_open"] = f"{address('o', Purpose.OPEN)}.gif"
        return values, unsubscribe

    def _headers(
        self,
        recipient: Recipient,
        subject: str,
        identifier: str,
        unsubscribe: str,
        language: Language,
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
            ("List-Id", language.list_id),
            ("Feedback-ID", self._message.feedback_id),
        ]
        if self._message.reply_to:
            headers.insert(1, ("Reply-To", self._message.reply_to))
        return headers


@lru_cache(maxsize=64)  # thousands are written in a second
def _dated(at: datetime) -> str:
    return format_datetime(at.astimezone(UTC))


def message_id(campaign: str, contact_id: int, key: bytes, domain: str) -> str:
    """The same for every attempt at this person and campaign; tells nobody who it is."""
    digest = hmac.digest(key, f"message-id\0{contact_id}\0{campaign}".encode(), "sha256")
    return f"<{digest[:16].hex()}@{domain}>"


def _two_line_ends(found: re.Match[str]) -> str:
    """Two line ends of many; the first may be a soft one, which ends no line."""
    soft = "\r\n" if found.string[found.start() - 1] == "=" else ""
    return soft + "\r\n\r\n"


def _closed_up(text: str) -> str:
    """A paragraph left out leaves its empty lines behind."""
    return EMPTY_LINES.sub("\n\n", text).strip() + "\n"


def _rendered(template: Template, values: Mapping[str, Any]) -> str:
    try:
        rendered = template.render(values)
    except STOPPED as error:
        # The message may quote a value of the contact's; its kind does not.
        raise Refused(f"the template fails for this contact: {type(error).__name__}") from error
    if len(rendered) > LARGEST:
        raise Refused(f"the message is longer than {LARGEST:,} characters")
    return str(rendered)
