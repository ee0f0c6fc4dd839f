"""The composer against the standard library's parser."""

from __future__ import annotations

import email
import email.policy
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.delivery.stuffing import on_the_wire
from pipelines.errors import Refused
from pipelines.message.headers import encode_text, mailbox, one_line
from pipelines.message.mime import Inline, Ready, compose

# A line that is nearly full, with a blank or a dot at its end.
FULL = st.builds(
    lambda length, end: "w" * length + end,
    st.integers(70, 80),
    st.text(st.sampled_from(" \t\r\n.="), max_size=6),
)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
TEXT = ANY | st.lists(FULL, max_size=3).map("".join)


def bodies(raw: bytes) -> list[str]:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    return [
        part.get_payload(decode=True).decode()
        for part in message.walk()
        if part.get_content_maintype() == "text"
    ]


def kept(body: str) -> str:
    """What must arrive: everything but control characters, with one kind of line end."""
    body = body.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        letter for letter in body if (letter >= " " and letter != "\x7f") or letter in "\n\t"
    )


@given(text=TEXT, html=TEXT)
def test_bodies_arrive_as_they_were(text, html):
    raw = compose([], text, html).raw()

    arrived = bodies(raw)
    assert max(map(len, raw.split(b"\r\n"))) <= 76
    assert [body.replace("\r\n", "\n") for body in arrived] == [kept(text), kept(html)]


DOTTED = st.text(st.sampled_from(".\r\n =aé漢"), max_size=400)


@given(text=DOTTED, html=DOTTED)
def test_what_is_composed_needs_no_dot_doubled_and_no_line_end_mended(text, html):
    raw = compose([("To", "ada@shop.example")], text, html).raw()

    assert isinstance(raw, Ready)
    assert on_the_wire(bytes(raw)) == raw


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("plain words\n" * 20, "quoted-printable"), ("слова\n" * 20, "base64")],
    ids=["few to encode", "most to encode"],
)
def test_the_shorter_encoding_is_chosen(text, encoding):
    message = email.message_from_bytes(compose([], text, "x").raw())

    assert message.get_payload(0)["Content-Transfer-Encoding"] == encoding


@given(st.text(max_size=600))
def test_a_subject_is_folded_encoded_and_read_back(value):
    subject = one_line(value, 300)

    encoded = encode_text("Subject", subject)

    assert encoded.isascii()
    assert all(len(line) <= 76 for line in f"Subject: {encoded}".split("\r\n"))
    assert str(make_header(decode_header(encoded.replace("\r\n ", " ")))) == subject


@given(st.text(max_size=300))
def test_a_display_name_never_reaches_the_address(name):
    value = mailbox(name, "ada@shop.example")

    raw = compose([("To", value)], "", "").raw()
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert [each.addr_spec for each in message["To"].addresses] == ["ada@shop.example"]
    assert all(len(line) <= 76 for line in f"To: {value}".split("\r\n"))


@pytest.mark.parametrize(
    "value", ["a\nb", "a\r\nb", "a\r\n b\r\n\r\nc", "a\r\n ", "é", "a\0", "x" * 1000]
)
def test_a_value_that_is_not_one_header_is_refused(value):
    with pytest.raises(Refused):
        compose([("X-Any", value)], "", "")


def test_a_picture_stands_beside_the_html_that_names_it():
    raw = compose(
        [],
        "text",
        '<img src="cid:one@mill.example">',
        [Inline("one@mill.example", b"\x89PNG" * 99)],
    ).raw()

    message = email.message_from_bytes(raw, policy=email.policy.default)
    related = message.get_payload(1)
    picture = related.get_payload(1)
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
    ]
    assert picture["Content-ID"] == "<one@mill.example>"
    assert picture.get_content() == b"\x89PNG" * 99
