"""A compiled message: everything a campaign's mail is made of, save the recipient.

JSON all through, so an approval can hold it; needs nothing of the project afterwards. `html`,
`text`, subjects and preheaders are fill-time templates with marks for links and the pixel.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

# Marks use the compile-time delimiters, so a template leaves none behind. Filler replaces them.
PIXEL = "[[pixel]]"
PREHEADER = "[[preheader]]"
UNSUBSCRIBE = "[[unsubscribe]]"

# What every template may name, beside the segment columns a campaign lists under `fields`.
CONTACT_FIELDS = (
    "first_name",
    "last_name",
    "locale",
    "country",
    "city",
    "time_zone",
    "birth_on",
    "attributes",
)


def link_mark(number: int) -> str:
    """Where the link with this number goes: its own address, or the edge's if tracked."""
    return f"[[link:{number}]]"


class CompiledMessage(BaseModel):
    """One message for one campaign, before anybody's name is in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subjects: dict[str, str] = Field(min_length=1)
    preheaders: dict[str, str]
    html: str
    text: str
    # Click number → address; the number is the place in this list.
    links: list[str]
    sender_name: str
    sender_address: str
    reply_to: str | None
    list_id: str
    list_name: str
    postal_address: str
    feedback_id: str
    return_path_domain: str
    message_id_domain: str
    # Every name a template may use, with what stands there for a contact without a value.
    default_fields: dict[str, Any]
