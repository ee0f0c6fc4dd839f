"""A campaign's whole send, ledger, claims, letters and all, into postfix's `smtp-sink` on this machine.

Reference of the same run: `smtp-source -d` with as many sessions, messages and bytes into the same sink.
Measured is the command's own time, from its first look to its last export: starting two processes is
in it. `peak_memory` is the proportional memory of all its processes together, looked at as it runs.

With 100 ms before each reply the sink is our own: smtp-sink waits in whole seconds.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from multiprocessing.connection import Connection
from pathlib import Path

import aiosmtplib
import psutil

from bench.figure import Figure
from bench.send_home import DOMAIN, SLUG, a_message, forget, prepared, sign
from bench.send_slow import slow_sink
from pipelines.delivery.sending import send_campaign
from pipelines.settings import Settings
from pipelines.workspace import open_workspace

BENCH = "send"
PEOPLE = {"tiny": (10_000,), "small": (100_000,), "full": (100_000, 1_000_000)}
WORKERS, CONNECTIONS = 2, 8
SOURCE = "smtp-source -d"
GLANCE_SECONDS = 1.0
LATENCY_SECONDS, LATENCY_ROUNDS = 0.1, 60
NAIVE_MESSAGES, NAIVE_SESSIONS = 2_000, 16


@dataclass(frozen=True)
class Sent:
    """One whole send."""

    people: int
    seconds: float
    peak_mb: float

    @property
    def rate(self) -> float:
        return self.people / self.seconds


def figures(scale: str) -> Iterator[Figure]:
    first: Sent | None = None
    for people in PEOPLE[scale]:
        with tempfile.TemporaryDirectory(prefix="lettermill-bench-") as folder, _sink() as port:
            space = prepared(Path(folder), people, port=port, connections=CONNECTIONS)
            plain = _sent(space.settings, people)
            yield from _scale(plain, first)
            if first is None:
                yield from _sides(space.settings, plain, port)
            first = first or plain
    yield from _latency()


def _scale(plain: Sent, first: Sent | None) -> Iterator[Figure]:
    thousands = f"{plain.people // 1000}k"
    yield Figure(BENCH, f"peak_memory_{thousands}", plain.peak_mb, "MB")
    each = plain.seconds / plain.people * 1e6
    before = first.seconds / first.people * 1e6 if first else None
    name = f"at {first.people // 1000}k" if first else None
    yield Figure(BENCH, f"time_per_recipient_{thousands}", each, "µs", name, before)


def _sides(settings: Settings, plain: Sent, port: int) -> Iterator[Figure]:
    """The same into the same sink: what smtp-source does, the same signed, and the usual way.

    The reference is measured between the two and after, so that a machine that is busy with something
    else is as busy for both.
    """
    message = a_message(open_workspace(settings))
    yield Figure(BENCH, "message_bytes", len(message), "bytes")
    between = _by_source(plain.people, len(message), port)
    forget(open_workspace(settings))
    sign(open_workspace(settings))
    signed = _sent(settings, plain.people)
    reference = (between + _by_source(plain.people, len(message), port)) / 2
    yield Figure(BENCH, "unsigned_vs_smtp_source", plain.rate, "/s", SOURCE, reference)
    yield Figure(BENCH, "signed_vs_smtp_source", signed.rate, "/s", SOURCE, reference)
    yield Figure(BENCH, "naive", asyncio.run(_naive(message, port)), "/s", SOURCE, reference)


def _sent(settings: Settings, people: int) -> Sent:
    """Send in a process of its own, and see to it that everybody got it."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    sender = spawn.Process(target=_send, args=(settings, theirs))
    sender.start()
    theirs.close()
    assert sender.pid is not None
    peak = 0.0
    while not ours.poll(GLANCE_SECONDS):
        peak = max(peak, _memory_mb(psutil.Process(sender.pid)))
    accepted, seconds = ours.recv()
    sender.join()
    if accepted != people:
        raise SystemExit(f"{accepted} of {people} messages were accepted")
    return Sent(people, seconds, peak)


def _send(settings: Settings, pipe: Connection) -> None:
    space = open_workspace(settings)
    started = time.perf_counter()
    result = send_campaign(SLUG, space)
    pipe.send((result.counts.get("accepted", 0), time.perf_counter() - started))


def _memory_mb(parent: psutil.Process) -> float:
    """The proportional memory of a process and all below it: what they share counts once."""
    total = 0
    for each in (parent, *parent.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += each.memory_full_info().pss
    return total / 1e6


@contextmanager
def _sink() -> Iterator[int]:
    """postfix's smtp-sink on a port of its own, for as long as the block runs."""
    port = _free_port()
    # It will not run as root; nobody is enough for it.
    command = [_tool("smtp-sink"), "-u", "nobody", f"127.0.0.1:{port}", "1024"]
    process = subprocess.Popen(command)
    try:
        while process.poll() is None and not _answers(port):
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


def _by_source(messages: int, size: int, port: int) -> float:
    """Messages a second of smtp-source over one session for each of our connections."""
    command = [_tool("smtp-source"), "-d", "-s", str(WORKERS * CONNECTIONS), "-l", str(size)]
    command += ["-m", str(messages), "-f", "bench@mill.example", "-t", f"p1@{DOMAIN}"]
    started = time.perf_counter()
    subprocess.run([*command, f"127.0.0.1:{port}"], check=True)
    return messages / (time.perf_counter() - started)


async def _naive(message: bytes, port: int) -> float:
    """Messages a second as most programs send: an EmailMessage each, a connection each."""
    parsed = message_from_bytes(message, policy=policy.SMTP)
    plain, html = (str(part.get_content()) for part in parsed.iter_parts())
    numbers = iter(range(NAIVE_MESSAGES))

    async def session() -> None:
        for number in numbers:
            mail = EmailMessage()
            mail["From"], mail["To"] = "bench@mill.example", f"p{number}@{DOMAIN}"
            mail["Subject"] = str(parsed["Subject"])
            mail.set_content(plain)
            mail.add_alternative(html, subtype="html")
            await aiosmtplib.send(mail, hostname="127.0.0.1", port=port, start_tls=False)

    started = time.perf_counter()
    await asyncio.gather(*(session() for _ in range(NAIVE_SESSIONS)))
    return NAIVE_MESSAGES / (time.perf_counter() - started)


def _latency() -> Iterator[Figure]:
    """With 100 ms before every reply, with some connections and with twice as many."""
    rates = {each: _delayed(each) for each in (CONNECTIONS, 2 * CONNECTIONS)}
    few, many = rates.values()
    yield Figure(BENCH, f"latency_100ms_{WORKERS * CONNECTIONS}_connections", few, "/s")
    name, reference = f"with {WORKERS * CONNECTIONS}", few
    metric = f"latency_100ms_{2 * WORKERS * CONNECTIONS}_connections"
    yield Figure(BENCH, metric, many, "/s", name, reference)


def _delayed(connections: int) -> float:
    """Messages a second while all connections are at work."""
    people = LATENCY_ROUNDS * WORKERS * connections
    with (
        tempfile.TemporaryDirectory(prefix="lettermill-bench-") as folder,
        slow_sink(LATENCY_SECONDS) as slow,
    ):
        space = prepared(Path(folder), people, port=slow.port, connections=connections)
        _sent(space.settings, people)
        return slow.rate


def _tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.defpath}:/usr/sbin:/sbin")
    if found is None:
        raise SystemExit(f"this benchmark needs {name}: install Debian's package postfix")
    return found


def _answers(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
