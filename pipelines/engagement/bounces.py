"""Read a delivery status notification (RFC 3464): whom it is about, and whether it arrived, or never will.

Pure. Mail from strangers comes in here, so nothing in it is trusted: a report counts only when it
carries a return path or an unsubscribe token signed by this home. Reading never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from email.policy import compat32
from email.utils import getaddresses

from pipelines.message import tokens

MAX_REPORT_BYTES = 2 * 1024 * 1024
STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
TOKEN_IN_LINK = re.compile(r"/u/([A-Za-z0-9_-]{20,400})")
# Of the 5.x.x only these say that there is no such mailbox; the rest is policy, size, content.
HARD = frozenset({"5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.4.4"})
# A mailbox has it, the next server has it, a list has it: whoever says so had taken it over.
FAILED, TAKEN = "failed", frozenset({"delivered", "relayed", "expanded"})
LONGEST_NAME, XTEXT = 200, re.compile(r"\+([0-9A-F]{2})")
ADDRESSED = ("To", "Delivered-To", "X-Original-To", "Envelope-To")


@dataclass(frozen=True)
class BounceReport:
    """What one report says; its recipient may stand in `local_parts` or `unsubscribe_tokens`."""

    status: str  # such as 5.1.1; '' when none was given
    is_hard: bool
    is_delivered: bool
    local_parts: tuple[str, ...]
    unsubscribe_tokens: tuple[str, ...]


def read_report(raw: bytes) -> BounceReport | None:
    """The report in a message, or None when it is none, or reports neither a failure nor a delivery."""
    if len(raw) > MAX_REPORT_BYTES:
        return None
    try:
        return _read(raw)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # The standard parser raises these on some broken MIME; such a message is no report.
        return None


def _read(raw: bytes) -> BounceReport | None:
    message = message_from_bytes(raw, policy=compat32)
    parts = list(message.walk())
    fields = [part for part in parts if part.get_content_type() == "message/delivery-status"]
    groups = [group for part in fields for group in _groups(part)]
    failed = [group for group in groups if _action(group) == FAILED]
    told = failed or [group for group in groups if _action(group) in TAKEN]
    if not told:
        return None
    status = _status(told)
    returned = [part for part in parts if part is not message]
    named = (_text(message, name) for name in ADDRESSED)
    paths = (_text(part, "Return-Path") for part in returned)
    # What we called the message in its envelope: its return path's own part.
    envelopes = (_text(group, "Original-Envelope-Id") for group in groups)
    return BounceReport(
        status=status,
        is_hard=bool(failed) and status in HARD,
        is_delivered=not failed,
        local_parts=tuple(
            dict.fromkeys([*_local_parts([*named, *paths]), *_named_in_envelope(envelopes)])
        ),
        unsubscribe_tokens=tuple(dict.fromkeys(_unsubscribe_tokens(returned))),
    )


def recipient(report: BounceReport, campaigns: Iterable[str], key: bytes) -> tokens.Token | None:
    """Whom a report is about and of which campaign, proved by our signature; None when nothing proves it."""
    known = list(campaigns)
    for local in report.local_parts:
        if token := tokens.read_return_path(local, known, key):
            return token
    for text in report.unsubscribe_tokens:
        if token := tokens.read(text, tokens.Purpose.UNSUBSCRIBE, key):
            return token
    return None


def _action(group: Message) -> str:
    return _text(group, "Action").strip().lower()


def _groups(part: Message) -> list[Message]:
    payload = part.get_payload()
    return (
        [group for group in payload if isinstance(group, Message)]
        if isinstance(payload, list)
        else []
    )


def _status(groups: Iterable[Message]) -> str:
    """The most telling status; a diagnostic's own code is more exact than a vague 5.0.0."""
    found: list[str] = []
    for group in groups:
        codes = [STATUS.search(_text(group, name)) for name in ("Diagnostic-Code", "Status")]
        found += [code.group(0) for code in codes if code]
    return next((code for code in found if code in HARD), found[0] if found else "")


def _local_parts(values: Iterable[str]) -> Iterable[str]:
    for _, address in getaddresses([value for value in values if value]):
        local, at, _ = address.rpartition("@")
        if at and len(local) <= 64:
            yield local


def _named_in_envelope(names: Iterable[str]) -> Iterable[str]:
    """Each as it stands, and as it was before a relay that hands on xtext (RFC 3461) wrote it."""
    for name in names:
        if 0 < len(text := name.strip()) <= LONGEST_NAME:
            yield text
            yield XTEXT.sub(lambda found: chr(int(found[1], 16)), text)


def _unsubscribe_tokens(parts: Iterable[Message]) -> Iterable[str]:
    for part in parts:
        yield from TOKEN_IN_LINK.findall(_text(part, "List-Unsubscribe"))
        if part.get_content_type() == "text/rfc822-headers":
            payload = part.get_payload(decode=True)
            if isinstance(payload, bytes):
                headers = message_from_bytes(payload, policy=compat32)
                yield from TOKEN_IN_LINK.findall(_text(headers, "List-Unsubscribe"))


def _text(message: Message, name: str) -> str:
    return re.sub(r"\r?\n[ \t]+", "", str(message.get(name, "")))
