"""A letter in which lint finds nothing, to be broken by each test in one way."""

from __future__ import annotations

from typing import Any

from pipelines.message.compiled import CompiledMessage
from pipelines.message.lint.rules import findings
from pipelines.message.plain import plain_text

ADDRESS = "The Paper Mill, 12 Water Lane, Millbridge MB1 2AB"
PAGE = (
    '<html><head><title>Mill</title></head><body style="background-color:#ffffff;color:#222222">'
    "[[preheader]]{}[[pixel]]</body></html>"
)
FOOTER = f'<p><a href="[[unsubscribe]]">Unsubscribe</a></p><p>{ADDRESS}</p>'
SHORT_TEXT = f"Hello.\nUnsubscribe <[[unsubscribe]]>\n{ADDRESS}\n"


def letter(body: str = "<p>The mill is open.</p>", **changes: Any) -> CompiledMessage:
    """A message with this body above its footer; other fields by name."""
    html = changes.pop("html", PAGE.format(body + FOOTER))
    fields: dict[str, Any] = {
        "subjects": {"a": "The winter papers are here"},
        "preheaders": {"a": "Twelve of them, and a green one"},
        "html": html,
        "text": plain_text(html.replace("[[preheader]]", "").replace("[[pixel]]", "")),
        "links": [],
        "sender_name": "The Paper Mill",
        "sender_address": "hello@mill.example",
        "reply_to": None,
        "list_id": "news.lists.mill.example",
        "list_name": "News and stories",
        "postal_address": ADDRESS,
        "feedback_id": "autumn-thanks:news:mill:papermill",
        "return_path_domain": "bounces.mill.example",
        "message_id_domain": "mill.example",
        "default_fields": {"first_name": "", "city": "", "attributes": {}},
    }
    return CompiledMessage(**{**fields, **changes})


def linked(address: str, label: str = "look") -> CompiledMessage:
    """A letter with one link, numbered as the compiler does."""
    return letter(f'<p><a href="[[link:0]]">{label}</a></p>', links=[address])


def written(href: str) -> CompiledMessage:
    """A letter with one link as it stands in the page."""
    return letter(f'<p><a href="{href}">look</a></p>')


def pictured(attributes: str) -> CompiledMessage:
    return letter(f"<p><img {attributes}></p>")


def named(message: CompiledMessage, **settings: Any) -> list[str]:
    """The names of the rules a message breaks, in order."""
    return [each.rule.name for each in findings(message, **settings)]
