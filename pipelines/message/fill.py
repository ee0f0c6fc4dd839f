"""Fill a compiled message for one person: string work, some 70 µs.

Knows the templates, the tokens and the headers every campaign message carries. Whether this person
may get it at all was decided in delivery.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any

import orjson
from jinja2 import Template
from jinja2.exceptions import TemplateError
from jinja2.runtime import Context

from pipelines.errors import Refused
from pipelines.mac import mac
from pipelines.message import tokens
from pipelines.message.compiled import CONTACT_FIELDS, CompiledMessage
from pipelines.message.dkim import Signer
from pipelines.message.headers import SUBJECT_CHARACTERS, encode_text, mailbox, one_line
from pipelines.message.languages import chosen, is_of
from pipelines.message.mime import composed, quoted_part, related_part, text_part
from pipelines.message.quoted import as_quoted
from pipelines.message.templates import EMPTY_LINES, OURS, Language, Templates, language_of
from pipelines.message.tokens import Purpose

# A value of 100 kB fits; a loop over one that fills the memory does not.
LARGEST = 500_000
REMEMBERED = 1024
_EMPTY = "\r\n\r\n\r\n"
_EMPTY_QUOTED = re.compile(f"{_EMPTY}(?:\r\n)*")
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
    fields["attributes"] = orjson.loads(row["attributes"]) if row["attributes"] else {}
    if row["fields"]:
        fields.update(orjson.loads(row["fields"]))
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


class Rendering:
    """Templates filled with the same values, one after another."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._context: Context | None = None

    def of(self, template: Template) -> str:
        """What it says. Raises Refused when it cannot be filled with these values."""
        context, environment = self._context, template.environment
        try:
            # One context serves them all, unless a template sets names of its own or escapes otherwise:
            # making one, and the copies that `render` makes, cost as much as a short template.
            if context is None or context.vars or environment.autoescape:
                context = template.new_context(self._values, shared=True)
                self._context = None if environment.autoescape else context
            rendered = environment.concat(template.root_render_func(context))
        except STOPPED as error:
            # The message may quote a value of the contact's; its kind does not.
            raise Refused(f"the template fails for this contact: {type(error).__name__}") from error
        if len(rendered) > LARGEST:
            raise Refused(f"the message is longer than {LARGEST:,} characters")
        return rendered

    def quote(self) -> None:
        """From here on addresses of ours stand quoted-printable among the values."""
        for name in OURS:
            if name in self._values:
                self._values[name] = as_quoted(self._values[name])


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
        self._first = language_of(compiled)
        self._further = {name: language_of(each) for name, each in compiled.translations.items()}
        self._languages: dict[object, Language] = {}
        self._from = mailbox(compiled.sender_name, compiled.sender_address, header="From")

    def write(self, recipient: Recipient) -> Written:
        """The message for one person. Raises Refused when it cannot be made for them."""
        language = self._language(recipient)
        templates = self._templates(language, recipient)
        values = self._values(language, recipient)
        unsubscribe = values["_unsubscribe"]
        rendering = Rendering(values)
        subject = one_line(rendering.of(templates.subject), SUBJECT_CHARACTERS)
        preheader = one_line(rendering.of(templates.preheader), SUBJECT_CHARACTERS)
        values["_preheader"] = preheader
        text, html = _parts(templates, rendering)
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
        rendering = Rendering(self._values(language, recipient))
        text = _closed_up(rendering.of(self._templates(language, recipient).text))
        return Filled(
            written.raw, written.message_id, page.subject, page.html, text, page.preheader
        )

    def page(self, recipient: Recipient) -> Page:
        """The HTML for one person, as a browser would show it."""
        language = self._language(recipient)
        templates = self._templates(language, recipient)
        values = self._values(language, recipient)
        rendering = Rendering(values)
        subject = one_line(rendering.of(templates.subject), SUBJECT_CHARACTERS)
        preheader = one_line(rendering.of(templates.preheader), SUBJECT_CHARACTERS)
        values["_preheader"] = preheader
        return Page(subject, rendering.of(templates.html), preheader)

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

    def _values(self, language: Language, recipient: Recipient) -> dict[str, Any]:
        """Everything a template may name, for one person."""
        signing = tokens.Signing(self._campaign, recipient.contact_id, self._key)
        url = self._url
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
        values["_unsubscribe"] = f"{url}/u/{signing.token(Purpose.UNSUBSCRIBE)}"
        if language.shows_view:
            values["_view"] = f"{url}/v/{signing.token(Purpose.VIEW)}"
        if language.shows_preferences:
            values["_preferences"] = f"{url}/p/{signing.token(Purpose.PREFERENCES)}"
        if recipient.is_tracked:
            values["_click"] = f"{url}/c/{signing.token(Purpose.CLICK)}"
            values["_open"] = f"{url}/o/{signing.token(Purpose.OPEN)}.gif"
        return values

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
    digest = mac(key, f"message-id\0{contact_id}\0{campaign}".encode())
    return f"<{digest[:16].hex()}@{domain}>"


def _parts(templates: Templates, rendering: Rendering) -> tuple[bytes, bytes]:
    """The text and the HTML, each as a part; those that render quoted last, since values become so."""
    html = b"" if templates.quoted_html else text_part("html", rendering.of(templates.html))
    text = (
        b""
        if templates.quoted_text
        else text_part("plain", _closed_up(rendering.of(templates.text)))
    )
    rendering.quote()
    if templates.quoted_html:
        html = quoted_part("html", rendering.of(templates.quoted_html))
    if templates.quoted_text:
        found = rendering.of(templates.quoted_text)
        if _EMPTY in found:
            found = _EMPTY_QUOTED.sub(_two_line_ends, found)
        text = quoted_part("plain", found.lstrip("\r\n"))
    return text, html


def _two_line_ends(found: re.Match[str]) -> str:
    """Two line ends of many; the first may be a soft one, which ends no line."""
    soft = "\r\n" if found.string[found.start() - 1] == "=" else ""
    return soft + "\r\n\r\n"


def _closed_up(text: str) -> str:
    """A paragraph left out leaves its empty lines behind."""
    return EMPTY_LINES.sub("\n\n", text).strip() + "\n"
