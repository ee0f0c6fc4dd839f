"""A small shop ready to send, and SMTP servers that say what they are told.

The shop is loaded, approved and frozen once; each test gets a copy of its home and its project, so it
may edit, lose and send what it likes. Its campaign is due at once, whatever the calendar says.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.contacts.core import load_all
from pipelines.delivery import approval
from pipelines.delivery.relay import ConnectionLost, Relay, connect
from pipelines.delivery.sending import send_campaign
from pipelines.demo.prepare import Demo, prepare
from pipelines.errors import Refused
from pipelines.settings import CHECKOUT, Home

CONTACTS = 300
TIMES = ("send_at", "time_zone", "if_passed")
USUAL = {
    "connect": b"220 scripted ESMTP",
    "ehlo": b"250-scripted\r\n250 PIPELINING",
    "mail": b"250 2.1.0 ok",
    "rcpt": b"250 2.1.5 ok",
    "data": b"354 go on",
    "body": b"",
    "dot": b"250 2.0.0 kept",
    "rset": b"250 2.0.0 ok",
    "quit": b"221 2.0.0 bye",
}
Copied = Callable[..., Demo]
Reply = bytes | None | Callable[[int], bytes | None]


@dataclass
class Scripted:
    """An SMTP server on loopback. It answers each stage from `replies` (None: drop) and takes notes.

    A reply may be a function of how often its stage was reached, over all connections.
    """

    replies: dict[str, Reply]
    port: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    commands: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    unended: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    said: bytes = b""

    @property
    def relay(self) -> Relay:
        return Relay("127.0.0.1", self.port)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        stays = self._say("connect", writer)
        while stays and (line := await reader.readline()):
            self.commands.append(line.rstrip())
            stage = line[:4].decode().lower()
            stays = self._say(stage, writer)
            if stays and stage == "data" and self.said.startswith(b"354"):
                stays = await self._body(reader, writer)
        writer.close()

    async def _body(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        line = await reader.readline()
        body = bytearray(line)
        if line != b".\r\n" and not self._say("body", writer):
            return False
        while line and line != b".\r\n":
            line = await reader.readline()
            body += line
        if not line:
            self.unended.append(bytes(body))
            return False
        self.bodies.append(bytes(body))
        return self._say("dot", writer)

    def _say(self, stage: str, writer: asyncio.StreamWriter) -> bool:
        self.counts[stage] += 1
        found = self.replies[stage]
        reply = found(self.counts[stage]) if callable(found) else found
        self.said = reply or b""
        if reply is None:
            writer.transport.abort()
            return False
        if reply:
            writer.write(reply + b"\r\n")
        return not reply.startswith(b"421")


Speaker = Callable[..., AbstractAsyncContextManager[Scripted]]


@asynccontextmanager
async def _speaking(**replies: Reply) -> AsyncIterator[Scripted]:
    scripted = Scripted({**USUAL, **replies})
    server = await asyncio.start_server(scripted.talk, "127.0.0.1", 0)
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        server.close()
        for writer in scripted.writers:
            writer.transport.abort()


@pytest.fixture(scope="session")
def speaking() -> Speaker:
    """`async with speaking(rcpt=b"550 no", dot=None) as server`: stages not named answer as usual."""
    return _speaking


async def _hand_over(relay: Relay, message: bytes, to: str) -> tuple[Any, int]:
    dots: list[int] = []
    connection = await connect(relay)
    try:
        result: Any = await connection.transmit(
            "bounce@mill.example", to, message, before_dot=lambda: dots.append(1)
        )
    except (ConnectionLost, Refused) as error:
        result = type(error)
    finally:
        connection.abort()
    return result, len(dots)


@pytest.fixture(scope="session")
def hand_over() -> Callable[[Relay, bytes, str], Awaitable[tuple[Any, int]]]:
    """One message over a connection of its own: its outcome or error's class, and the dots marked."""
    return _hand_over


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Loaded, approved and frozen; not for sending from: take `demo`."""
    root = tmp_path_factory.mktemp("shop")
    for folder in ("assets", "sql"):
        shutil.copytree(CHECKOUT / folder, root / "project" / folder)
    ready = prepare("shop", contacts=CONTACTS, home=root / "home")
    file = root / "project/assets/campaigns" / ready.campaign / "campaign.yaml"
    values = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({k: v for k, v in values.items() if k not in TIMES}))
    demo = _at(root, ready)
    space = demo.workspace
    load_all(space.project, space.home, space.lake, space.clock, ["shop"])
    approval.approve(demo.campaign, by="test", workspace=space)
    approval.freeze_audience(demo.campaign, space)
    return demo


@pytest.fixture(scope="session")
def _sent(shop: Demo, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    root = tmp_path_factory.mktemp("sent") / "shop"
    shutil.copytree(shop.home.root.parent, root)
    sent = _at(root, shop)
    send_campaign(sent.campaign, sent.workspace)
    return sent


@pytest.fixture
def sent(_sent: Demo, tmp_path: Path) -> Demo:
    """A shop of one's own whose campaign went out to everybody, once."""
    shutil.copytree(_sent.home.root.parent, tmp_path / "shop")
    return _at(tmp_path / "shop", _sent)


@pytest.fixture
def demo(another: Copied, tmp_path: Path) -> Demo:
    """A shop of one's own, ready to send, with one worker and two connections."""
    return another(tmp_path / "shop")


@pytest.fixture(scope="session")
def another(shop: Demo) -> Copied:
    """`another(folder)`: a shop like it there; `another(folder, like)`: one like that one."""

    def made(root: Path, like: Demo = shop) -> Demo:
        shutil.copytree(like.home.root.parent, root)
        return _at(root, like)

    return made


def _at(root: Path, like: Demo) -> Demo:
    changes = {"home": root / "home", "project": root / "project", "workers": 1, "connections": 2}
    return Demo(like.source, like.settings.model_copy(update=changes), Home(root / "home"))
