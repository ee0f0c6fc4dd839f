"""Tokens in links and return paths: who did what, signed so that nobody can make one up.

A token carries contact and campaign; its purpose is signed but not carried, so a token for the
pixel is no token for unsubscribing. Knows no URL and no store.

    token        base64url of  version 1 byte | contact 8 bytes | campaign utf-8 | mac 16 bytes
    return path  b+ hexadecimal of  version 1 byte | contact 8 bytes | mac 16 bytes
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pipelines.mac import mac

VERSION = b"\x01"
CONTACT_BYTES = 8
MAC_BYTES = 16
LONGEST = 400
RETURN_PATH_PREFIX = "b+"
# Of the 64 characters that a local part may have.
RETURN_PATH_CHARACTERS = 2 * (len(VERSION) + CONTACT_BYTES + MAC_BYTES)
# As they were written before, in base32: what was mailed then may still come back.
EARLIER_CHARACTERS = 40


class Purpose(StrEnum):
    """What a token lets its holder do."""

    OPEN = "open"
    CLICK = "click"
    UNSUBSCRIBE = "unsubscribe"
    VIEW = "view"
    PREFERENCES = "preferences"


_OF_PURPOSE = {each: VERSION + each.encode() + b"\x00" for each in Purpose}
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True)
class Token:
    """What a token says. One read from a return path has no purpose."""

    purpose: Purpose | None
    campaign: str
    contact_id: int


def sign(token: Token, key: bytes) -> str:
    """The token as it stands in a URL."""
    if token.purpose is None:
        raise ValueError("a token in a URL has a purpose")
    return Signing(token.campaign, token.contact_id, key).token(token.purpose)


class Signing:
    """The tokens of one contact and campaign: what they have in common is put together once."""

    def __init__(self, campaign: str, contact_id: int, key: bytes) -> None:
        contact = contact_id.to_bytes(CONTACT_BYTES, "big", signed=True)
        self._said, self._key = contact + campaign.encode(), key

    def token(self, purpose: Purpose) -> str:
        """The one for a purpose, as it stands in a URL."""
        tag = mac(self._key, _OF_PURPOSE[purpose] + self._said)[:MAC_BYTES]
        whole = binascii.b2a_base64(VERSION + self._said + tag, newline=False)
        return whole.translate(_URL_SAFE, b"=").decode()


def read(text: str, purpose: Purpose, key: bytes) -> Token | None:
    """What a token says; None unless it is ours, for this purpose, letter for letter."""
    if len(text) > LONGEST or not text.isascii():
        return None
    try:
        whole = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(whole) <= 1 + CONTACT_BYTES + MAC_BYTES or whole[:1] != VERSION:
        return None
    contact, campaign, tag = whole[1:9], whole[9:-MAC_BYTES], whole[-MAC_BYTES:]
    if not hmac.compare_digest(tag, _tag(purpose.value, contact, campaign, key)):
        return None
    # base64 has several spellings of the same bytes; only ours counts.
    if base64.urlsafe_b64encode(whole).rstrip(b"=").decode() != text:
        return None
    return Token(purpose, campaign.decode(), int.from_bytes(contact, "big", signed=True))


def sign_return_path(campaign: str, contact_id: int, key: bytes) -> str:
    """The local part a bounce comes back to; upper and lower case mean the same."""
    contact = contact_id.to_bytes(CONTACT_BYTES, "big", signed=True)
    whole = VERSION + contact + _tag("bounce", contact, campaign.encode(), key)
    return RETURN_PATH_PREFIX + whole.hex()


def read_return_path(local: str, campaigns: Iterable[str], key: bytes) -> Token | None:
    """Whose mail came back, and of which of these campaigns; None when it is not one of ours."""
    text = local.lower()
    body = text.removeprefix(RETURN_PATH_PREFIX)
    if body == text or len(body) not in (RETURN_PATH_CHARACTERS, EARLIER_CHARACTERS):
        return None
    try:
        is_earlier = len(body) == EARLIER_CHARACTERS
        whole = base64.b32decode(body.upper()) if is_earlier else binascii.unhexlify(body)
    except (binascii.Error, ValueError):
        return None
    contact, tag = whole[1:9], whole[9:]
    if whole[:1] != VERSION:
        return None
    for campaign in campaigns:
        if hmac.compare_digest(tag, _tag("bounce", contact, campaign.encode(), key)):
            return Token(None, campaign, int.from_bytes(contact, "big", signed=True))
    return None


def _tag(purpose: str, contact: bytes, campaign: bytes, key: bytes) -> bytes:
    signed = VERSION + purpose.encode() + b"\x00" + contact + campaign
    return mac(key, signed)[:MAC_BYTES]
