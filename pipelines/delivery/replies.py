"""What an SMTP reply means for the recipient, the address and the campaign.

The table is data, replies.yaml, read from the top; the class digit of the basic code wins over the
enhanced one. Reply text is hostile input: it is cut, cleaned and masked before anybody keeps it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

TABLE = Path(__file__).with_name("replies.yaml")
TEXT_CHARACTERS = 1000
LONGEST_READ = 2000
_ENHANCED = re.compile(r"^\s*([245]\.\d{1,3}\.\d{1,3})\b")
# Bounded: a server chooses this text, and an open end would make it quadratic.
_ADDRESS = re.compile(r'(?:"[^"]{0,64}"|[^\s<>,;:]{0,320})@[^\s<>,;:]{0,255}')
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class ReplyClass(StrEnum):
    """Why a server said what it said."""

    ACCEPTED = "accepted"
    UNKNOWN_USER = "unknown_user"
    DISABLED = "disabled"
    OVER_QUOTA = "over_quota"
    RATE = "rate"
    BUSY = "busy"
    AUTHENTICATION = "authentication"
    POLICY = "policy"
    FORMAT = "format"
    RELAY = "relay"
    OTHER = "other"


@dataclass(frozen=True)
class Reply:
    """One whole reply: every line of it, joined by spaces."""

    code: int
    text: str

    @property
    def enhanced(self) -> str:
        found = _ENHANCED.match(self.text)
        return found[1] if found else ""

    @property
    def masked(self) -> str:
        """The text as it may be kept: no addresses, no controls, at most 1,000 characters."""
        clean = _ADDRESS.sub("•••", _CONTROLS.sub(" ", self.text[:LONGEST_READ]))
        return f"{self.code} {clean}".strip()[:TEXT_CHARACTERS]


class Retry(StrEnum):
    """When the same message is tried again."""

    NEVER = "never"
    SOON = "soon"
    LATER = "later"


class Then(StrEnum):
    """What becomes of the campaign, or of the destination."""

    NOTHING = "nothing"
    SLOW = "slow"
    PAUSE = "pause"
    STOP = "stop"


class Meaning(BaseModel):
    """What a class of replies is about, and what follows from one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    retry: Retry
    suppress: bool
    then: Then


@dataclass(frozen=True)
class _Rule:
    code: re.Pattern[str]
    enhanced: re.Pattern[str] | None
    is_bare: bool
    text: re.Pattern[str]
    meaning: ReplyClass

    def fits(self, code: str, detail: str, text: str) -> bool:
        if not self.code.fullmatch(code) or (self.is_bare and detail):
            return False
        if self.enhanced is not None and not self.enhanced.fullmatch(detail):
            return False
        return self.text.search(text) is not None


def meaning(kind: ReplyClass) -> Meaning:
    """What follows from a reply of this class."""
    return _table()[0][kind]


def classify(reply: Reply) -> ReplyClass:
    """The class of a reply to MAIL, RCPT, DATA or the final dot."""
    if 200 <= reply.code < 300:
        return ReplyClass.ACCEPTED
    code, detail = str(reply.code), reply.enhanced.partition(".")[2]
    # Without addresses: whoever is called spamela is no spam.
    text = _ADDRESS.sub("", reply.text[:LONGEST_READ])
    rules = _table()[1]
    return next((rule.meaning for rule in rules if rule.fits(code, detail, text)), ReplyClass.OTHER)


def is_hard(reply: Reply) -> bool:
    """Whether the address is known not to exist: the only reply that suppresses it at once."""
    return reply.code >= 500 and meaning(classify(reply)).suppress


@cache
def _table() -> tuple[dict[ReplyClass, Meaning], tuple[_Rule, ...]]:
    values = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    meanings = {
        ReplyClass(name): Meaning.model_validate(told) for name, told in values["classes"].items()
    }
    return meanings, tuple(_rule(**row) for row in values["rules"])


def _rule(code: str, text: str = "", enhanced: str = "", who: str = "", **named: str) -> _Rule:  # noqa: ARG001
    is_bare = enhanced == "-"
    detail = re.compile(enhanced) if enhanced and not is_bare else None
    words = re.compile(text, re.IGNORECASE)
    return _Rule(re.compile(code), detail, is_bare, words, ReplyClass(named["class"]))
