"""What an SMTP reply means for the recipient, the address and the campaign.

A table read from the top; the class digit of the basic code wins over the enhanced one. Reply text
is hostile input: it is cut, cleaned and masked before anybody keeps it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

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


# (basic code, enhanced code without its class digit, text): the first row that fits counts.
_TABLE: tuple[tuple[str, str, str, ReplyClass], ...] = (
    (r"5..", r"", r"relay(ing)? (access )?denied|unable to relay", ReplyClass.RELAY),
    (r"530|535", r"", r"", ReplyClass.RELAY),
    (r"...", r"7\.(2[0-79]|30|515)", r"", ReplyClass.AUTHENTICATION),
    (r"...", r"", r"\b(spf|dkim|dmarc)\b", ReplyClass.AUTHENTICATION),
    (r"4..", r"7\.(0|28|500|650|651)", r"", ReplyClass.RATE),
    (r"...", r"", r"at a rate that prevents|sending quota exceeded", ReplyClass.RATE),
    (r"5..", r"", r"doesn't have a \S{1,60} account", ReplyClass.UNKNOWN_USER),
    (r"4..", r"", r"TSS0\d|rate.?limit|too many|throttl", ReplyClass.RATE),
    (r"4..", r"2\.2", r"", ReplyClass.OVER_QUOTA),
    (r"5..", r"2\.2", r"", ReplyClass.OVER_QUOTA),
    (r"552|452", r"", r"quota|mailbox (is )?full", ReplyClass.OVER_QUOTA),
    (r"421|450|451|452", r"", r"", ReplyClass.BUSY),
    (r"5..", r"", r"spamhaus|blocklist|blacklist|spam", ReplyClass.POLICY),
    (r"5..", r"1\.(0|1|2|3|6|10)|4\.4", r"", ReplyClass.UNKNOWN_USER),
    (r"5..", r"2\.1", r"", ReplyClass.DISABLED),
    (r"525", r"7\.13", r"", ReplyClass.DISABLED),
    (r"5..", r"3\.4|5\.\d+|6\.\d+", r"", ReplyClass.FORMAT),
    (r"5..", r"7\.\d+", r"", ReplyClass.POLICY),
    (r"55[01]", r"$", r"(user|mailbox|recipient).*(unknown|not (found|exist))|no such user",
     ReplyClass.UNKNOWN_USER),
    (r"554", r"$", r"", ReplyClass.POLICY),
)  # fmt: skip
_RULES = tuple(
    (re.compile(code), re.compile(enhanced), re.compile(text, re.IGNORECASE), meaning)
    for code, enhanced, text, meaning in _TABLE
)


def classify(reply: Reply) -> ReplyClass:
    """The class of a reply to MAIL, RCPT, DATA or the final dot."""
    if 200 <= reply.code < 300:
        return ReplyClass.ACCEPTED
    code, detail = str(reply.code), reply.enhanced.partition(".")[2]
    # Without addresses: whoever is called spamela is no spam.
    text = _ADDRESS.sub("", reply.text[:LONGEST_READ])
    for code_fits, detail_fits, text_fits, meaning in _RULES:
        wanted = detail_fits.pattern
        detail_ok = not wanted or (detail == "" if wanted == "$" else detail_fits.fullmatch(detail))
        if code_fits.fullmatch(code) and detail_ok and text_fits.search(text):
            return meaning
    return ReplyClass.OTHER


def is_hard(reply: Reply) -> bool:
    """Whether the address is known not to exist: the only reply that suppresses it at once."""
    return reply.code >= 500 and classify(reply) is ReplyClass.UNKNOWN_USER
