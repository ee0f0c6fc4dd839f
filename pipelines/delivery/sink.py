"""A loopback SMTP server that keeps every message it accepts and passes none on.

`python -m pipelines.delivery.sink --home HOME`. Messages lie as maildir files in HOME/sink/new;
sink.json beside them says where it listens. What was accepted with 250 is in its file. It can be
told to fail, or to signal a process, at a named stage: see sink_script.py.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.clock import SystemClock
from pipelines.delivery.sink_script import Script, no_script, read_script
from pipelines.errors import RelayUnavailable
from pipelines.settings import CHECKOUT, Home, Settings

LARGEST_MESSAGE = 26_214_400
START_SECONDS = 20.0
STATE_FILE = "sink.json"
_END = b"\r\n.\r\n"


class Maildir:
    """Files written under tmp and renamed into new, so that a reader never sees half a message."""

    def __init__(self, root: Path) -> None:
        self._new, self._tmp = root / "new", root / "tmp"
        for folder in (self._new, self._tmp, root / "cur"):
            folder.mkdir(parents=True, exist_ok=True)
        self._numbers = itertools.count(1)
        self._started = SystemClock().now().timestamp()

    def keep(self, message: bytes) -> None:
        name = f"{self._started:.6f}.{os.getpid()}_{next(self._numbers):08d}.eml"
        part = self._tmp / name
        part.write_bytes(message)
        part.rename(self._new / name)


class Session(asyncio.Protocol):
    """One client. Commands may be pipelined; replies are in order."""

    def __init__(self, maildir: Maildir, script: Script) -> None:
        self._maildir = maildir
        self._script = script
        self._buffer = bytearray()
        self._body_from: int | None = None
        self._body_begun = False
        self._sender = b""
        self._recipients: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._say("connect", b"220 lettermill-sink ESMTP")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self._transport.is_closing():
            if self._body_from is not None:
                if not self._take_body():
                    return
            elif (end := self._buffer.find(b"\n")) >= 0:
                line = bytes(self._buffer[:end]).rstrip(b"\r")
                del self._buffer[: end + 1]
                self._command(line)
            else:
                return

    def _command(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb in (b"EHLO", b"HELO"):
            offers = (b"PIPELINING", b"8BITMIME", b"SMTPUTF8", b"SIZE %d" % LARGEST_MESSAGE)
            greeting = [b"lettermill-sink", *offers] if verb == b"EHLO" else [b"lettermill-sink"]
            parts = [b"250-" + part for part in greeting[:-1]] + [b"250 " + greeting[-1]]
            self._say("ehlo", b"\r\n".join(parts))
        elif verb == b"MAIL":
            self._sender, self._recipients = _path(line), []
            self._say("mail", b"250 2.1.0 ok")
        elif verb == b"RCPT":
            if self._say("rcpt", b"250 2.1.5 ok"):
                self._recipients.append(_path(line))
        elif verb == b"DATA":
            self._data()
        elif verb == b"QUIT":
            self._transport.write(b"221 2.0.0 bye\r\n")
            self._transport.close()
        elif verb in (b"RSET", b"NOOP"):
            self._recipients = [] if verb == b"RSET" else self._recipients
            self._transport.write(b"250 2.0.0 ok\r\n")
        else:
            self._transport.write(b"502 5.5.1 not known here\r\n")

    def _data(self) -> None:
        if not self._recipients:
            self._transport.write(b"503 5.5.1 no recipient\r\n")
        elif self._say("data", b"354 go on"):
            # A leading line end lets an empty body's dot be found like any other.
            self._buffer[:0] = b"\r\n"
            self._body_from, self._body_begun = 0, False

    def _take_body(self) -> bool:
        assert self._body_from is not None
        if len(self._buffer) > 2 and not self._body_begun:
            self._body_begun = True
            self._script.reach("body")
        end = self._buffer.find(_END, self._body_from)
        if end < 0:
            self._body_from = max(0, len(self._buffer) - len(_END))
            return False
        message = bytes(self._buffer[2 : end + 2]).replace(b"\r\n.", b"\r\n")
        message = message[1:] if message.startswith(b".") else message
        del self._buffer[: end + len(_END)]
        self._body_from = None
        self._finish(message)
        return True

    def _finish(self, message: bytes) -> None:
        decided = self._script.reach("dot")
        if decided is not None:
            self._answer(decided)
            return
        head = b"Return-Path: <%s>\r\n" % self._sender
        head += b"".join(b"Delivered-To: %s\r\n" % address for address in self._recipients)
        self._maildir.keep(head + message)
        self._recipients = []
        if self._say("kept", b"250 2.0.0 kept"):
            self._script.reach("accepted")

    def _say(self, stage: str, reply: bytes) -> bool:
        """Answer as usual unless the script decides otherwise; whether it was as usual."""
        decided = self._script.reach(stage)
        self._answer(reply + b"\r\n" if decided is None else decided)
        return decided is None

    def _answer(self, reply: bytes) -> None:
        if reply:
            self._transport.write(reply)
        if not reply or reply.startswith(b"421"):
            self._transport.close()


def _path(line: bytes) -> bytes:
    return line.partition(b"<")[2].partition(b">")[0]


async def serve(home: Home, *, port: int, script: Script, with_parent: bool) -> None:
    """Listen on loopback until SIGTERM, or until standard input ends."""
    loop = asyncio.get_running_loop()
    maildir = Maildir(home.sink)
    server = await loop.create_server(
        lambda: Session(maildir, script), "127.0.0.1", port, backlog=1024
    )
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if with_parent:
        loop.add_reader(sys.stdin.fileno(), stopped.set)
    listening = server.sockets[0].getsockname()[1]
    state = home.sink / STATE_FILE
    part = state.with_suffix(".part")
    part.write_text(json.dumps({"host": "127.0.0.1", "port": listening, "pid": os.getpid()}))
    part.replace(state)
    await stopped.wait()
    server.close()
    if _read_state(home) == ("127.0.0.1", listening):
        state.unlink(missing_ok=True)


def address(home: Home) -> tuple[str, int] | None:
    """Where this home's sink listens, if one does."""
    where = _read_state(home)
    if where is None:
        return None
    try:
        socket.create_connection(where, timeout=2).close()
    except OSError:
        return None
    return where


def _read_state(home: Home) -> tuple[str, int] | None:
    try:
        state = json.loads((home.sink / STATE_FILE).read_text())
    except (OSError, ValueError):
        return None
    return str(state["host"]), int(state["port"])


@contextmanager
def running(
    home: Home, settings: Settings, *, script: Path | None = None
) -> Iterator[tuple[str, int]]:
    """Where to send: to the sink that is up, else to one that lives as long as the block."""
    if (where := address(home)) is not None and script is None:
        yield where
        return
    command = [sys.executable, "-m", __spec__.name, "--home", str(home.root), "--with-parent"]
    if script is not None:
        command += ["--script", str(script)]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=settings.environ(), stdin=subprocess.PIPE)
    try:
        yield _await(home, process)
    finally:
        process.terminate()
        process.communicate()


def _await(home: Home, process: subprocess.Popen[bytes]) -> tuple[str, int]:
    clock = SystemClock()
    deadline = clock.monotonic() + START_SECONDS
    while clock.monotonic() < deadline and process.poll() is None:
        if (where := address(home)) is not None:
            return where
        clock.sleep(0.02)
    raise RelayUnavailable("the loopback sink did not start", do="See what this prints: make dev")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--with-parent", action="store_true")
    parser.add_argument("--script", type=Path)
    options = parser.parse_args()
    script = read_script(options.script) if options.script else no_script()
    home = Home(options.home)
    asyncio.run(serve(home, port=options.port, script=script, with_parent=options.with_parent))


if __name__ == "__main__":
    main()
