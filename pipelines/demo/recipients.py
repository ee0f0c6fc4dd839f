"""The demo's audience: reads the sink's mail and does what people and machines do with mail.

Everything is real, from the parsed message to the request; only the people are made up. What one
does follows from the seed and the address, so it is the same every time. Every message is played
once; those played are noted in the sink's folder.
"""

from __future__ import annotations

import asyncio
import binascii
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.policy import compat32
from hashlib import blake2b
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.demo.bounce import delivery_report
from pipelines.demo.http import Connection
from pipelines.settings import Home

CONNECTIONS = 16
PLAYED = "played.txt"
BATCH = 500
ONE_CLICK = b"List-Unsubscribe=One-Click"
ATTRIBUTE = re.compile(r'(?:href|src)="([^"]+)"')

BOUNCES, UNSUBSCRIBES, CLICKS, OPENS = 0.005, 0.008, 0.10, 0.40
APPLE, GMAIL, SCANNER = 0.06, 0.03, 0.01
PERSON_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Thunderbird/140.4.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
)
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
APPLE_AGENT = "Mozilla/5.0"
GMAIL_AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
)
SCANNER_AGENT = "LinkGuard-bot/2.1"

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Played:
    """How many people did what in one play; machines are not people."""

    opened: int
    clicked: int
    unsubscribed: int
    bounced: int


@dataclass(frozen=True)
class Behaviour:
    """What one address does with every message it gets."""

    bounces: bool
    opens: bool
    clicks: bool
    unsubscribes: bool
    machine: str  # the agent that fetches before anybody looked; '' for none
    person: str
    pick: int

    @property
    def does_nothing(self) -> bool:
        return not (self.bounces or self.opens or self.machine)


def behaviour(address: str, seed: int) -> Behaviour:
    """The same for the same address and seed. Who clicks has opened; who leaves has opened."""
    digest = blake2b(f"{seed}\0{address}".encode(), digest_size=32).digest()
    draws = [int.from_bytes(digest[at : at + 4], "big") / 2**32 for at in range(0, 32, 4)]
    bounces, leaves, clicks = draws[0] < BOUNCES, draws[1] < UNSUBSCRIBES, draws[2] < CLICKS
    machine = next(
        (
            agent
            for below, agent in (
                (APPLE, APPLE_AGENT),
                (APPLE + GMAIL, GMAIL_AGENT),
                (APPLE + GMAIL + SCANNER, SCANNER_AGENT),
            )
            if draws[3] < below
        ),
        "",
    )
    return Behaviour(
        bounces=bounces,
        # One draw for both, so that everybody who clicks or leaves is among those who open.
        opens=not bounces and (leaves or draws[2] < OPENS),
        clicks=not bounces and clicks,
        unsubscribes=not bounces and leaves,
        machine="" if bounces else machine,
        person=PERSON_AGENTS[int(draws[4] * len(PERSON_AGENTS))],
        pick=int(draws[5] * 1000),
    )


@dataclass(frozen=True)
class Found:
    """Paths at the edge that stand in one message."""

    pixel: str | None
    links: list[str]
    unsubscribe: str | None


def find(raw: bytes) -> Found:
    """The pixel, the tracked links and the one-click address a mail client would find."""
    head, _, body = raw.partition(b"\r\n\r\n")
    headers = BytesHeaderParser(policy=compat32).parsebytes(head)
    listed = re.search(r"<(https?://[^>]+)>", str(headers.get("List-Unsubscribe", "")))
    if listed is None:
        return Found(None, [], None)
    unsubscribe = urlsplit(listed.group(1))
    text = _html(body, str(headers.get_boundary("")))
    urls = [urlsplit(unescape(url)) for url in ATTRIBUTE.findall(text)]
    # Only what the sender's own edge serves is requested; other links lead out of the demo.
    ours = [url.path for url in urls if url.netloc == unsubscribe.netloc]
    return Found(
        pixel=next((path for path in ours if path.startswith("/o/")), None),
        links=list(dict.fromkeys(path for path in ours if path.startswith("/c/"))),
        unsubscribe=unsubscribe.path,
    )


def _html(body: bytes, boundary: str) -> str:
    """The HTML of a multipart message. The standard parser goes line by line, 1 ms a message."""
    for part in body.split(b"--" + boundary.encode()):
        head, _, content = part.partition(b"\r\n\r\n")
        if b"text/html" not in head.lower():
            continue
        is_base64 = b"base64" in head.lower()
        decoded = binascii.a2b_base64(content) if is_base64 else binascii.a2b_qp(content)
        return decoded.decode("utf-8", "replace")
    return ""


def play(home: Home, edge_url: str, *, seed: int, progress: Progress | None = None) -> Played:
    """Play everybody whose mail came since the last play. Raises StreamInvalid without an edge.

    progress  called with the number of messages done and of all, now and then
    """
    note = home.sink / PLAYED
    played = set(note.read_text().split()) if note.exists() else set()
    paths = sorted((home.sink / "new").glob("*.eml"))
    waiting = [path for path in paths if path.name not in played]
    return asyncio.run(_play(home, edge_url, seed, waiting, progress))


async def _play(
    home: Home, edge_url: str, seed: int, waiting: list[Path], progress: Progress | None
) -> Played:
    counts: Counter[str] = Counter()
    connections = [Connection(edge_url) for _ in range(CONNECTIONS)]
    for start in range(0, len(waiting), BATCH):
        batch = waiting[start : start + BATCH]
        queue = iter(batch)
        clients = [_client(home, seed, queue, counts, connection) for connection in connections]
        await asyncio.gather(*clients)
        with (home.sink / PLAYED).open("a") as note:
            note.writelines(f"{path.name}\n" for path in batch)
        if progress is not None:
            progress(start + len(batch), len(waiting))
    for connection in connections:
        await connection.close()
    names = ("opened", "clicked", "unsubscribed", "bounced")
    return Played(**{name: counts[name] for name in names})


async def _client(
    home: Home, seed: int, queue: Iterator[Path], counts: Counter[str], connection: Connection
) -> None:
    for path in queue:
        raw = path.read_bytes()
        head = raw.partition(b"\r\n\r\n")[0]
        if b"\nList-Unsubscribe:" not in head:
            continue  # a report to the campaign's owner is no campaign mail
        does = behaviour(_mailbox(head), seed)
        if does.bounces:
            _bounce(home, path.name, raw)
            counts["bounced"] += 1
        elif not does.does_nothing:
            counts.update(await _visit(does, find(raw), connection))


async def _visit(does: Behaviour, found: Found, connection: Connection) -> list[str]:
    """Machines come first; then the person opens, clicks, and perhaps leaves."""
    done: list[str] = []
    if does.machine == SCANNER_AGENT:
        for path in (*found.links, found.unsubscribe):
            if path:
                await connection.request("GET", path, agent=does.machine)
    elif does.machine and found.pixel:
        await connection.request("GET", found.pixel, agent=does.machine)
    if does.opens and found.pixel:
        await connection.request("GET", found.pixel, agent=does.person)
        done.append("opened")
    if does.clicks and found.links:
        link = found.links[does.pick % len(found.links)]
        await connection.request("GET", link, agent=BROWSER)
        done.append("clicked")
    if does.unsubscribes and found.unsubscribe:
        status = await connection.request(
            "POST", found.unsubscribe, agent=does.person, body=ONE_CLICK
        )
        done += ["unsubscribed"] if status == 200 else []
    return done


def _mailbox(head: bytes) -> str:
    """The address a message was delivered to, as the server that delivered it noted on top."""
    return head.partition(b"Delivered-To: ")[2].partition(b"\r\n")[0].decode().lower()


def _bounce(home: Home, name: str, raw: bytes) -> None:
    """Put a report into the bounce mailbox: written aside, then moved in whole."""
    box = home.sink / "bounces"
    for folder in ("tmp", "new"):
        (box / folder).mkdir(parents=True, exist_ok=True)
    part = box / "tmp" / f"bounce-{name}"
    part.write_bytes(delivery_report(raw))
    part.replace(box / "new" / part.name)
