"""Sign a message with DKIM (RFC 6376, RFC 8463): relaxed/relaxed, one signature for each key.

Our own, because dkimpy signs 145 messages a second where OpenSSL makes 3,600 signatures. Knows headers
and a body as mime.py composes them; where keys lie is a matter of dkim_keys.py.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from pipelines.message.mime import Composed

SMALLEST_RSA = 2048
# Signed where they are there, and named once more than they are: whoever adds one breaks the signature.
OVERSIGNED = (
    "From", "To", "Cc", "Subject", "Date", "Reply-To", "Message-ID", "MIME-Version", "Content-Type",
    "List-Unsubscribe", "List-Unsubscribe-Post", "List-Id", "Feedback-ID",
)  # fmt: skip
# Of the list of names in one line; what stands before it takes the rest of 78.
LIST_CHARACTERS = 58
_FOLD = re.compile(r"[ \t\r\n]+")


@dataclass(frozen=True)
class DkimKey:
    """A private key, and where its public half stands: selector._domainkey.domain."""

    domain: str
    selector: str
    private: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        return "rsa-sha256" if isinstance(self.private, RSAPrivateKey) else "ed25519-sha256"

    def signature(self, signed: bytes) -> bytes:
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return self.private.sign(hashlib.sha256(signed).digest())  # RFC 8463: of the digest


class Signer:
    """Signs one message after another with the same keys, RSA first: not everybody reads the other."""

    def __init__(self, keys: Sequence[DkimKey]) -> None:
        self.keys = tuple(sorted(keys, key=lambda key: key.algorithm, reverse=True))

    def headers(self, headers: Sequence[tuple[str, str]], body: bytes, at: datetime) -> bytes:
        """The DKIM-Signature headers of a message, CRLF after each; they belong above all others.

        body  as relaxed canonicalisation has it, which mime.py's bodies are
        """
        found = {name.lower(): value for name, value in headers}
        named, signed = [], []
        for name in OVERSIGNED:
            key = name.lower()
            if key in found:
                named.append(name)
                signed.append(f"{key}:{relaxed(found[key])}\r\n")
            named.append(name)
        listed = _listed(tuple(named))
        content = "".join(signed)
        # What mime.py composes is its own relaxed form already.
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        about = f"t={int(at.timestamp())}; h={listed};\r\n bh={digest};\r\n b="
        return b"".join(self._signature(key, content, about) for key in self.keys)

    def signed(self, message: Composed, at: datetime) -> bytes:
        """The whole message, its signatures above all other headers."""
        return message.raw(self.headers(message.headers, message.body, at))

    def _signature(self, key: DkimKey, content: str, about: str) -> bytes:
        value = (
            f"v=1; a={key.algorithm}; c=relaxed/relaxed; d={key.domain};\r\n"
            f" s={key.selector}; {about}"
        )
        signed = f"{content}dkim-signature:{relaxed(value)}".encode()
        signature = base64.b64encode(key.signature(signed)).decode()
        lines = "\r\n ".join(signature[at : at + 72] for at in range(0, len(signature), 72))
        return f"DKIM-Signature: {value}{lines}\r\n".encode("ascii")


def relaxed(value: str) -> str:
    """A header's value as relaxed canonicalisation has it (RFC 6376, 3.4.2)."""
    # Most values have no fold, or ours: a space after each line end.
    if "\r\n" in value:
        value = value.replace("\r\n ", " ")
    if "  " in value or "\t" in value or "\n" in value:
        value = _FOLD.sub(" ", value)
    return value.strip(" ")


@lru_cache(maxsize=64)  # a campaign's messages carry the same headers
def _listed(names: tuple[str, ...]) -> str:
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) + 1 > LIST_CHARACTERS:
            lines.append("")
        lines[-1] += f"{name}:"
    return "\r\n ".join(lines).removesuffix(":")
