"""What the large providers say, what it means, and what of it may be kept."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.delivery.replies import (
    TEXT_CHARACTERS,
    Reply,
    ReplyClass,
    Then,
    classify,
    is_hard,
    meaning,
)

ACCEPTED, UNKNOWN, DISABLED = ReplyClass.ACCEPTED, ReplyClass.UNKNOWN_USER, ReplyClass.DISABLED
QUOTA, RATE, BUSY, POLICY = (
    ReplyClass.OVER_QUOTA, ReplyClass.RATE, ReplyClass.BUSY, ReplyClass.POLICY,
)  # fmt: skip
AUTH, FORMAT, RELAY, OTHER = (
    ReplyClass.AUTHENTICATION, ReplyClass.FORMAT, ReplyClass.RELAY, ReplyClass.OTHER,
)  # fmt: skip

# Provider, code, text, class: the wording is the providers', names and numbers are made up.
SAID = [
    ("gmail", 250, "2.0.0 OK  1793602800 a1-gsmtp", ACCEPTED),
    ("gmail", 550, "5.1.1 The email account that you tried to reach does not exist.", UNKNOWN),
    ("gmail", 550, "5.2.1 The email account that you tried to reach is disabled.", DISABLED),
    ("gmail", 552, "5.2.2 The recipient's inbox is out of storage space.", QUOTA),
    ("gmail", 452, "4.2.2 The recipient's inbox is out of storage space.", QUOTA),
    ("gmail", 421, "4.7.28 Our system has detected an unusual rate of mail from your IP.", RATE),
    ("gmail", 452, "4.5.3 Your message has too many recipients.", RATE),
    ("gmail", 550, "5.7.26 Your email has been blocked because the sender is unauthenticated.", AUTH),
    ("gmail", 421, "4.7.30 Your email has been rate limited: DKIM did not pass.", AUTH),
    ("gmail", 550, "5.7.1 This message is likely unsolicited mail.", POLICY),
    ("gmail", 552, "5.3.4 Your message exceeded Google's message size limits.", FORMAT),
    ("gmail", 555, "5.5.2 Syntax error, cannot decode response.", FORMAT),
    ("gmail", 530, "5.7.0 Must issue a STARTTLS command first.", RELAY),
    ("outlook", 550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", UNKNOWN),
    ("outlook", 554, "5.2.2 mailbox full; STOREDRV.Deliver", QUOTA),
    ("outlook", 451, "4.7.650 The mail server has been temporarily rate limited (S775)", RATE),
    ("outlook", 452, "4.3.1 Insufficient system resources", BUSY),
    ("outlook", 550, "5.7.515 Access denied, the sending domain is not authenticated", AUTH),
    ("outlook", 550, "5.7.1 Messages from [192.0.2.1] weren't sent: block list (S3140)", POLICY),
    ("outlook", 550, "5.7.64 TenantAttribution; Relay Access Denied", RELAY),
    ("yahoo", 421, "4.7.0 [TSS04] Messages temporarily deferred: unexpected volume", RATE),
    ("yahoo", 421, "[TS01] Messages from 192.0.2.1 temporarily deferred due to user complaints", RATE),
    ("outlook", 550, "SC-001 (SNT004-MC1F1) Unfortunately, messages weren't sent. (SC-001)", POLICY),
    ("gmx", 554, "Transaction failed. Reject due to policy restrictions. error: cama", POLICY),
    ("yahoo", 421, "Resources temporarily unavailable. Please try again later [#4.16.1]", BUSY),
    ("yahoo", 553, "5.7.1 [BL21] Connections will not be accepted", POLICY),
    ("yahoo", 554, "Message not allowed - [PH01] Email not accepted for policy reasons.", POLICY),
    ("yahoo", 554, "5.7.9 Message not accepted: failed DMARC policy", AUTH),
    ("postfix", 450, "4.2.0 Recipient address rejected: Greylisted", BUSY),
    ("postfix", 450, "4.1.1 Recipient address rejected: unverified address", BUSY),
    ("postfix", 550, "5.1.1 Recipient address rejected: User unknown in local table", UNKNOWN),
    ("postfix", 554, "5.7.1 Relay access denied", RELAY),
    ("postfix", 554, "5.7.1 Service unavailable; blocked using zen.spamhaus.org", POLICY),
    ("gmail", 421, "4.7.0 This message is suspicious due to the nature of the content.", RATE),
    ("gmail", 421, "4.7.26 This mail has been rate limited: it is unauthenticated.", AUTH),
    ("gmail", 550, "5.7.25 The IP address sending this message does not have a PTR record.", AUTH),
    ("gmail", 550, "5.7.28 There is an unusual rate of unsolicited mail from your IP.", POLICY),
    ("gmail", 550, "5.7.40 The domain has no policy that says what becomes of such mail.", AUTH),
    ("gmail", 450, "4.2.1 The user you are trying to contact is receiving mail too quickly.", BUSY),
    ("gmail", 450, "4.2.1 Peers receive mail at a rate that prevents additional delivery.", RATE),
    ("gmail", 550, "5.4.5 Daily user sending quota exceeded.", RATE),
    ("outlook", 451, "4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)", RATE),
    ("outlook", 451, "4.7.651 The mail server has been temporarily rate limited (S844)", RATE),
    ("outlook", 451, "4.7.652 The mail server has exceeded its connections (S3115)", RATE),
    ("outlook", 421, "RP-001 The mail server IP has exceeded the rate limit allowed.", RATE),
    ("outlook", 550, "5.7.606 Access denied, banned sending IP [192.0.2.1]", POLICY),
    ("outlook", 550, "5.1.8 Access denied, bad outbound sender", POLICY),
    ("outlook", 550, "5.4.1 Recipient address rejected: Access denied", OTHER),
    ("outlook", 550, "5.5.0 Requested action not taken: mailbox unavailable (S2017062302)", UNKNOWN),
    ("outlook", 550, "5.5.0 Requested action not taken: mailbox unavailable", DISABLED),
    ("yahoo", 421, "4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred", RATE),
    ("yahoo", 421, "4.7.0 [GL01] Message from (192.0.2.1) temporarily deferred", BUSY),
    ("yahoo", 554, "delivery error: dd This user doesn't have a yahoo.com account [0]", UNKNOWN),
    ("yahoo", 554, "delivery error: dd This account has been disabled or discontinued", DISABLED),
    ("apple", 554, "5.7.1 [CS01] Message rejected due to local policy.", POLICY),
    ("apple", 552, "5.2.2 user is over quota", QUOTA),
    ("gmx", 554, "(mxgmx105) Nemesis ESMTP Service not available Bad DNS PTR resource record", AUTH),
    ("gmx", 421, "Nemesis ESMTP Service not available, try again later", BUSY),
    ("gmx", 550, "Requested action not taken: mailbox unavailable", OTHER),
    ("t-online", 554, "IP=192.0.2.1 - A problem occurred. Ask your postmaster for help.", POLICY),
    ("orange", 421, "Too many connections, slow down. OFR004_104 [104]", RATE),
    ("orange", 421, "Service refuse. Veuillez essayer plus tard. OFR_999 [999]", BUSY),
    ("orange", 550, "5.2.0 Mail rejete. Mail rejected. ofr_506 [506]", POLICY),
    ("orange", 550, "5.1.1 Adresse d au moins un destinataire invalide. OFR_416 [416]", UNKNOWN),
    ("laposte", 550, "5.5.0 Service refuse. LPN007_510", POLICY),
    ("free", 421, "Too many spams from your IP (192.0.2.1), please visit postmaster", RATE),
    ("mail.ru", 451, "Ratelimit exceeded for mailbox. Try again later.", RATE),
    ("mail.ru", 550, "spam message rejected. Please visit help.mail.ru", POLICY),
    ("mail.ru", 550, "Message was not accepted -- local mailbox is unavailable: user not found", UNKNOWN),
    ("mail.ru", 550, "Message was not accepted -- local mailbox: account is disabled", DISABLED),
    ("yandex", 550, "5.7.1 No such user!", UNKNOWN),
    ("yandex", 451, "4.7.1 Sorry, the service is currently unavailable.", BUSY),
    ("comcast", 421, "4.1.0 192.0.2.1 Throttled - try again later.", RATE),
    ("mimecast", 550, "Invalid Recipient - see the knowledge base", UNKNOWN),
    ("spamhaus", 450, "4.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org", POLICY),
    ("postfix", 451, "4.7.1 Greylisting in action, please come back later", BUSY),
    ("postfix", 454, "4.7.1 Relay access denied", RELAY),
    ("postfix", 454, "4.7.0 TLS not available due to local problem", RELAY),
    ("postfix", 538, "5.7.11 Encryption required for requested authentication mechanism", RELAY),
    ("postfix", 556, "5.1.10 Recipient address rejected: Domain does not accept mail (nullMX)", UNKNOWN),
    ("exim", 556, "the domain takes no mail", UNKNOWN),
    ("exim", 552, "message size exceeds maximum permitted", FORMAT),
    ("exim", 552, "requested mail action aborted: exceeded storage allocation", QUOTA),
    ("exim", 550, "No such user here", UNKNOWN),
    ("exim", 550, "administrative prohibition", OTHER),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text", "meaning"),
    [pytest.param(*said, id=f"{who} {said[0]} {said[1][:24]}") for who, *said in SAID],
)
def test_a_reply_means_what_its_provider_means_by_it(code: int, text: str, meaning: ReplyClass):
    assert classify(Reply(code, text)) is meaning


@pytest.mark.parametrize(
    ("code", "text", "meaning"),
    [pytest.param(*said, id=f"{who} {said[0]} {said[1][:24]}") for who, *said in SAID],
)
def test_only_an_unknown_user_is_hard(code: int, text: str, meaning: ReplyClass):
    assert is_hard(Reply(code, text)) is (meaning is UNKNOWN)


def test_what_follows_from_every_class_is_said_and_only_an_unknown_user_is_suppressed():
    followed = {kind: meaning(kind) for kind in ReplyClass}

    assert [kind for kind, each in followed.items() if each.suppress] == [UNKNOWN]
    assert followed[RELAY].then is Then.STOP
    assert {followed[kind].then for kind in (AUTH, POLICY, FORMAT)} == {Then.PAUSE}
    assert followed[RATE].then is Then.SLOW


@pytest.mark.parametrize(
    ("code", "text", "meaning"),
    [
        (550, "4.1.1 User unknown", UNKNOWN),
        (552, "4.2.2 Mailbox full", QUOTA),
        (450, "5.1.1 User unknown", BUSY),
        (421, "5.1.1 User unknown", BUSY),
        (421, "5.7.1 Relay access denied", BUSY),
    ],
)
def test_the_basic_code_says_whether_it_is_for_good_whatever_the_enhanced_one_says(
    code: int, text: str, meaning: ReplyClass
):
    assert classify(Reply(code, text)) is meaning


@settings(deadline=None)
@given(code=st.integers(200, 499), text=st.text())
def test_nothing_below_500_is_hard(code: int, text: str):
    assert not is_hard(Reply(code, f"5.1.1 no such user {text}"))


@pytest.mark.parametrize("text", ["5.1.1 blocked by spamhaus", "5.1.1 SPF check failed"])
def test_a_block_dressed_as_an_unknown_user_is_not_hard(text: str):
    assert not is_hard(Reply(550, text))


@settings(deadline=None)
@given(code=st.integers(0, 999), text=st.text())
def test_every_reply_has_a_class(code: int, text: str):
    assert classify(Reply(code, text)) in ReplyClass


@settings(deadline=None)
@given(
    address=st.emails(),
    before=st.sampled_from(["", "<", " ", "(", "\r\n", "mailto:"]),
    after=st.sampled_from(["", ">", " ", ")", "\r\n", ": User unknown"]),
)
def test_an_address_in_a_reply_is_not_kept(address: str, before: str, after: str):
    masked = Reply(550, f"5.1.1 {before}{address}{after}").masked

    assert address not in masked
    assert "@" not in masked


@settings(deadline=None)
@given(text=st.text())
def test_no_control_character_of_a_reply_is_kept(text: str):
    masked = Reply(550, text).masked

    assert not any(unicodedata.category(each) in ("Cc", "Zl", "Zp") for each in masked)


@settings(deadline=None)
@given(text=st.text().map(lambda text: text + "x" * TEXT_CHARACTERS))
def test_a_long_reply_is_cut(text: str):
    assert len(Reply(550, text).masked) <= TEXT_CHARACTERS


@pytest.mark.parametrize(
    ("text", "enhanced"),
    [("5.1.1 no", "5.1.1"), ("no 5.1.1", ""), ("3.1.1 no", ""), ("5.1.1000 no", ""), ("", "")],
)
def test_an_enhanced_code_stands_first_or_is_none(text: str, enhanced: str):
    assert Reply(550, text).enhanced == enhanced
