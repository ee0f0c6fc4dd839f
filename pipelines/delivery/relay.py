"""One SMTP connection: opened by aiosmtplib, then spoken on its transport.

aiosmtplib sends body and final dot in one call and raises the same error before and after the dot,
so the envelope is spoken here: everything up to the dot, a call back, the dot. Knows no ledger.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

import aiosmtplib

from pipelines.delivery.replies import Reply
from pipelines.errors import Problem, Refused, RelayUnavailable
from pipelines.settings import Settings

OPEN_SECONDS = 30.0
COMMAND_SECONDS = 300.0
# RFC 5321 4.5.3.2.6: less manufactures in-doubt messages.
FINAL_REPLY_SECONDS = 600.0
LARGEST_REPLY = 65_536
WHERE = "LETTERMILL_RELAY_HOST, LETTERMILL_RELAY_PORT"
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f<>\\,;:\"()\[\]]")
_CODE = re.compile(r"[2-5][0-9]{2}(?=[ -]|$)")
_BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n)")


@dataclass(frozen=True)
class Relay:
    """Where mail is handed over, and how."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: str = "none"

    @classmethod
    def from_settings(cls, settings: Settings) -> Relay:
        secret = settings.relay_password
        return cls(
            settings.relay_host,
            settings.relay_port,
            settings.relay_username,
            secret.get_secret_value() if secret else None,
            settings.relay_tls,
        )


class Stage(StrEnum):
    """Which command a reply answers."""

    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


@dataclass(frozen=True)
class Outcome:
    """The reply that decided one message."""

    stage: Stage
    reply: Reply


class ConnectionLost(Exception):
    """The connection ended without the reply that was waited for."""


class Connection(asyncio.Protocol):
    """An open, greeted and authenticated connection that carries one message after another."""

    def __init__(self, client: aiosmtplib.SMTP) -> None:
        transport = client.transport
        if not isinstance(transport, asyncio.Transport):
            raise ConnectionLost
        self._client = client  # keeps the objects of the handshake alive
        self._transport = transport
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._replies: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.is_lost = False
        self.pipelines = client.supports_extension("pipelining")
        self.takes_utf8 = client.supports_extension("smtputf8")
        # Drained means handed to the kernel whole, so the dot is never in our own buffer's way.
        transport.set_write_buffer_limits(0)
        transport.set_protocol(self)

    async def transmit(
        self, sender: str, recipient: str, message: bytes, *, before_dot: Callable[[], None]
    ) -> Outcome:
        """Hand one message over. Calls `before_dot` when only the final dot is left to send.

        Raises ConnectionLost when it ends first, Refused for an address no envelope can hold.
        """
        envelope = [*self._envelope(sender, recipient), b"DATA\r\n"]
        if self.pipelines:
            self._transport.write(b"".join(envelope))
        refused: Outcome | None = None
        for stage, command in zip((Stage.MAIL, Stage.RCPT, Stage.DATA), envelope, strict=True):
            if not self.pipelines:
                if refused:
                    break
                self._transport.write(command)
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
                    return await self._body(message, before_dot)
                # Accepted DATA for nobody: a lone dot carries no message.
                self._transport.write(b".\r\n")
                await self._courtesy()
            elif reply.code // 100 != 2 or stage is Stage.DATA:
                refused = refused or Outcome(stage, reply)
        assert refused is not None
        if not self.is_lost:
            self._transport.write(b"RSET\r\n")
            await self._courtesy()
        return refused

    async def _courtesy(self) -> None:
        """Wait for a reply that decides nothing any more."""
        with suppress(ConnectionLost):
            await self._reply(COMMAND_SECONDS)

    async def _body(self, message: bytes, before_dot: Callable[[], None]) -> Outcome:
        self._transport.write(_on_the_wire(message))
        try:
            await asyncio.wait_for(self._writable.wait(), COMMAND_SECONDS)
        except TimeoutError:
            self.abort()
        if self.is_lost or self._replies:
            raise ConnectionLost
        before_dot()
        self._transport.write(b".\r\n")
        return Outcome(Stage.DOT, await self._reply(FINAL_REPLY_SECONDS))

    def _envelope(self, sender: str, recipient: str) -> tuple[bytes, bytes]:
        for address in (sender, recipient):
            if _FORBIDDEN.search(address) or address.count("@") != 1:
                raise Refused("the address cannot stand in an envelope")
        local, _, domain = recipient.partition("@")
        try:
            host = domain.encode("idna").decode()
        except UnicodeError:
            raise Refused("the address cannot stand in an envelope") from None
        needs_utf8 = not local.isascii()
        if needs_utf8 and not self.takes_utf8:
            raise Refused("the relay takes no SMTPUTF8 addresses")
        option = " SMTPUTF8" if needs_utf8 else ""
        mail = f"MAIL FROM:<{sender}>{option}\r\n".encode()
        return mail, f"RCPT TO:<{local}@{host}>\r\n".encode()

    async def _reply(self, seconds: float) -> Reply:
        if not self._replies:
            if self.is_lost:
                raise ConnectionLost
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(self._waiter, seconds)
            except TimeoutError:
                self.abort()
                raise ConnectionLost from None
            finally:
                self._waiter = None
        if not self._replies:
            raise ConnectionLost
        reply = self._replies.popleft()
        if reply.code == 421:
            self.abort()
        return reply

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = self._buffer[:end].rstrip(b"\r").decode("utf-8", "replace")
            del self._buffer[: end + 1]
            self._lines.append(line[4:])
            if not _CODE.match(line):
                self.abort()
            elif line[3:4] != "-":
                self._replies.append(Reply(int(line[:3]), " ".join(self._lines)))
                self._lines = []
                self._wake()
        if len(self._buffer) + sum(map(len, self._lines)) > LARGEST_REPLY:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self.is_lost = True
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
        if not self.is_lost:
            self._transport.write(b"QUIT\r\n")
            self._transport.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _on_the_wire(message: bytes) -> bytes:
    """Every line ended by CRLF, every leading dot doubled (RFC 5321 4.5.2)."""
    # A bare line end before a dot is how a second message is smuggled into the first. Counting is
    # 200 µs cheaper than looking for one in a message of 20 kB that has none.
    if not message.count(b"\r\n") == message.count(b"\n") == message.count(b"\r"):
        message = _BARE_LINE_END.sub(b"\r\n", message)
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    stuffed = message.replace(b"\n.", b"\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


async def connect(relay: Relay) -> Connection:
    """Open a connection. Raises RelayUnavailable, which names the settings it used."""
    client = aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        username=relay.username,
        password=relay.password,
        use_tls=relay.tls == "implicit",
        start_tls=relay.tls == "starttls",
        timeout=OPEN_SECONDS,
    )
    try:
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await client.ehlo()
        return Connection(client)
    except (aiosmtplib.SMTPException, OSError, ConnectionLost) as error:
        client.close()
        raise unavailable(relay, _why(error), _setting_of(error)) from error


def _why(error: Exception) -> str:
    """What went wrong, in the library's or the system's words; a server may repeat what we sent to log in."""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return "the server does not accept this user name and password"
    told = Reply(0, str(error)).masked.removeprefix("0 ")[:200]
    return f"{told} ({type(error).__name__})" if told else type(error).__name__


def _setting_of(error: Exception) -> str:
    """The setting to look at first."""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return "LETTERMILL_RELAY_USERNAME, LETTERMILL_RELAY_PASSWORD"
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return "LETTERMILL_RELAY_TLS"
    return WHERE


def unavailable(relay: Relay, what: str, setting: str = WHERE) -> RelayUnavailable:
    """The error for a relay that does not answer as it should."""
    return RelayUnavailable(
        f"no usable SMTP server at {relay.host}:{relay.port}",
        [Problem(setting, what)],
        do="Start it or set them right, then run the send again: nobody is mailed twice",
    )


async def probe(relay: Relay) -> None:
    """See whether the relay lets us in, and leave."""
    (await connect(relay)).quit()
