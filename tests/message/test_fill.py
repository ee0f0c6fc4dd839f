"""What one person gets: escaped, signed, tracked only if they agreed, no foreign header ever."""

from __future__ import annotations

import email
import email.policy
import re
import unicodedata
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.campaigns.campaign import load
from pipelines.errors import Refused
from pipelines.message import tokens
from pipelines.message.compile import compile_message
from pipelines.message.fill import Filler, Recipient, message_id
from pipelines.message.tokens import Purpose, Token
from pipelines.settings import CHECKOUT

KEY = b"k" * 32
URL = "https://edge.mill.example"
NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
HEADERS = [
    "From",
    "Reply-To",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Id",
    "Feedback-ID",
    "MIME-Version",
    "Content-Type",
]
NAUGHTY = st.one_of(
    st.text(st.characters(), max_size=80),
    st.text(st.sampled_from('\r\n\0\t\x85\u2028\u202e=?_ :<>"\\,;@éא😀a'), max_size=80),
    st.sampled_from(
        [
            "=?utf-8?q?hi=0D=0AX-Inj:_1?=",
            "=?utf-8?b?DQpYLUluajogMQ==?=",
            "a\r\nBcc: everybody@shop.example",
            "a\r\n\r\n<html>",
            "x" * 100_000,
            "\ud800",
            "{{ 7 * 7 }}",
            "[[link:0]]",
        ]
    ),
)


def parsed(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def filler() -> Filler:
    message = compile_message(load(CHECKOUT, "autumn-thanks"), project=CHECKOUT)
    return Filler(message, public_url=URL, campaign="autumn-thanks", link_key=KEY)


def recipient(**changed: object) -> Recipient:
    fields = {"first_name": "Ada", "last_name": "Archer", "city": "Oslo", "attributes": {}}
    known = {
        "contact_id": 1,
        "address": "ada@shop.example",
        "variant": "thanks",
        "is_tracked": True,
        "date": NOON,
    }
    own = {name: value for name, value in changed.items() if name in known}
    rest = {name: value for name, value in changed.items() if name not in known}
    return Recipient(**{**known, **own, "fields": {**fields, **rest}})  # type: ignore[arg-type]


def test_every_header_is_there_once_and_in_order(filler):
    message = parsed(filler.fill(recipient()).raw)

    assert message.keys() == HEADERS
    assert message["From"] == "The Paper Mill <letters@mill.example>"
    assert message["To"] == "Ada Archer <ada@shop.example>"
    assert message["List-Id"] == "News and stories <news.lists.mill.example>"
    assert message["Feedback-ID"] == "autumn-thanks:news:mill:papermill"
    assert parsedate_to_datetime(message["Date"]) == NOON


def test_one_click_unsubscribe_is_one_unbroken_line(filler):
    filled = filler.fill(recipient(is_tracked=False))

    line = next(line for line in filled.raw.split(b"\r\n") if line.startswith(b"List-Unsubscribe:"))
    found = re.fullmatch(rb"List-Unsubscribe: <https://edge\.mill\.example/u/([\w-]+)>", line)
    assert found is not None
    assert tokens.read(found[1].decode(), Purpose.UNSUBSCRIBE, KEY) == Token(
        Purpose.UNSUBSCRIBE, "autumn-thanks", 1
    )
    assert f"{URL}/u/{found[1].decode()}" in filled.html
    assert f"{URL}/u/{found[1].decode()}" in filled.text


def test_a_tracked_contact_gets_signed_links_and_a_pixel(filler):
    filled = filler.fill(recipient())

    clicks = re.findall(rf"{URL}/c/([\w-]+)/(\d+)", filled.html)
    pixel = re.search(rf'src="{URL}/o/([\w-]+)\.gif"', filled.html)
    assert {number for _, number in clicks} == {"0", "1", "2", "3", "4"}
    assert tokens.read(clicks[0][0], Purpose.CLICK, KEY) == Token(Purpose.CLICK, "autumn-thanks", 1)
    assert pixel is not None
    assert tokens.read(pixel[1], Purpose.OPEN, KEY) is not None
    assert "https://shop.example" not in filled.html + filled.text


def test_an_untracked_contact_gets_plain_links_and_no_pixel(filler):
    filled = filler.fill(recipient(is_tracked=False))

    assert "/c/" not in filled.html + filled.text
    assert "/o/" not in filled.html
    assert "<img" not in filled.html
    assert 'href="https://shop.example/winter-papers?from=autumn-thanks"' in filled.html


def test_a_value_is_escaped_in_html_and_as_it_is_in_text_and_subject(filler):
    filled = filler.fill(recipient(first_name="<b>O'Neil & Co"))

    assert "&lt;b&gt;O&#39;Neil &amp; Co" in filled.html
    assert "Thank you, <b>O'Neil & Co" in filled.text
    assert filled.subject.startswith("<b>O'Neil & Co, thank you")


def test_a_contact_without_a_name_is_greeted_without_one(filler):
    filled = filler.fill(recipient(first_name=None, last_name=None))

    assert filled.subject == "Hello, thank you for this autumn"
    assert parsed(filled.raw)["To"] == "ada@shop.example"


def test_a_message_id_is_the_same_for_every_attempt_and_another_for_everyone_else(filler):
    ids = [filler.fill(recipient(contact_id=each)).message_id for each in (1, 1, 2)]

    assert ids[0] == ids[1] != ids[2]
    assert ids[0] == message_id("autumn-thanks", 1, KEY, "mill.example")
    assert re.fullmatch(r"<[0-9a-f]{32}@mill\.example>", ids[0])


@pytest.mark.parametrize(
    "address",
    [
        "ada@shop.example\r\nBcc: bert@shop.example",
        "ada",
        "ada@shop",
        "ada@shop..example",
        "ada bert@shop.example",
        "ädä bert@shop.example",
        "ädä\u202e@shop.example",
        "ädä\u2028@shop.example",
        "ädä\x85@shop.example",
        "ädä,bert@shop.example",
        pytest.param("\ud800@shop.example", id="a surrogate"),
        f"{'ä' * 33}@shop.example",
        "ada@shop.example, bert@shop.example",
        "<ada@shop.example>",
        f"{'a' * 65}@shop.example",
        f"a@{'b' * 250}.example",
        "a@-é.example",
        "",
    ],
)
def test_an_address_that_cannot_be_mailed_is_refused(filler, address):
    with pytest.raises(Refused) as refused:
        filler.fill(recipient(address=address))

    assert "shop.example" not in str(refused.value)


def test_an_international_domain_travels_as_a_labels(filler):
    message = parsed(filler.fill(recipient(address="Ada@MÜNCHEN.example")).raw)

    assert message["To"].addresses[0].addr_spec == "Ada@xn--mnchen-3ya.example"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=NAUGHTY,
    local=st.text(st.sampled_from("äéß用户αβ.a1+-\u0301"), min_size=1, max_size=20),
)
def test_an_address_beyond_ascii_stands_as_it_is_and_everything_else_is_encoded(
    filler, name, local
):
    try:
        raw = filler.fill(recipient(address=f"{local}@shop.example", first_name=name)).raw
    except Refused:
        assert local.startswith(".") or local.endswith(".") or ".." in local
        return

    message = email.message_from_bytes(raw, policy=email.policy.SMTPUTF8)
    assert message.keys() == HEADERS
    written = unicodedata.normalize("NFC", local)
    found = message["To"].addresses[0].addr_spec.encode("utf-8", "surrogateescape").decode()
    assert found == f"{written}@shop.example"
    others = [line for line in raw.split(b"\r\n") if not line.isascii()]
    assert len(others) == (not written.isascii())


def test_a_contact_the_template_fails_for_is_refused_without_saying_their_value(compiled, fill):
    body = "<mj-section><mj-column><mj-text>{{ birth_on.year }}</mj-text></mj-column></mj-section>"
    message = compiled().model_copy(update={"html": body})

    with pytest.raises(Refused, match="fails for this contact: UndefinedError"):
        fill(message, birth_on="secret")


def test_a_variant_nobody_wrote_is_refused(filler):
    with pytest.raises(Refused, match="no variant 'third'"):
        filler.fill(recipient(variant="third"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=NAUGHTY, last=NAUGHTY, city=NAUGHTY, is_tracked=st.booleans())
def test_no_value_becomes_a_header_or_breaks_the_message(filler, first, last, city, is_tracked):
    person = recipient(first_name=first, last_name=last, city=city, is_tracked=is_tracked)

    filled = filler.fill(person)

    message = parsed(filled.raw)
    assert message.keys() == HEADERS
    assert str(make_header(decode_header(email.message_from_bytes(filled.raw)["Subject"]))) == (
        filled.subject
    )
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    assert message["To"].addresses[0].addr_spec == "ada@shop.example"
    assert not [defect for part in message.walk() for defect in part.defects]
    lines = filled.raw.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not [line for line in lines if b"\n" in line or b"\r" in line or b"\0" in line]
    assert filled.raw.isascii()
