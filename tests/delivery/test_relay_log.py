"""What Postfix's own log says of a message; strangers' words in it prove nothing."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipelines.delivery.relay_log import Dating, RelayLog, read_log
from pipelines.errors import SettingInvalid

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
OURS = "<6f1c@mill.example>"
TAKEN = f"""\
Nov  2 09:00:01 relay postfix/smtpd[811]: 4XyzQ81Lb9z: client=sender[192.0.2.7]
Nov  2 09:00:01 relay postfix/cleanup[812]: 4XyzQ81Lb9z: message-id={OURS}
Nov  2 09:00:01 relay postfix/qmgr[700]: 4XyzQ81Lb9z: from=<b+1@mill.example>, size=1, nrcpt=1 (queue active)
Nov  2 09:00:02 relay postfix/smtp[813]: 4XyzQ81Lb9z: to=<ada@shop.example>, relay=mx[192.0.2.9]:25, \
delay=1, delays=0/0/0.5/0.5, dsn=2.0.0, status=sent (250 2.0.0 ok)
Nov  2 09:00:02 relay postfix/qmgr[700]: 4XyzQ81Lb9z: removed
"""
BOUNCED = TAKEN.replace("status=sent (250 2.0.0 ok)", "status=bounced (550 5.1.1 no)")
BEGUN = "".join(TAKEN.splitlines(keepends=True)[:2])


def read(folder: Path, *texts: str, dating: Dating | None = None) -> RelayLog:
    paths = []
    for number, text in enumerate(texts):
        paths.append(folder / f"mail.{number}")
        paths[-1].write_text(text)
    return read_log(paths, [OURS], dating or Dating(NOW))


@pytest.mark.parametrize(
    "text",
    [TAKEN, BOUNCED, "".join(TAKEN.splitlines(keepends=True)[1:3])],
    ids=["sent", "bounced", "in the queue"],
)
def test_what_the_relay_took_over_was_sent_whatever_became_of_it(tmp_path: Path, text: str):
    assert read(tmp_path, text).accepted == {OURS}


def test_a_message_that_ended_before_its_dot_was_not_taken(tmp_path: Path):
    log = read(tmp_path, BEGUN)

    assert (set(log.named), log.accepted) == ({OURS}, set())


@pytest.mark.parametrize(
    "line",
    [
        "Nov  2 09:00:02 relay postfix/smtpd[1]: 4XyzQ81Lb9z: to=<x>, status=sent",
        "Nov  2 09:00:02 relay sshd[1]: postfix/qmgr[700]: 4XyzQ81Lb9z: removed",
        "Nov  2 09:00:02 relay postfix/qmgr[700]: 4XyzQ81Lb9z: removed, he said",
        "postfix/qmgr[700]: 4XyzQ81Lb9z: removed",
        "Xyz 99 99:99:99 relay postfix/qmgr[700]: 4XyzQ81Lb9z: removed",
        "x" * 8_192 + "Nov  2 09:00:02 relay postfix/qmgr[700]: 4XyzQ81Lb9z: removed",
        "Nov  2 09:00:02 relay postfix/cleanup[1]: 4XyzQ81Lb9z: warning: header Subject: removed",
    ],
)
def test_words_that_only_look_like_the_relay_s_prove_nothing(tmp_path: Path, line: str):
    assert read(tmp_path, BEGUN + line + "\n").accepted == set()


def test_a_queue_id_that_is_used_again_speaks_of_the_other_message(tmp_path: Path):
    other = TAKEN.replace(OURS, "<other@shop.example>").replace("09:00", "09:30")

    assert read(tmp_path, BEGUN + other).accepted == set()


def test_files_are_read_in_the_order_of_their_times_and_packed_ones_too(tmp_path: Path):
    lines = TAKEN.splitlines(keepends=True)
    later, earlier = tmp_path / "mail.log", tmp_path / "mail.log.1.gz"
    later.write_text("".join(lines[3:]))
    earlier.write_bytes(gzip.compress("".join(lines[:3]).encode()))

    assert read_log([later, earlier], [OURS], Dating(NOW)).accepted == {OURS}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    torn = tmp_path / "mail.log.gz"
    torn.write_bytes(gzip.compress(TAKEN.encode() * 50)[:-20])

    with pytest.raises(SettingInvalid, match=r"mail\.log\.gz"):
        read_log([torn], [OURS], Dating(NOW))


@pytest.mark.parametrize(
    ("text", "zone", "at"),
    [
        ("Nov  2 09:00:01", None, datetime(2026, 11, 2, 9, 0, 1, tzinfo=UTC)),
        ("Nov  2 09:00:01", ZoneInfo("Europe/Paris"), datetime(2026, 11, 2, 8, 0, 1, tzinfo=UTC)),
        ("Dec 31 23:59:59", None, datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-11-02T09:00:01.25+01:00", None, datetime(2026, 11, 2, 8, 0, 1, 250000, tzinfo=UTC)),
        ("Feb 30 09:00:01", None, None),
    ],
)
def test_times_are_read_in_either_way(text: str, zone: ZoneInfo | None, at: datetime | None):
    assert Dating(NOW, zone).at(text) == at


def lines(*minutes: int) -> str:
    times = (datetime(2026, 11, 2, 9, tzinfo=UTC) + timedelta(minutes=each) for each in minutes)
    return "".join(f"{at.isoformat()} relay postfix/anvil[1]: statistics: none\n" for at in times)


@pytest.mark.parametrize(
    ("texts", "first", "last", "covers"),
    [
        ([lines(0, 60)], 10, 50, True),
        ([lines(0, 60)], 10, 61, False),
        ([lines(11, 60)], 10, 50, False),
        ([lines(0, 30), lines(32, 60)], 10, 50, True),
        ([lines(0, 30), lines(36, 60)], 10, 50, False),
        ([lines(0, 9), lines(20, 60)], 25, 50, True),
        ([lines(0, 60), lines(5, 6)], 10, 50, True),
        ([], 10, 50, False),
    ],
)
def test_a_log_covers_a_time_only_without_a_hole(
    tmp_path: Path, texts: list[str], first: int, last: int, covers: bool
):
    log = read(tmp_path, *texts)
    begin = datetime(2026, 11, 2, 9, tzinfo=UTC)

    assert log.covers(begin + timedelta(minutes=first), begin + timedelta(minutes=last)) is covers
