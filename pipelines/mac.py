"""HMAC-SHA-256 (RFC 2104) for values that are many and short: the key is taken in once.

A message carries half a dozen of these; OpenSSL's own one-shot function costs two and a half times as
much, most of it for looking up the algorithm and taking in the key again.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

BLOCK = 64
_INNER, _OUTER = (
    bytes(each ^ 0x36 for each in range(256)),
    bytes(each ^ 0x5C for each in range(256)),
)


def mac(key: bytes, message: bytes) -> bytes:
    """The 32 bytes that only who has the key can make of a message."""
    inner, outer = _begun(key)
    within = inner.copy()
    within.update(message)
    whole = outer.copy()
    whole.update(within.digest())
    digest: bytes = whole.digest()
    return digest


@lru_cache(maxsize=16)  # a home has a handful
def _begun(key: bytes) -> tuple[Any, Any]:
    """Both states with the key in them."""
    block = (key if len(key) <= BLOCK else hashlib.sha256(key).digest()).ljust(BLOCK, b"\0")
    return hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))
