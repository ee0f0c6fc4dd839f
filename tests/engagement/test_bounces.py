from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engagement.bounces import read_report, recipient
from pipelines.message.tokens import Purpose, Token, sign, sign_return_path

KEY = b"k" * 32
BESIDE = Path(__file__).parents[3] / "shared" / "data"
REAL = Path(os.environ.get("LETTERMILL_TEST_DATA", BESIDE)) / "bounces"
REPORT = """\
From: Mail Delivery System <mailer-daemon@mx.example>
To: {to}
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

It did not work.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; nobody@mx.example
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {diagnostic}

--b
Content-Type: text/rfc822-headers

From: shop@shop.example
List-Unsubscribe: <https://mail.shop.example/u/{token}>
--b--
"""


def report(**changes: str) -> bytes:
    values = {
        "to": "bounces@shop.example",
        "action": "failed",
        "status": "5.1.1",
        "diagnostic": "550 5.1.1 no such user",
        "token": sign(Token(Purpose.UNSUBSCRIBE, "spring", 7), KEY),
    }
    return REPORT.format(**(values | changes)).encode()


def test_a_mailbox_that_is_not_there_bounces_hard() -> None:
    read = read_report(report())

    assert read is not None
    assert (read.status, read.is_hard) == ("5.1.1", True)


@pytest.mark.parametrize(
    ("status", "diagnostic"),
    [
        ("5.2.2", "552 5.2.2 mailbox full"),
        ("5.7.1", "550 5.7.1 looks like spam"),
        ("4.4.7", "delivery time expired"),
        ("5.0.0", "554 refused"),
    ],
    ids=["full", "policy", "expired", "vague"],
)
def test_any_other_failure_is_soft(status: str, diagnostic: str) -> None:
    read = read_report(report(status=status, diagnostic=diagnostic))

    assert read is not None
    assert not read.is_hard


def test_a_diagnostic_is_more_exact_than_a_vague_status() -> None:
    read = read_report(report(status="5.0.0", diagnostic="550-5.1.1 The account does not exist"))

    assert read is not None
    assert read.is_hard


@pytest.mark.parametrize("action", ["delayed", "odd"])
def test_a_report_of_neither_failure_nor_delivery_says_nothing(action: str) -> None:
    assert read_report(report(action=action)) is None


def test_the_return_path_tells_who_it_was_even_in_capitals() -> None:
    local = sign_return_path("spring", 9, KEY).upper()
    read = read_report(report(to=f"{local}@bounce.shop.example", token="x" * 30))

    assert read is not None
    token = recipient(read, ["autumn", "spring"], KEY)
    assert token is not None
    assert (token.campaign, token.contact_id) == ("spring", 9)


def test_the_returned_unsubscribe_link_tells_who_it_was() -> None:
    read = read_report(report())

    assert read is not None
    token = recipient(read, [], KEY)
    assert token is not None
    assert (token.campaign, token.contact_id) == ("spring", 7)


def test_a_report_that_nothing_of_ours_signs_is_about_nobody() -> None:
    read = read_report(report(token=sign(Token(Purpose.UNSUBSCRIBE, "spring", 7), b"other" * 8)))

    assert read is not None
    assert recipient(read, ["spring"], KEY) is None


@given(st.binary(max_size=400), st.integers(0, 1200), st.integers(0, 200))
def test_reading_never_raises(noise: bytes, at: int, cut: int) -> None:
    whole = report()

    read_report(noise)
    read_report(whole[:at] + noise + whole[at + cut :])


@pytest.mark.real_data
def test_reading_never_raises_on_real_bounces() -> None:
    samples = list(REAL.glob("*.txt"))

    found = [read_report(path.read_bytes()) for path in samples]

    assert len(found) == len(samples) > 100
    assert any(report is not None and report.is_hard for report in found)


@pytest.mark.parametrize("action", ["delivered", "Relayed", "expanded"])
def test_a_relay_s_word_that_it_took_a_message_is_a_delivery_and_no_bounce(action: str) -> None:
    read = read_report(report(action=action, status="2.0.0", diagnostic="250 2.0.0 ok"))

    assert read is not None
    assert (read.is_delivered, read.is_hard, read.status) == (True, False, "2.0.0")


def test_a_report_of_a_delivery_and_a_failure_is_of_a_failure() -> None:
    both = report().replace(
        b"Final-Recipient",
        b"Final-Recipient: rfc822; list@mx.example\nAction: delivered\n\nFinal-Recipient",
    )
    read = read_report(both)

    assert read is not None
    assert (read.is_delivered, read.is_hard) == (False, True)


def test_a_delivery_is_never_a_hard_bounce_whatever_status_it_names() -> None:
    read = read_report(report(action="delivered"))

    assert read is not None
    assert not read.is_hard


@pytest.mark.parametrize("written", [str, lambda local: local.replace("+", "+2B")])
def test_a_report_that_names_only_the_envelope_is_known_by_our_signature_there(
    written: Callable[[str], str],
) -> None:
    local = sign_return_path("spring", 7, KEY)
    raw = report(action="relayed", token="none").replace(
        b"Reporting-MTA", b"Original-Envelope-Id: " + written(local).encode() + b"\nReporting-MTA"
    )

    read = read_report(raw)

    assert "+" in local
    assert read is not None
    token = recipient(read, ["spring"], KEY)
    assert token is not None
    assert (token.campaign, token.contact_id) == ("spring", 7)
