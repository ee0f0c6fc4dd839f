"""A server on loopback in a thread of its own, beside what is measured."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvloop


@contextmanager
def listening(session: Callable[[], asyncio.Protocol]) -> Iterator[int]:
    """The port at which each connection gets a session, for as long as the block runs."""
    loop, ready, ports = uvloop.new_event_loop(), threading.Event(), list[int]()

    async def listen() -> None:
        server = await loop.create_server(session, "127.0.0.1", 0, backlog=1024)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.create_task(listen())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
