"""What a relay is asked to report, and that nothing else can be put into it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.delivery.dsn import Report, of_message, of_recipient, xtext

ORCPT = b" ORCPT=rfc822;ada+2B1@shop.example"
OFFERS = b"250-scripted\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250 DSN"


@settings(deadline=None)
@given(text=st.text())
def test_a_parameter_is_one_word_that_says_the_text_again(text: str):
    found = xtext(text)

    assert re.fullmatch(r"([!-*,-<>-~]|\+[0-9A-F]{2})*", found)
    back = re.sub(rb"\+([0-9A-F]{2})", lambda each: bytes([int(each[1], 16)]), found.encode())
    assert back.decode() == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ada@shop.example", "ada@shop.example"),
        ("ada+news@shop.example", "ada+2Bnews@shop.example"),
        ("a=b", "a+3Db"),
        ("a b\r\n", "a+20b+0D+0A"),
    ],
)
def test_a_plus_an_equals_sign_and_what_is_not_printable_are_written_as_numbers(text, found):
    assert xtext(text) == found


@settings(deadline=None)
@given(local=st.text(min_size=1).filter(lambda text: not text.isascii()))
def test_an_address_beyond_ascii_is_one_word_too_and_says_the_address_again(local: str):
    word = of_recipient(f"{local}@shop.example", "NEVER").rpartition("ORCPT=utf-8;")[2]

    assert re.fullmatch(r"([!-*,-<>-\[\]-~]|\\x\{[0-9A-F]{2,6}\})*", word)
    back = re.sub(r"\\x\{([0-9A-F]+)\}", lambda each: chr(int(each[1], 16)), word)
    assert back == f"{local}@shop.example"


def test_a_messages_name_is_its_return_paths_own_part():
    assert of_message("b+k4d@bounce.mill.example") == " RET=HDRS ENVID=b+2Bk4d"


@pytest.mark.parametrize(
    ("report", "ehlo", "mail", "rcpt"),
    [
        (Report.FAILURE, OFFERS, b" RET=HDRS ENVID=bounce", b" NOTIFY=FAILURE,DELAY" + ORCPT),
        (
            Report.SUCCESS,
            OFFERS,
            b" RET=HDRS ENVID=bounce",
            b" NOTIFY=SUCCESS,FAILURE,DELAY" + ORCPT,
        ),
        (Report.NEVER, OFFERS, b"", b""),
        (Report.FAILURE, b"250-scripted\r\n250 PIPELINING", b"", b""),
    ],
    ids=["failures", "success too", "nothing", "not offered"],
)
def test_a_relay_that_offers_reports_is_asked_for_those_it_is_set_to(
    speaking: Any, hand_over: Any, report: Report, ehlo: bytes, mail: bytes, rcpt: bytes
):
    async def conversation() -> list[bytes]:
        async with speaking(ehlo=ehlo) as server:
            relay = replace(server.relay, report=report)
            await hand_over(relay, b"Subject: hi\r\n\r\nhi\r\n", "ada+1@shop.example")
            return list(server.commands)

    commands = asyncio.run(conversation())

    assert b"MAIL FROM:<bounce@mill.example>" + mail in commands
    assert b"RCPT TO:<ada+1@shop.example>" + rcpt in commands
