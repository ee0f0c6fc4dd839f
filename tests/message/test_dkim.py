"""DKIM: what we sign, dkimpy reads; whoever changes what people see breaks it."""

from __future__ import annotations

import quopri
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st

from pipelines.campaigns.brands import Signing, load_brand
from pipelines.errors import SettingInvalid
from pipelines.message.dkim import DkimKey, Signer, relaxed
from pipelines.message.dkim_keys import (
    activate,
    brand_keys,
    listed,
    make_key,
    record,
    signing_keys,
)
from pipelines.message.mime import composed, quoted_part, quoted_printable, text_part
from pipelines.message.quoted import encoded

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
DOMAIN = "mill.example"
HEADERS = [
    ("From", "The Paper Mill <letters@mill.example>"),
    ("To", "Ada <ada@shop.example>"),
    (
        "Subject",
        "Long words that are folded here, because a line is short\r\n and a subject long",
    ),
    ("Date", "Mon, 02 Nov 2026 12:00:00 +0000"),
    ("Message-ID", "<1@mill.example>"),
    ("List-Unsubscribe", "<https://edge.mill.example/u/1>"),
    ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    ("List-Id", "<news.lists.mill.example>"),
    ("Feedback-ID", "autumn:news:mill:papermill"),
]
LINES = st.lists(st.text(alphabet=" \tab=.é\u2028", max_size=20), max_size=12).map("\n".join)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[DkimKey, ...]:
    folder = tmp_path_factory.mktemp("keys")
    for selector, kind in (("r1", "rsa"), ("e1", "ed25519")):
        make_key(folder, DOMAIN, selector, kind=kind)
        activate(folder, DOMAIN, selector)
    return signing_keys(folder, DOMAIN)


def published_record(key: DkimKey) -> str:
    """A record as DNS gives it: the strings of the zone file joined."""
    return record(key).replace('" "', "").strip('"')


Verify = Callable[[bytes], list[bool]]


@pytest.fixture
def verified(keys: tuple[DkimKey, ...]) -> Verify:
    """Whether each signature of a message holds, as dkimpy sees it with our published records."""
    records = {
        f"{key.selector}._domainkey.{key.domain}.".encode(): published_record(key) for key in keys
    }

    def published(name: bytes, **_: object) -> bytes:
        return records[bytes(name)].encode()

    def run(raw: bytes) -> list[bool]:
        read, found = dkim.DKIM(raw), []
        for number in range(len(keys)):
            try:
                found.append(bool(read.verify(number, dnsfunc=published)))
            except dkim.ValidationError:
                found.append(False)
        return found

    return run


def signed(keys: tuple[DkimKey, ...], text: str = "Hello,\n\nthis is plain.\n") -> bytes:
    message = composed(HEADERS, text_part("plain", text), text_part("html", f"<p>{text}</p>"))
    return Signer(keys).signed(message, NOON)


def test_both_signatures_are_read_with_the_records_that_were_published(
    keys: tuple[DkimKey, ...], verified: Verify
):
    raw = signed(keys)

    assert verified(raw) == [True, True]
    assert [line for line in raw.split(b"\r\n") if len(line) > 78] == []


def test_an_address_beyond_ascii_is_signed_as_it_stands(
    keys: tuple[DkimKey, ...], verified: Verify
):
    headers = [(name, "用户@shop.example" if name == "To" else value) for name, value in HEADERS]
    message = composed(headers, text_part("plain", "Hello"), text_part("html", "<p>Hello</p>"))

    raw = Signer(keys).signed(message, NOON)

    assert verified(raw) == [True, True]
    assert verified(raw.replace("用户".encode(), "用戸".encode())) == [False, False]


def by_opendkim(raw: bytes, keys: tuple[DkimKey, ...], folder: Path) -> list[str]:
    """What OpenDKIM says of each signature: pass or fail."""
    lines = [f"{key.selector}._domainkey.{key.domain} {published_record(key)}\n" for key in keys]
    (folder / "records").write_text("".join(lines))
    (folder / "conf").write_text(f"Mode v\nTestPublicKeys {folder}/records\nSyslog no\n")
    (folder / "message").write_bytes(raw)
    command = ["/usr/sbin/opendkim", "-x", f"{folder}/conf", "-t", f"{folder}/message", "-vv"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return re.findall(r"dkim=(\w+)", told.stdout)


# Where Debian's package is installed; dkimpy reads every message above.
@pytest.mark.parametrize("keys_in", ["keys"] if Path("/usr/sbin/opendkim").exists() else [])
def test_opendkim_reads_both_signatures_too_and_sees_a_changed_body(
    request: pytest.FixtureRequest, tmp_path: Path, keys_in: str
):
    keys = request.getfixturevalue(keys_in)
    raw = signed(keys)

    assert by_opendkim(raw, keys, tmp_path) == ["pass", "pass"]
    assert by_opendkim(raw.replace(b"is plain", b"is plane"), keys, tmp_path) == ["fail", "fail"]


def test_rsa_comes_first_for_those_who_read_only_one(keys: tuple[DkimKey, ...]):
    algorithms = [
        line.split(b"a=")[1].split(b";")[0]
        for line in signed(keys).split(b"\r\n")
        if b"v=1" in line
    ]

    assert algorithms == [b"rsa-sha256", b"ed25519-sha256"]


TEXTS = st.one_of(LINES, st.text(st.characters(exclude_categories=["Cs"]), max_size=200))


@given(text=TEXTS, quoted=st.booleans())
def test_every_body_that_is_composed_is_what_dkimpy_makes_of_it(text: str, *, quoted: bool):
    part = quoted_part("html", encoded(text)) if quoted else text_part("html", text)
    body = composed(HEADERS, text_part("plain", text), part).body

    assert body == bytes(Relaxed.canonicalize_body(body))


@given(text=TEXTS)
def test_text_is_read_as_it_was_however_its_white_space_runs(text: str):
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = quoted_printable(plain.encode()).split("\r\n")

    assert quopri.decodestring("\n".join(lines).encode()).decode() == plain
    assert max(map(len, lines)) <= 76


@given(value=st.text(alphabet=" \tab\n", max_size=40))
def test_a_header_is_made_canonical_as_dkimpy_does(value: str):
    folded = value.strip().replace("\n", "\r\n ")
    [(_, theirs)] = Relaxed.canonicalize_headers([(b"X", f" {folded}\r\n".encode())])

    assert f"{relaxed(folded)}\r\n".encode() == bytes(theirs)


@pytest.mark.parametrize(
    "added",
    [
        b"Subject: Another", b"From: somebody@else.example", b"To: everybody@else.example",
        b"List-Unsubscribe: <https://else.example>", b"Reply-To: thief@else.example",
        b"Cc: everybody@else.example", b"List-Unsubscribe-Post: x", b"Feedback-ID: x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["above", "below"])
def test_a_header_that_somebody_adds_breaks_every_signature(
    keys: tuple[DkimKey, ...], verified: Verify, added: bytes, place: str
):
    raw = signed(keys)
    head, body = raw.split(b"\r\n\r\n", 1)
    changed = added + b"\r\n" + head if place == "above" else head + b"\r\n" + added

    assert verified(changed + b"\r\n\r\n" + body) == [False, False]


def test_a_changed_body_breaks_every_signature(keys: tuple[DkimKey, ...], verified: Verify):
    assert verified(signed(keys).replace(b"this is plain", b"this is plane")) == [False, False]


# Keys


def test_a_new_key_signs_nothing_until_it_is_activated(tmp_path: Path):
    make_key(tmp_path, DOMAIN, "n1", kind="ed25519")
    before = signing_keys(tmp_path, DOMAIN)

    activate(tmp_path, DOMAIN, "n1")

    assert before == ()
    assert [key.selector for key in signing_keys(tmp_path, DOMAIN)] == ["n1"]


def test_activating_a_key_retires_the_one_of_its_kind_and_leaves_the_other(tmp_path: Path):
    for selector, kind in (("old", "ed25519"), ("rsa", "rsa"), ("new", "ed25519")):
        make_key(tmp_path, DOMAIN, selector, kind=kind)
    activate(tmp_path, DOMAIN, "old")
    activate(tmp_path, DOMAIN, "rsa")

    retired = activate(tmp_path, DOMAIN, "new")

    assert retired == ["old"]
    states = {key.selector: state for state, key in listed(tmp_path)}
    assert states == {"old": "old", "rsa": "active", "new": "active"}


def test_a_selector_is_never_used_again(tmp_path: Path):
    make_key(tmp_path, DOMAIN, "one", kind="ed25519")

    with pytest.raises(SettingInvalid, match=r"is taken by one\.next"):
        make_key(tmp_path, DOMAIN, "one", kind="ed25519")


def test_a_parent_s_key_signs_for_its_child_and_a_child_s_own_goes_before(tmp_path: Path):
    for domain, selector in ((DOMAIN, "parent"), ("news.mill.example", "child")):
        make_key(tmp_path, domain, selector, kind="ed25519")
        activate(tmp_path, domain, selector)

    found = {name: signing_keys(tmp_path, name) for name in ("a.mill.example", "news.mill.example")}

    assert [key.domain for key in found["a.mill.example"]] == [DOMAIN]
    assert [key.domain for key in found["news.mill.example"]] == ["news.mill.example"]
    assert signing_keys(tmp_path, "else.example") == ()


def pem(bits: int) -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    encoded = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return encoded.decode()


def test_a_key_may_come_from_the_environment(tmp_path: Path):
    given = {"LETTERMILL_DKIM_MILL_EXAMPLE__ENV_1": pem(2048)}

    [key] = signing_keys(tmp_path, DOMAIN, given)

    assert (key.domain, key.selector, key.algorithm) == (DOMAIN, "env-1", "rsa-sha256")
    assert signing_keys(tmp_path, "mill", given) == signing_keys(tmp_path, "example", given) == ()


@pytest.mark.parametrize(
    ("content", "told"), [(pem(1024), "has 1024 bits"), ("no key", "is no private key")]
)
def test_a_key_that_cannot_be_used_is_named_and_never_shown(
    tmp_path: Path, content: str, told: str
):
    name = "LETTERMILL_DKIM_MILL_EXAMPLE__WEAK"

    with pytest.raises(SettingInvalid) as refused:
        signing_keys(tmp_path, DOMAIN, {name: content})

    assert f"{name}   {told}" in str(refused.value)
    assert content.strip().splitlines()[-1] not in str(refused.value)


@pytest.mark.parametrize(
    ("domain", "selector"), [("../up", "a"), ("mill.example", "a/b"), ("x", "-")]
)
def test_a_name_that_cannot_be_published_makes_no_key(tmp_path: Path, domain: str, selector: str):
    with pytest.raises(SettingInvalid, match="cannot be published"):
        make_key(tmp_path, domain, selector)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("named", "signs"),
    [
        (None, [("mill.example", "a1")]),
        (
            Signing(domain="mail.mill.example"),
            [("mail.mill.example", each) for each in ("b1", "b2")],
        ),
        (Signing(domain="mail.mill.example", selectors=["b2"]), [("mail.mill.example", "b2")]),
    ],
)
def test_a_brand_is_signed_by_the_keys_it_names(tmp_path: Path, project: Path, named, signs):
    environment = {"LETTERMILL_DKIM_MAIL_MILL_EXAMPLE__B2": pem(2048)}
    for domain, selector in ((DOMAIN, "a1"), ("mail.mill.example", "b1")):
        make_key(tmp_path, domain, selector, kind="ed25519")
        activate(tmp_path, domain, selector)
    brand = load_brand(project, "mill").model_copy(update={"dkim": named})

    found = brand_keys(brand, tmp_path, environment)

    assert [(key.domain, key.selector) for key in found] == signs


@pytest.mark.parametrize("selectors", [[], ["gone"], ["a1", "gone"]])
def test_a_brand_whose_key_is_not_there_is_not_sent_unsigned(
    tmp_path: Path, project: Path, selectors: list[str]
):
    if selectors:
        make_key(tmp_path, DOMAIN, "a1", kind="ed25519")
        activate(tmp_path, DOMAIN, "a1")
    named = Signing(domain=DOMAIN, selectors=selectors)
    brand = load_brand(project, "mill").model_copy(update={"dkim": named})

    with pytest.raises(SettingInvalid, match="is to be signed for") as refused:
        brand_keys(brand, tmp_path)

    assert f"the home has not {'gone' if selectors else 'any key'}" in str(refused.value)
