"""An SMTP server on loopback for the fault benches: fast, paced, and ill on request.

What comes is read at once, replies may be late. It runs in a thread of the bench, so that a scenario can
look at what it holds; faults_sink.py has that.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.faults_sink import Act, Sink
from bench.listening import listening

USUAL = {
    "connect": b"220 faults ESMTP",
    "ehlo": b"250 faults",
    "mail": b"250 2.1.0 ok",
    "rcpt": b"250 2.1.5 ok",
    "data": b"354 go on",
    "dot": b"250 2.0.0 kept",
    "rset": b"250 2.0.0 ok",
    "quit": b"221 2.0.0 bye",
}
_END = b"\r\n.\r\n"
_NAME = re.compile(rb"\r\nMessage-ID:\s*(<[^>]+>)", re.IGNORECASE)
# Postfix's own name of a message it took from us, in the topmost Received.
_QUEUED = re.compile(rb"\A\s*Received:.{0,400}?\bid ([0-9A-Za-z]+)", re.DOTALL)


class Session(asyncio.Protocol):
    """One client. What comes is read at once, replies may be late; they are in order."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self._buffer, self._in_body = sink, bytearray(), False
        self._looked, self._begun_at, self._body_begun = 0, 0.0, False
        self._late: deque[tuple[float, bytes, Callable[[], None] | None]] = deque()
        self.recipient = self._unanswered = ""
        self._waits_at = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._loop = asyncio.get_running_loop()
        self._sink.sessions.add(self)
        self._answer("connect")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self._sink.sessions.discard(self)

    @property
    def is_open(self) -> bool:
        """Whether a message is under way."""
        return bool(self.recipient or self._unanswered)

    @property
    def peer_port(self) -> int:
        return int(self._transport.get_extra_info("peername")[1])

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self._transport.is_closing() and self._step():
            pass

    def _step(self) -> bool:
        if self._in_body:
            return self._take_body()
        end = self._buffer.find(b"\n")
        if end < 0:
            return False
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        self._command(line)
        return True

    def _command(self, line: bytes) -> None:
        verb = line[:4].lower().decode("ascii", "replace")
        if verb == "mail":
            self._begun_at = time.monotonic()
            self.recipient = "?"
            if not self._answer(verb):
                self.recipient = ""
        elif verb in ("rcpt", "data") and not self.recipient:
            self._say(b"503 5.5.1 nobody was named\r\n")
        elif verb == "rcpt":
            self.recipient = line.partition(b"<")[2].partition(b">")[0].decode()
            self._sink.begun[self.recipient] = self._begun_at
            if not self._answer(verb):
                self.recipient = ""
        elif verb == "data":
            self._waits_at = self._sink.random.choice(("data", "dot", "late"))
            self._in_body = self._answer(verb, self._wait("data"))
            # A leading line end lets an empty body's dot, and its first header, be found like any other.
            self._buffer[:0] = b"\r\n" if self._in_body else b""
            self._looked, self._body_begun = 0, False
        elif verb in ("ehlo", "rset", "quit"):
            self._answer(verb)
        else:
            self._say(b"502 5.5.1 not known here\r\n")

    def _wait(self, stage: str) -> float:
        return self._sink.wait_seconds(self._loop.time()) if self._waits_at == stage else 0.0

    def _take_body(self) -> bool:
        if len(self._buffer) > 2 and not self._body_begun:
            self._body_begun = True
            self._sink.decide("body", self)
        end = self._buffer.find(_END, self._looked)
        if end < 0:
            self._looked = max(0, len(self._buffer) - len(_END))
            return False
        message = bytes(self._buffer[:end])
        del self._buffer[: end + len(_END)]
        self._in_body = False
        self._finish(message)
        return True

    def _finish(self, message: bytes) -> None:
        recipient = self.recipient
        named = _NAME.search(message)
        queued = _QUEUED.match(message)
        name = named[1].decode() if named else ""
        relay = queued[1].decode() if queued else ""

        def keep() -> None:
            self._sink.kept[name, relay] += 1
            self._sink.whose[recipient] = name

        act = self._sink.decide("dot", self) or Act()
        self.recipient = ""
        if act.reply is not None:
            if act.keeps:
                keep()
            self._say(_line(act.reply), act.delay_seconds)
            return
        self._unanswered = recipient
        is_late = self._waits_at == "late"
        wait = act.delay_seconds + self._wait("dot") + self._wait("late")
        if not is_late:
            keep()

        def said() -> None:
            if is_late:
                keep()
            self._unanswered = ""

        self._say(_line(USUAL["dot"]), wait, said)

    def _answer(self, stage: str, delay_seconds: float = 0.0) -> bool:
        """Answer as usual unless it is decided otherwise; whether it was as usual."""
        act = self._sink.decide(stage, self) or Act()
        if act.reply is not None:
            self._say(_line(act.reply), act.delay_seconds)
            return False
        usual = USUAL[stage]
        if stage == "ehlo" and self._sink.pipelining:
            usual = b"250-faults\r\n250 PIPELINING"
        self._say(_line(usual), delay_seconds + act.delay_seconds)
        return True

    def _say(
        self, reply: bytes, delay_seconds: float = 0.0, then: Callable[[], None] | None = None
    ) -> None:
        self._late.append((self._loop.time() + delay_seconds, reply, then))
        if len(self._late) == 1:
            self._pump()

    def _pump(self) -> None:
        while self._late and not self._transport.is_closing():
            at, reply, then = self._late[0]
            if at > self._loop.time():
                self._loop.call_at(at, self._pump)
                return
            self._late.popleft()
            if then is not None:
                then()
            if reply:
                self._transport.write(reply)
            if not reply or reply.startswith((b"421", b"221")):
                self._transport.close()
            if then is not None:
                self._sink.decide("accepted", self)


def _line(reply: bytes) -> bytes:
    return reply + b"\r\n" if reply else b""


@contextmanager
def running(**told: object) -> Iterator[Sink]:
    """Listen in a thread for as long as the block runs."""
    sink = Sink(**told)  # type: ignore[arg-type]
    with listening(lambda: Session(sink)) as sink.port:
        yield sink
