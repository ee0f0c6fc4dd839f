"""Where DKIM keys lie, and how one follows another without a message unsigned or unreadable.

    keys/dkim/<domain>/<selector>.next.pem   made, its DNS record to be published
    keys/dkim/<domain>/<selector>.pem        signs; one for each algorithm
    keys/dkim/<domain>/<selector>.old.pem    signs no more; its record stays until retries are over

A key may come from the environment instead, as PEM: LETTERMILL_DKIM_<DOMAIN>__<SELECTOR>, in capitals
with `_` for dots and hyphens. It signs beside those in files.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from pipelines.campaigns.brands import Brand
from pipelines.errors import Problem, SettingInvalid
from pipelines.message.dkim import SMALLEST_RSA, DkimKey, Signer
from pipelines.settings import named_secrets

FOLDER = Path("dkim")
ENVIRONMENT = "LETTERMILL_DKIM_"
NEXT, ACTIVE, OLD = ".next.pem", ".pem", ".old.pem"
DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
SELECTOR = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# A TXT record is made of strings of at most so many characters.
TXT_CHARACTERS = 255


def signing_keys(
    keys: Path, domain: str, environment: Mapping[str, str] | None = None
) -> tuple[DkimKey, ...]:
    """The keys that sign for an address of this domain: its own, or the nearest parent's.

    keys  the home's folder of keys

    DMARC lets a parent sign for its children (relaxed alignment). None where there are no keys.
    Raises SettingInvalid when one cannot be used.
    """
    environment = named_secrets(ENVIRONMENT, environment)
    labels = domain.lower().split(".")
    for start in range(len(labels) - 1):
        parent = ".".join(labels[start:])
        found = [*_from_files(keys, parent), *_from_environment(parent, environment)]
        if found:
            return tuple(found)
    return ()


def brand_keys(
    brand: Brand, keys: Path, environment: Mapping[str, str] | None = None
) -> tuple[DkimKey, ...]:
    """The keys that sign for a brand: those it names, else those of its sender's domain.

    Raises SettingInvalid when it names one that is not there: unsigned is not what it asked for.
    """
    named = brand.dkim
    if named is None:
        return signing_keys(keys, brand.sender_address.rpartition("@")[2], environment)
    environment = named_secrets(ENVIRONMENT, environment)
    known = [*_from_files(keys, named.domain), *_from_environment(named.domain, environment)]
    found = [each for each in known if not named.selectors or each.selector in named.selectors]
    missing = sorted({*named.selectors} - {each.selector for each in found})
    if found and not missing:
        return tuple(found)
    lacking = ", ".join(missing) or "any key"
    raise SettingInvalid(
        f"brand {brand.name} is to be signed for {named.domain}, and this home cannot",
        [Problem("dkim", f"the home has not {lacking} of {named.domain} that signs")],
        do=f"Make and activate it: lettermill dkim new {named.domain} SELECTOR; or mend the brand's file",
    )


def signer_for(brand: Brand, keys: Path) -> Signer | None:
    """Who signs for a brand's mail; None when the home has no key for its sender's domain."""
    found = brand_keys(brand, keys)
    return Signer(found) if found else None


def make_key(keys: Path, domain: str, selector: str, *, kind: str = "rsa") -> DkimKey:
    """Make a key that signs once it is activated. Raises SettingInvalid; never overwrites one."""
    folder = _folder(keys, domain, selector)
    taken = [
        path.name
        for suffix in (NEXT, ACTIVE, OLD)
        if (path := folder / f"{selector}{suffix}").exists()
    ]
    if taken:
        raise SettingInvalid(
            f"the selector {selector} of {domain} is taken by {taken[0]}",
            do="A selector is used once: choose another, such as one with the month in it",
        )
    private = (
        ed25519.Ed25519PrivateKey.generate()
        if kind == "ed25519"
        else rsa.generate_private_key(public_exponent=65537, key_size=SMALLEST_RSA)
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for part in (keys / FOLDER, folder):
        part.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{selector}{NEXT}"
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(pem)
    return DkimKey(domain, selector, private)


def activate(keys: Path, domain: str, selector: str) -> list[str]:
    """Let a key sign from the next run on; returns the selectors that sign no more."""
    folder = _folder(keys, domain, selector)
    waiting = folder / f"{selector}{NEXT}"
    if not waiting.is_file():
        raise SettingInvalid(
            f"no key {selector} of {domain} waits to be used",
            do=f"See which there are: lettermill dkim list. Make one: lettermill dkim new {domain} SELECTOR",
        )
    key = _read(waiting, domain, selector)
    retired = [each for each in _from_files(keys, domain) if each.algorithm == key.algorithm]
    # The new one first: for a moment both sign, and no message goes out without a signature.
    waiting.rename(folder / f"{selector}{ACTIVE}")
    for each in retired:
        (folder / f"{each.selector}{ACTIVE}").rename(folder / f"{each.selector}{OLD}")
    return [each.selector for each in retired]


def listed(keys: Path) -> Iterator[tuple[str, DkimKey]]:
    """Every key in files with its state: next, active or old."""
    for path in sorted((keys / FOLDER).glob("*/*.pem")):
        selector, _, state = path.name.removesuffix(".pem").partition(".")
        yield state or "active", _read(path, path.parent.name, selector)


def record(key: DkimKey) -> str:
    """The TXT record to publish at selector._domainkey.domain, in strings as a zone file has them."""
    public = key.private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        kind = "rsa"
        content = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    else:
        kind = "ed25519"
        content = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    text = f"v=DKIM1; k={kind}; p={base64.b64encode(content).decode()}"
    parts = [text[at : at + TXT_CHARACTERS] for at in range(0, len(text), TXT_CHARACTERS)]
    return " ".join(f'"{part}"' for part in parts)


def _folder(keys: Path, domain: str, selector: str) -> Path:
    problems = []
    if not DOMAIN.fullmatch(domain):
        problems.append(Problem("domain", f"'{domain}' is no domain in small letters"))
    if not SELECTOR.fullmatch(selector):
        problems.append(Problem("selector", f"'{selector}' is not one of letters, digits, hyphens"))
    if problems:
        raise SettingInvalid("such a key cannot be published", problems, do="Name them otherwise")
    return keys / FOLDER / domain


def _from_files(keys: Path, domain: str) -> Iterator[DkimKey]:
    for path in sorted((keys / FOLDER / domain).glob("*.pem")):
        selector = path.name.removesuffix(ACTIVE)
        if "." not in selector:
            yield _read(path, domain, selector)


def _from_environment(domain: str, environment: Mapping[str, str]) -> Iterator[DkimKey]:
    prefix = ENVIRONMENT + re.sub(r"[.-]", "_", domain.upper()) + "__"
    for name in sorted(environment):
        selector = name.removeprefix(prefix).lower().replace("_", "-")
        if name.startswith(prefix) and SELECTOR.fullmatch(selector):
            yield _loaded(environment[name].encode(), domain, selector, name)


def _read(path: Path, domain: str, selector: str) -> DkimKey:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unusable(domain, selector, str(path), error.strerror or "cannot be read") from error
    return _loaded(content, domain, selector, str(path))


def _loaded(content: bytes, domain: str, selector: str, place: str) -> DkimKey:
    try:
        private = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unusable(domain, selector, place, "is no private key as PEM") from None
    if isinstance(private, rsa.RSAPrivateKey):
        if private.key_size < SMALLEST_RSA:
            told = f"has {private.key_size} bits; {SMALLEST_RSA} are the least"
            raise _unusable(domain, selector, place, told)
        return DkimKey(domain, selector, private)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return DkimKey(domain, selector, private)
    raise _unusable(domain, selector, place, "is neither RSA nor Ed25519")


def _unusable(domain: str, selector: str, place: str, told: str) -> SettingInvalid:
    return SettingInvalid(
        f"the DKIM key {selector} of {domain} cannot be used",
        [Problem(place, told)],
        do=f"Make another: lettermill dkim new {domain} SELECTOR",
    )
