"""Write header values so that no value can become a header (CVE-2024-6923 and its kin).

Control characters become spaces; whatever is not plain ASCII, or looks like an encoded word, is
encoded here and never by the standard library. Knows RFC 5322 and 2047; no campaign.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from functools import lru_cache

import idna

from pipelines.errors import Refused

LINE = 76
# An encoded word has at most 75 characters, 12 of them dressing: room for 45 bytes of UTF-8.
WORD_BYTES = 45
NAME_CHARACTERS = 100
SUBJECT_CHARACTERS = 300
LONGEST_ADDRESS = 254
LONGEST_LOCAL = 64

# C0, DEL, C1, line and paragraph separator.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Marks that reorder what follows them could dress one name up as another; letters stay as they are.
_REORDERING = re.compile(r"[\u202a-\u202e\u2066-\u2069]+")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_PLAIN = re.compile(r"[\x20-\x7e]*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(r"([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}")


def one_line(text: str, longest: int) -> str:
    """The text as a header may hold it: one line, no controls, cut with an ellipsis if longer."""
    if len(text) <= longest and text.isprintable() and "  " not in text and text == text.strip():
        return text  # most are such: no control, no mark, no blank but the space
    # Cutting first bounds the work on values of any size; what is removed makes it shorter only.
    text = _CONTROLS.sub(" ", text[: longest * 4])
    text = _SURROGATES.sub("\ufffd", _REORDERING.sub("", text))
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def encode_text(name: str, value: str) -> str:
    """An unstructured value, such as a subject, folded and encoded where it must be."""
    if _is_plain(value) and len(name) + 2 + len(value) <= LINE:
        return value
    if _is_plain(value) and (folded := _folded(name, value)):
        return folded
    return _encoded_words(value, first=LINE - len(name) - 2)


def mailbox(name: str, address: str, *, header: str = "To") -> str:
    """`name <address>`, or the address alone for a contact without a name."""
    address = envelope_address(address)
    shown = phrase(name, header)
    if not shown:
        return address
    start = 0 if "\n" in shown else len(header) + 2
    is_short = start + len(shown.rsplit("\n", 1)[-1]) + len(address) + 3 <= LINE
    return f"{shown} <{address}>" if is_short else f"{shown}\r\n <{address}>"


def phrase(name: str, header: str) -> str:
    """A display name as it stands before angle brackets; '' for none."""
    name = one_line(name, NAME_CHARACTERS)
    if not _is_plain(name) or len(name) > LINE // 2:
        return _encoded_words(name, first=LINE - len(header) - 2)
    if _ATOMS.fullmatch(name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@lru_cache(maxsize=4096)
def _a_label(domain: str) -> str:
    try:
        ascii_domain = idna.encode(domain, uts46=True, transitional=False).decode()
    except (idna.IDNAError, UnicodeError):
        raise Refused("the domain of the address is not a valid one") from None
    return ascii_domain


@lru_cache(maxsize=256)  # asked twice for each message: for the envelope, and for the header
def envelope_address(address: str) -> str:
    """The address as SMTP carries it, its domain as A-labels. Raises Refused when it cannot be.

    Its local part may hold letters of any script (RFC 6532): such mail needs a relay with SMTPUTF8.
    """
    local, at, domain = address.strip().rpartition("@")
    if at and not domain.isascii():
        domain = _a_label(domain)
    if not at or not _DOMAIN.fullmatch(domain):
        raise Refused("the address has no valid domain")
    if not local.isascii():
        local = _international(local)
    elif not _LOCAL.fullmatch(local) or len(local) > LONGEST_LOCAL:
        raise Refused("the local part of the address is not a valid one")
    if len(local.encode()) + 1 + len(domain) > LONGEST_ADDRESS:
        raise Refused(f"the address is longer than {LONGEST_ADDRESS} characters")
    return f"{local}@{domain}"


def _international(local: str) -> str:
    """A local part beyond ASCII, composed (RFC 6532, 3.1): letters, marks, digits and symbols only."""
    local = unicodedata.normalize("NFC", local)
    ascii_part = "".join(letter if letter.isascii() else "x" for letter in local)
    is_seen = all(unicodedata.category(letter)[0] not in "CZ" for letter in local)
    if not is_seen or not _LOCAL.fullmatch(ascii_part) or len(local.encode()) > LONGEST_LOCAL:
        raise Refused("the local part of the address is not a valid one")
    return local


def _is_plain(value: str) -> bool:
    # A reader would decode an encoded word that somebody typed; encoding it keeps it as typed.
    return _PLAIN.fullmatch(value) is not None and "=?" not in value


def _folded(name: str, value: str) -> str | None:
    lines, room = [""], LINE - len(name) - 2
    for word in value.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if len(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
            room = LINE - 1
    is_short = all(0 < len(line) < LINE for line in lines)
    return "\r\n ".join(lines) if is_short else None


def _encoded_words(value: str, *, first: int) -> str:
    """RFC 2047 words of whole characters; the first line has less room, for the header's name."""
    encoded = value.encode("utf-8", "replace")
    words, start, room = [], 0, min(WORD_BYTES, (first - 12) // 4 * 3)
    while len(encoded) - start > room:
        end = start + room
        while encoded[end] & 0xC0 == 0x80:  # the middle of a character
            end -= 1
        words.append(encoded[start:end])
        start, room = end, WORD_BYTES
    words.append(encoded[start:])
    return "\r\n ".join(f"=?utf-8?B?{base64.b64encode(word).decode()}?=" for word in words)
