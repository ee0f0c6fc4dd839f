"""An SMTP server that takes its time before each reply, as if it were far away, and counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from bench.listening import listening

_END = b"\r\n.\r\n"


@dataclass
class Slow:
    """What it has heard: when each message ended."""

    delay_seconds: float
    port: int = 0
    ends: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Messages a second from the first to the last."""
        return (len(self.ends) - 1) / (self.ends[-1] - self.ends[0])


class _Session(asyncio.Protocol):
    def __init__(self, slow: Slow) -> None:
        self._slow, self._buffer, self._in_body = slow, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's; they have the same methods.
        self._transport = cast("asyncio.Transport", transport)
        self._say(b"220 slow ESMTP")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            mark = _END if self._in_body else b"\r\n"
            found, separator, rest = self._buffer.partition(mark)
            if not separator:
                return
            self._buffer = rest
            if self._in_body:
                self._in_body = False
                self._slow.ends.append(time.monotonic())
                self._say(b"250 2.0.0 kept")
            else:
                self._command(found[:4].upper())

    def _command(self, verb: bytes) -> None:
        if verb == b"DATA":
            self._in_body = True
            self._say(b"354 go on")
        elif verb == b"EHLO":
            self._say(b"250-slow\r\n250 PIPELINING")
        else:
            self._say(b"221 bye" if verb == b"QUIT" else b"250 ok")

    def _say(self, reply: bytes) -> None:
        # Each reply is as late as the way is long; those to commands sent together come together.
        loop = asyncio.get_running_loop()
        loop.call_later(self._slow.delay_seconds, self._write, reply + b"\r\n")

    def _write(self, reply: bytes) -> None:
        if not self._transport.is_closing():  # who quits does not wait for the answer
            self._transport.write(reply)


@contextmanager
def slow_sink(delay_seconds: float) -> Iterator[Slow]:
    """Listen on loopback, in a thread, for as long as the block runs."""
    slow = Slow(delay_seconds)
    with listening(lambda: _Session(slow)) as slow.port:
        yield slow
