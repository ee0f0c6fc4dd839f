"""HMAC-SHA-256 (RFC 2104) for values that are many and short: the key is taken in once.

A message carries half a dozen of these; the one-shot function of `hmac` costs half as much again, most of
it for looking up the algorithm and taking in the key each time.
"""

from __future__ import annotations

import hmac
from functools import lru_cache


def mac(key: bytes, message: bytes) -> bytes:
    """The 32 bytes that only who has the key can make of a message."""
    begun = _begun(key).copy()
    begun.update(message)
    return begun.digest()


@lru_cache(maxsize=16)  # a home has a handful
def _begun(key: bytes) -> hmac.HMAC:
    """With the key in it, and nothing else yet."""
    return hmac.new(key, digestmod="sha256")
