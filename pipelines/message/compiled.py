"""A compiled message: everything a campaign's mail is made of, save the recipient.

JSON all through, so an approval can hold it; needs nothing of the project afterwards. `html`,
`text`, subjects and preheaders are fill-time templates with marks for links and the pixel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

# Marks use the compile-time delimiters, so a template leaves none behind. Filler replaces them.
PIXEL = "[[pixel]]"
PREHEADER = "[[preheader]]"
UNSUBSCRIBE = "[[unsubscribe]]"
VIEW = "[[view]]"
PREFERENCES = "[[preferences]]"
# Addresses of the edge that differ per person and are no clicks.
OWN_PAGES = frozenset({UNSUBSCRIBE, VIEW, PREFERENCES})

SAMPLE = "SAMPLE-CODE"

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


LINK = re.compile(r"\[\[link:([0-9]{1,6})\]\]")


def link_mark(number: int) -> str:
    """Where the link with this number goes: its own address, or the edge's if tracked."""
    return f"[[link:{number}]]"


class Picture(BaseModel):
    """A picture that travels with the message. `content` is base64."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    content: str


class CompiledMessage(BaseModel):
    """One message for one campaign, before anybody's name is in it.

    What was added later is left out of what is kept when empty: an older approval keeps its hash.
    """

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
    # Names without which there is no message: nobody gets an empty coupon.
    required: list[str] = Field([], exclude_if=lambda value: not value)
    # What may stand in `{% if '…' in segments %}`.
    segments: list[str] = Field([], exclude_if=lambda value: not value)
    # Content id → picture, named in the HTML as `cid:<content id>`.
    pictures: dict[str, Picture] = Field({}, exclude_if=lambda value: not value)
    # The language it is written in; approvals from before say none where it is the only one.
    language: str = Field("", exclude_if=lambda value: not value)
    # The same message by further language, in small letters. Links have the same numbers in all.
    translations: dict[str, CompiledMessage] = Field({}, exclude_if=lambda value: not value)

    @property
    def samples(self) -> dict[str, str]:
        """What stands for the values nobody has before an audience is frozen."""
        return dict.fromkeys(self.required, SAMPLE)

    def every(self) -> Iterator[CompiledMessage]:
        """This message and its translations."""
        yield self
        yield from self.translations.values()
