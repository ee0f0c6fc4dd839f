"""A compiled message as Jinja templates: one set for each variant, with tracking and without.

Knows the marks compile.py leaves and what stands there for one person; fills nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from jinja2 import Template

from pipelines.message.compiled import (
    LINK,
    PIXEL,
    PREFERENCES,
    PREHEADER,
    UNSUBSCRIBE,
    VIEW,
    CompiledMessage,
)
from pipelines.message.headers import phrase
from pipelines.message.pictures import parts
from pipelines.message.quoted import quotable, quoted_template
from pipelines.message.sandbox import fill_environment

# Values that are ours, come in many times, and need no escaping.
OURS = ("_click", "_open", "_unsubscribe", "_view", "_preferences")
EMPTY_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")
_TRAILING = re.compile(r"(?<![ \t])[ \t]+$", re.MULTILINE)
HIDDEN = (
    '<div style="display:none;font-size:1px;line-height:1px;max-height:0;max-width:0;opacity:0;'
    'overflow:hidden">{}</div>'
)
PIXEL_TAG = (
    '<img src="{{ _open }}" width="1" height="1" alt="" '
    'style="display:block;width:1px;height:1px;border:0">'
)


@dataclass(frozen=True)
class Templates:
    """What one variant is filled from, for tracked or for untracked people.

    quoted_html, quoted_text  render quoted-printable; None where base64 or a captured text forbids it
    """

    subject: Template
    preheader: Template
    html: Template
    text: Template
    quoted_html: Template | None
    quoted_text: Template | None


@dataclass(frozen=True)
class Language:
    """One language of a message: its templates by variant and tracking, and what is the same for all.

    defaults  what stands for a value nobody has
    pictures  the parts of those that travel along
    locale    of dates and amounts, for people of another language; '' for everybody's own
    """

    templates: Mapping[tuple[str, bool], Templates]
    defaults: Mapping[str, object]
    list_id: str
    pictures: tuple[bytes, ...]
    locale: str
    shows_view: bool
    shows_preferences: bool


def language_of(message: CompiledMessage) -> Language:
    """A message, or a translation, ready to be filled."""
    templates = {
        (variant, is_tracked): _compiled(message, variant, is_tracked=is_tracked)
        for variant in message.subjects
        for is_tracked in (True, False)
    }
    defaults = {
        name: "" if value is None else value for name, value in message.default_fields.items()
    }
    bodies = message.html + message.text
    return Language(
        templates,
        defaults,
        list_id=f"{phrase(message.list_name, 'List-Id')} <{message.list_id}>".lstrip(),
        pictures=parts(message.pictures),
        locale=message.language,
        shows_view=VIEW in bodies,
        shows_preferences=PREFERENCES in bodies,
    )


def _compiled(message: CompiledMessage, variant: str, *, is_tracked: bool) -> Templates:
    rich, plain = fill_environment(autoescape=True), fill_environment(autoescape=False)
    html = message.html.replace(PIXEL, PIXEL_TAG if is_tracked else "")
    html = html.replace(PREHEADER, HIDDEN.format("{{ _preheader }}"))
    html = _linked(message, html, is_tracked=is_tracked, for_html=True)
    text = _linked(message, message.text, is_tracked=is_tracked, for_html=False)
    return Templates(
        subject=plain.from_string(message.subjects[variant]),
        preheader=plain.from_string(message.preheaders.get(variant, "")),
        html=rich.from_string(html),
        text=plain.from_string(text),
        quoted_html=_quoted(html, is_html=True),
        quoted_text=_quoted(EMPTY_LINES.sub("\n\n", _TRAILING.sub("", text)), is_html=False),
    )


def _linked(message: CompiledMessage, body: str, *, is_tracked: bool, for_html: bool) -> str:
    def address(mark: re.Match[str]) -> str:
        if int(mark[1]) >= len(message.links):
            return mark[0]
        target = message.links[int(mark[1])]
        plain = escape(target) if for_html else target
        return f"{{{{ _click }}}}/{mark[1]}" if is_tracked else plain

    body = LINK.sub(address, body)
    body = body.replace(VIEW, "{{ _view }}").replace(PREFERENCES, "{{ _preferences }}")
    return body.replace(UNSUBSCRIBE, "{{ _unsubscribe }}")


def _quoted(source: str, *, is_html: bool) -> Template | None:
    environment = fill_environment(autoescape=False)
    if not quotable(source, environment):
        return None
    return quoted_template(source.rstrip() + "\n", environment, is_html=is_html)
