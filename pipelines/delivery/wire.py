"""One open SMTP connection, spoken on its transport: commands, replies, and the moment of the dot.

aiosmtplib sends body and final dot in one call and raises the same error before and after the dot,
so the envelope is spoken here: everything up to the dot, a call back, the dot. Where the server takes
PIPELINING, the next envelope travels behind the dot in the same write. Knows no ledger.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, cast

import aiosmtplib

from pipelines.delivery import dsn
from pipelines.delivery.replies import Reply
from pipelines.delivery.stuffing import on_the_wire
from pipelines.errors import Refused
from pipelines.message.mime import Ready

COMMAND_SECONDS = 300.0
# RFC 5321 4.5.3.2.6: less manufactures in-doubt messages.
FINAL_REPLY_SECONDS = 600.0
LARGEST_REPLY = 65_536
# A message that a kernel takes whole goes out in one write with its dot: a system call, and a turn of
# the server's, less. It was the only one on the way, so nothing of it waits in our own buffer.
AT_ONCE = 65_536
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f<>\\,;:\"()\[\]]")
_CODE = re.compile(rb"[2-5][0-9]{2}(?=[ -]|$)")

# Who a message is from and whom it is for, as SMTP has it.
Envelope = tuple[str, str]
# Called when only the dot is left to send; names the envelope to send behind it, if one is at hand.
BeforeDot = Callable[[], Envelope | None]


class Stage(StrEnum):
    """Which command a reply answers."""

    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


class Outcome(NamedTuple):
    """The reply that decided one message."""

    stage: Stage
    reply: Reply


class ConnectionLost(Exception):
    """The connection ended without the reply that was waited for."""


class Connection(asyncio.Protocol):
    """An open, greeted and authenticated connection that carries one message after another."""

    def __init__(self, client: aiosmtplib.SMTP, report: dsn.Report = dsn.Report.FAILURE) -> None:
        if client.transport is None:
            raise ConnectionLost
        # uvloop's transports are no subclasses of asyncio's; they have the same methods.
        transport = cast("asyncio.Transport", client.transport)
        self._client = client  # keeps the objects of the handshake alive
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._lines: list[str] = []
        self._replies: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._ahead: Envelope | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.is_lost = False
        self.pipelines = client.supports_extension("pipelining")
        self.takes_utf8 = client.supports_extension("smtputf8")
        self._notify = dsn.NOTIFY.get(report) if client.supports_extension("dsn") else None
        # Nothing is kept back: what is written is the kernel's, or `pause_writing` says that it is not.
        transport.set_write_buffer_limits(0)
        transport.set_protocol(self)

    async def transmit(
        self, sender: str, recipient: str, message: bytes, *, before_dot: BeforeDot
    ) -> Outcome:
        """Hand one message over.

        before_dot   called when only the final dot is left to send; the envelope it names is begun
                     behind the dot where the server pipelines, and must be the next one transmitted

        Raises ConnectionLost when it ends first, Refused for an address no envelope can hold.
        """
        if self.pipelines:
            outcome = await self._announced((sender, recipient))
        else:
            outcome = await self._step_by_step(self._commands(sender, recipient))
        return await self._body(message, before_dot) if outcome is None else outcome

    async def rehearse(self, sender: str, recipient: str, message: bytes) -> Outcome | None:
        """Say all of a message but its end, and hang up; the reply that refused it before, if one did.

        Not even its last line is whole, so that no server takes it for one. Raises as `transmit` does.
        """
        outcome = await self._step_by_step(self._commands(sender, recipient))
        if outcome is None:
            self._transport.write(on_the_wire(message).removesuffix(b"\r\n"))
            await self._drained()
            self._transport.close()
        return outcome

    def has_begun(self, sender: str, recipient: str) -> bool:
        """Whether this envelope is under way already, behind the last message's dot."""
        return self._ahead == (sender, recipient) and not self.is_lost

    async def _announced(self, envelope: Envelope) -> Outcome | None:
        """Send the envelope in one write, unless it is under way; why there is no body to send."""
        if self._ahead is None:
            self._transport.write(b"".join(self._commands(*envelope)))
        elif self._ahead != envelope:
            # The server waits for somebody else's message: it must not get this one, nor a dot.
            self.abort()
            raise ConnectionLost
        self._ahead = None
        refused: Outcome | None = None
        for stage in (Stage.MAIL, Stage.RCPT, Stage.DATA):
            try:
                reply = await self._reply(COMMAND_SECONDS)
            except ConnectionLost:
                if refused is None:
                    raise
                return refused  # it was said before the server hung up
            if reply.code == 421:
                return Outcome(stage, reply)  # and the connection is gone: no other reply will come
            if stage is Stage.DATA and reply.code == 354:
                if refused is None:
                    return None
                # Accepted DATA for nobody: a lone dot carries no message.
                self._transport.write(b".\r\n")
                await self._courtesy()
            elif reply.code // 100 != 2 or stage is Stage.DATA:
                refused = refused or Outcome(stage, reply)
        assert refused is not None
        await self._reset()
        return refused

    async def _step_by_step(self, commands: tuple[bytes, bytes, bytes]) -> Outcome | None:
        """Send the envelope command by command; why there is no body to send."""
        for stage, command in zip((Stage.MAIL, Stage.RCPT, Stage.DATA), commands, strict=True):
            self._transport.write(command)
            reply = await self._reply(COMMAND_SECONDS)
            if reply.code // 100 != (3 if stage is Stage.DATA else 2):
                if reply.code != 421:
                    await self._reset()
                return Outcome(stage, reply)
        return None

    async def _reset(self) -> None:
        if not self.is_lost:
            self._transport.write(b"RSET\r\n")
            await self._courtesy()

    async def _courtesy(self) -> None:
        """Wait for a reply that decides nothing any more."""
        with suppress(ConnectionLost):
            await self._reply(COMMAND_SECONDS)

    async def _body(self, message: bytes, before_dot: BeforeDot) -> Outcome:
        body = message if isinstance(message, Ready) else on_the_wire(message)
        if len(body) > AT_ONCE:
            self._transport.write(body)
            body = b""
            await self._drained()
        if self.is_lost or self._replies:
            raise ConnectionLost
        following = before_dot()
        envelope = b""
        if following is not None and self.pipelines:
            # An address no envelope can hold is told when its turn comes.
            with suppress(Refused):
                envelope = b"".join(self._commands(*following))
                self._ahead = following
        self._transport.write(b"".join((body, b".\r\n", envelope)))
        return Outcome(Stage.DOT, await self._reply(FINAL_REPLY_SECONDS))

    async def _drained(self) -> None:
        """Wait until the kernel has everything, so that the dot is never behind it in our own buffer."""
        if not self._writable.is_set():
            try:
                await asyncio.wait_for(self._writable.wait(), COMMAND_SECONDS)
            except TimeoutError:
                self.abort()

    def _commands(self, sender: str, recipient: str) -> tuple[bytes, bytes, bytes]:
        for address in (sender, recipient):
            if _FORBIDDEN.search(address) or address.count("@") != 1:
                raise Refused("the address cannot stand in an envelope")
        local, _, domain = recipient.partition("@")
        needs_utf8 = not local.isascii()
        if needs_utf8 and not self.takes_utf8:
            raise Refused("the relay takes no SMTPUTF8 addresses")
        option = " SMTPUTF8" if needs_utf8 else ""
        asked = ""
        if self._notify is not None:
            option += dsn.of_message(sender)
            asked = dsn.of_recipient(recipient, self._notify)
        mail = f"MAIL FROM:<{sender}>{option}\r\n".encode()
        return mail, f"RCPT TO:<{local}@{_a_label(domain)}>{asked}\r\n".encode(), b"DATA\r\n"

    async def _reply(self, seconds: float) -> Reply:
        if not self._replies:
            if self.is_lost:
                raise ConnectionLost
            self._waiter = self._loop.create_future()
            self._watch(seconds)
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._replies:
            raise ConnectionLost
        reply = self._replies.popleft()
        if reply.code == 421:
            self.abort()
        return reply

    def _watch(self, seconds: float) -> None:
        """End the connection when nothing was heard for so long; one timer serves many replies."""
        self._deadline = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= self._deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._overdue)

    def _overdue(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() >= self._deadline:
            self.abort()
        else:
            self._timer = self._loop.call_at(self._deadline, self._overdue)

    def data_received(self, data: bytes) -> None:
        if self.is_lost:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            read = _read(line.rstrip(b"\r"))
            if read is None:
                self.abort()
                return
            reply, is_last = read
            if self._lines or not is_last:
                self._lines.append(reply.text)
                reply = Reply(reply.code, " ".join(self._lines))
            if is_last:
                self._replies.append(reply)
                self._lines = []
                self._wake()
        if len(self._rest) + sum(map(len, self._lines)) > LARGEST_REPLY:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self.is_lost = True
        if self._timer is not None:
            self._timer.cancel()
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def abort(self) -> None:
        self.is_lost = True
        self._transport.abort()

    def quit(self) -> None:
        """Say goodbye and close, without waiting for an answer."""
        if self._ahead is not None:
            # The server waits for a message: only an end without a dot tells it that none comes.
            self.abort()
        elif not self.is_lost:
            self._transport.write(b"QUIT\r\n")
            self._transport.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@lru_cache(maxsize=256)  # a server says the same few things over and over
def _read(line: bytes) -> tuple[Reply, bool] | None:
    """One line of a reply, and whether it is the last; None when it is none."""
    if not _CODE.match(line):
        return None
    return Reply(int(line[:3]), line[4:].decode("utf-8", "replace")), line[3:4] != b"-"


@lru_cache(maxsize=10_000)
def _a_label(domain: str) -> str:
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        raise Refused("the address cannot stand in an envelope") from None
