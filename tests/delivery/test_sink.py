"""The loopback sink keeps what it accepts, byte for byte, and fails where it is told to."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.delivery import sink
from pipelines.delivery.relay import Relay, connect
from pipelines.settings import Home, HomeKind, Settings, make_home

SENDER, ADA, BERT = "bounce@mill.example", "ada@shop.example", "bert@shop.example"
LETTER = b"Subject: hi\r\n\r\nhello\r\n"
# More than one read of a socket takes: its first bytes are there before its last.
LONG = LETTER + (b"x" * 998 + b"\r\n") * 1_000


def kept(home: Home) -> list[Path]:
    return sorted((home.sink / "new").iterdir())


@contextmanager
def scripted(home: Home, *rules: dict[str, Any]) -> Iterator[tuple[str, int]]:
    script = home.root / "script.json"
    script.write_text(json.dumps(rules))
    with sink.running(home, Settings(home=home.root), script=script) as where:
        yield where


def attempt(where: tuple[str, int], message: bytes = LETTER) -> int | None:
    """The code a plain client gets for one message; None when the line is cut."""
    try:
        with smtplib.SMTP(*where, local_hostname="test") as client:
            client.sendmail(SENDER, [ADA], message)
    except smtplib.SMTPRecipientsRefused as refused:
        return next(iter(refused.recipients.values()))[0]
    except smtplib.SMTPResponseException as refused:
        return None if refused.smtp_code == -1 else refused.smtp_code
    except (smtplib.SMTPServerDisconnected, ConnectionError):
        return None
    return 250


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, tuple[str, int]]]:
    """A sink that is up for all tests of this module that leave its folder empty."""
    root = tmp_path_factory.mktemp("sink") / "home"
    home = make_home(root, kind=HomeKind.DEVELOPMENT, at=datetime(2026, 11, 2, tzinfo=UTC))
    with sink.running(home, Settings(home=home.root)) as where:
        yield home, where


@pytest.fixture
def emptied(listening: tuple[Home, tuple[str, int]]) -> tuple[Home, tuple[str, int]]:
    for path in kept(listening[0]):
        path.unlink()
    return listening


@settings(deadline=None)
@given(parts=st.lists(st.sampled_from([b".", b"..", b"\r\n", b"\n", b"\r", b"a", "é".encode()])))
def test_a_message_arrives_as_it_was_but_for_its_line_ends(
    listening: tuple[Home, tuple[str, int]], hand_over: Any, parts: list[bytes]
):
    home, where = listening
    for path in kept(home):
        path.unlink()
    message = b"".join(parts)

    outcome, dots = asyncio.run(hand_over(Relay(*where), message, ADA))
    (path,) = kept(home)
    received = path.read_bytes().partition(b"Delivered-To: ada@shop.example\r\n")[2]

    lined = re.sub(rb"\r\n|\r|\n", b"\r\n", message)
    assert (outcome.reply.code, dots) == (250, 1)
    assert received == (lined if lined.endswith(b"\r\n") else lined + b"\r\n")


def test_every_message_of_one_connection_is_a_file(emptied: tuple[Home, tuple[str, int]]):
    home, where = emptied

    async def conversation() -> None:
        connection = await connect(Relay(*where))
        for number in range(3):
            body = LETTER + b"%d\r\n" % number
            await connection.transmit(SENDER, ADA, body, before_dot=lambda: None)
        connection.quit()

    asyncio.run(conversation())

    assert [path.read_bytes()[-3:-2] for path in kept(home)] == [b"0", b"1", b"2"]
    assert list((home.sink / "tmp").iterdir()) == []


def test_the_envelope_is_kept_above_the_message(emptied: tuple[Home, tuple[str, int]]):
    home, where = emptied

    with smtplib.SMTP(*where, local_hostname="test") as client:
        client.sendmail(SENDER, [ADA, BERT], LETTER)

    head = b"Return-Path: <bounce@mill.example>\r\n"
    head += b"Delivered-To: ada@shop.example\r\nDelivered-To: bert@shop.example\r\n"
    assert kept(home)[0].read_bytes() == head + LETTER


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "reply", "code", "files"),
    [
        ("connect", "421 4.3.2 no", 421, 0),
        ("connect", "", None, 0),
        ("ehlo", "", None, 0),
        ("mail", "451 4.3.2 no", 451, 0),
        ("mail", "", None, 0),
        ("rcpt", "550 5.1.1 no", 550, 0),
        ("rcpt", "", None, 0),
        ("data", "452 4.3.1 no", 452, 0),
        ("data", "", None, 0),
        ("dot", "554 5.7.1 no", 554, 0),
        ("dot", "", None, 0),
        ("kept", "451 4.3.0 no", 451, 1),
        ("kept", "", None, 1),
    ],
)
def test_the_sink_fails_at_the_stage_its_script_names(
    home: Home, stage: str, reply: str, code: int | None, files: int
):
    # Whoever starts the sink connects once, to see that it is up.
    nth = 2 if stage == "connect" else 1

    with scripted(home, {"stage": stage, "nth": nth, "reply": reply}) as where:
        told = attempt(where)

    assert (told, len(kept(home))) == (code, files)


@pytest.mark.slow
def test_a_rule_counts_from_its_nth_time_and_holds_as_often_as_it_says(home: Home):
    rule = {"stage": "rcpt", "nth": 2, "times": 2, "reply": "450 4.2.0 later"}

    with scripted(home, rule) as where:
        told = [attempt(where) for _ in range(4)]

    assert told == [250, 450, 450, 250]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["data", "body", "dot", "kept", "accepted"])
def test_a_process_is_signalled_at_the_stage_the_script_names(home: Home, stage: str):
    victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pids = home.root / "pids.json"
    pids.write_text(json.dumps([victim.pid]))
    rule = {"stage": stage, "signal": int(signal.SIGKILL), "pids": str(pids)}

    with scripted(home, rule) as where:
        told = attempt(where, LONG)
    victim.communicate()

    assert (told, victim.returncode) == (250, -signal.SIGKILL)


@pytest.mark.slow
def test_the_state_file_lives_as_long_as_the_sink(home: Home):
    with sink.running(home, Settings(home=home.root)) as where:
        during = sink.address(home)

    assert during == where
    assert not (home.sink / sink.STATE_FILE).exists()
    assert sink.address(home) is None


def test_a_sink_that_is_up_is_used_and_left_up(listening: tuple[Home, tuple[str, int]]):
    home, where = listening

    with sink.running(home, Settings(home=home.root)) as same:
        pass

    assert same == where
    assert sink.address(home) == where


@pytest.mark.slow
def test_a_state_file_nobody_answers_to_is_replaced(home: Home):
    home.sink.mkdir(exist_ok=True)
    stale = {"host": "127.0.0.1", "port": 1, "pid": 1}
    (home.sink / sink.STATE_FILE).write_text(json.dumps(stale))

    with sink.running(home, Settings(home=home.root)) as (_, port):
        assert port != 1
