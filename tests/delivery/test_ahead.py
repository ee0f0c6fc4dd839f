"""The next envelope travels behind the last message's dot: what is known when that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from pipelines.delivery.relay import Connection, ConnectionLost, Outcome, Stage, connect

SENDER, ADA, BERT = "bounce@mill.example", "ada@shop.example", "bert@shop.example"
FIRST, SECOND = b"Subject: one\r\n\r\n1\r\n", b"Subject: two\r\n\r\n2\r\n"
BUSY, NO, NOBODY = b"421 4.3.2 closing", b"550 5.7.1 no", b"503 5.5.1 no recipient"
DOT = b".\r\n"


def then(first: bytes, later: bytes | None) -> Callable[[int], bytes | None]:
    """What a stage answers the first time, and from then on."""
    return lambda count: first if count == 1 else later


@pytest.fixture(scope="session")
def both(speaking: Any) -> Any:
    """Two messages over one connection, the second announced: outcomes, dots marked, what was heard."""

    async def sent(connection: Connection, to: str, message: bytes, ahead: Any, dots: Any) -> Any:
        def before_dot() -> Any:
            dots.append(to)
            return ahead

        try:
            return await connection.transmit(SENDER, to, message, before_dot=before_dot)
        except ConnectionLost:
            return ConnectionLost

    async def conversation(replies: Any) -> tuple[list[Any], list[str], Any]:
        dots: list[str] = []
        async with speaking(**replies) as server:
            connection = await connect(server.relay)
            first = await sent(connection, ADA, FIRST, (SENDER, BERT), dots)
            second = await sent(connection, BERT, SECOND, None, dots)
            connection.abort()
            return [first, second], dots, server

    return lambda **replies: asyncio.run(conversation(replies))


def test_the_envelope_is_sent_once_and_its_message_follows(both: Any):
    outcomes, dots, server = both()

    assert [(o.stage, o.reply.code) for o in outcomes] == [(Stage.DOT, 250)] * 2
    assert dots == [ADA, BERT]
    assert server.bodies == [FIRST + DOT, SECOND + DOT]
    assert [command[:4] for command in server.commands[1:]] == [b"MAIL", b"RCPT", b"DATA"] * 2


@pytest.mark.parametrize(
    ("replies", "stage", "code", "bodies"),
    [
        ({"mail": then(b"250 ok", NO), "rcpt": then(b"250 ok", NOBODY),
          "data": then(b"354 go", NOBODY)}, Stage.MAIL, 550, []),
        ({"rcpt": then(b"250 ok", NO), "data": then(b"354 go", NOBODY)}, Stage.RCPT, 550, []),
        ({"rcpt": then(b"250 ok", NO)}, Stage.RCPT, 550, [DOT]),
        ({"data": then(b"354 go", NO)}, Stage.DATA, 550, []),
        ({"mail": then(b"250 ok", BUSY)}, Stage.MAIL, 421, []),
        ({"rcpt": then(b"250 ok", BUSY)}, Stage.RCPT, 421, []),
        ({"data": then(b"354 go", BUSY)}, Stage.DATA, 421, []),
    ],
    ids=["sender refused", "recipient refused", "recipient refused and data taken", "data refused",
         "421 to the sender", "421 to the recipient", "421 to data"],
)  # fmt: skip
def test_a_refusal_of_the_envelope_ahead_is_of_its_own_message_and_marks_nothing(
    both: Any, replies: Any, stage: Stage, code: int, bodies: list[bytes]
):
    (first, second), dots, server = both(**replies)

    assert (first.stage, first.reply.code) == (Stage.DOT, 250)
    assert (second.stage, second.reply.code) == (stage, code)
    assert dots == [ADA]
    assert server.bodies == [FIRST + DOT, *bodies]


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
def test_a_connection_dropped_at_the_envelope_ahead_leaves_the_second_unmarked(
    both: Any, stage: str
):
    usual = b"354 go" if stage == "data" else b"250 ok"

    (first, second), dots, server = both(**{stage: then(usual, None)})

    assert (first.reply.code, second) == (250, ConnectionLost)
    assert (dots, server.bodies) == ([ADA], [FIRST + DOT])


def test_a_connection_dropped_at_the_dot_takes_only_the_message_of_that_dot_along(both: Any):
    outcomes, dots, server = both(dot=None)

    assert outcomes == [ConnectionLost, ConnectionLost]
    assert (dots, server.bodies) == ([ADA], [FIRST + DOT])


def test_a_421_to_the_dot_is_of_its_message_and_the_one_behind_is_lost_unmarked(both: Any):
    (first, second), dots, _ = both(dot=BUSY)

    assert (first.stage, first.reply.code, second) == (Stage.DOT, 421, ConnectionLost)
    assert dots == [ADA]


@pytest.mark.parametrize("reply", [NO, b"451 4.3.0 later"])
def test_a_refused_message_does_not_take_the_one_behind_it_along(both: Any, reply: bytes):
    (first, second), dots, _ = both(dot=lambda count: reply if count == 1 else b"250 ok")

    assert (first.reply.code, second.reply.code) == (int(reply[:3]), 250)
    assert dots == [ADA, BERT]


def test_a_server_that_offers_no_pipelining_hears_one_command_at_a_time(both: Any):
    outcomes, dots, server = both(ehlo=b"250 scripted")

    assert [outcome.reply.code for outcome in outcomes] == [250, 250]
    assert dots == [ADA, BERT]
    assert server.bodies == [FIRST + DOT, SECOND + DOT]


def announced(speaking: Any, act: Callable[[Connection], Any]) -> tuple[Any, Any]:
    """Announce a message to Bert behind Ada's, then do something else."""

    async def conversation() -> tuple[Any, Any]:
        async with speaking() as server:
            connection = await connect(server.relay)
            await connection.transmit(SENDER, ADA, FIRST, before_dot=lambda: (SENDER, BERT))
            assert connection.has_begun(SENDER, BERT)
            try:
                result = await act(connection)
            except ConnectionLost:
                result = ConnectionLost
            with suppress(ConnectionError):
                await server.writers[0].wait_closed()
            return result, server

    return asyncio.run(conversation())


def test_another_message_than_the_one_announced_is_not_sent_to_its_recipient(speaking: Any):
    async def other(connection: Connection) -> Outcome:
        return await connection.transmit(SENDER, ADA, SECOND, before_dot=lambda: None)

    result, server = announced(speaking, other)

    assert (result, server.bodies) == (ConnectionLost, [FIRST + DOT])


def test_leaving_while_a_message_is_announced_sends_no_dot(speaking: Any):
    async def leave(connection: Connection) -> None:
        connection.quit()

    _, server = announced(speaking, leave)

    assert server.bodies == [FIRST + DOT]
    assert b"QUIT" not in server.commands
