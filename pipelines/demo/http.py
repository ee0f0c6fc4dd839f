"""A small HTTP/1.1 client on one kept-alive connection: what a mail client needs to fetch a pixel.

Speaks to the demo's own edge only; no redirects are followed, no TLS.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipelines.errors import Problem, StreamInvalid

FORM = "application/x-www-form-urlencoded"


@dataclass
class Connection:
    """One connection, opened when first used and again when the other side closed it."""

    base_url: str
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(default=None)

    async def request(
        self, method: str, path: str, *, agent: str, body: bytes | None = None
    ) -> int:
        """Send one request and read the whole answer; returns its status."""
        host = urlsplit(self.base_url).netloc
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"User-Agent: {agent}"]
        if body is not None:
            lines += [f"Content-Type: {FORM}", f"Content-Length: {len(body)}"]
        message = "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
        for last in (False, True):
            try:
                return await self._exchange(message, has_body=method != "HEAD")
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                # The edge may close an idle connection between two requests: once is normal.
                await self.close()
                if last:
                    problem = Problem(self.base_url, type(error).__name__)
                    do = "Start it: python -m streaming.edge"
                    raise StreamInvalid("the edge does not answer", [problem], do=do) from error
        raise AssertionError("unreachable")

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, message: bytes, *, has_body: bool) -> int:
        if self._streams is None:
            parts = urlsplit(self.base_url)
            self._streams = await asyncio.open_connection(parts.hostname, parts.port or 80)
        reader, writer = self._streams
        writer.write(message)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, found, rest = head.partition(b"content-length:")
        length = int(rest.partition(b"\r\n")[0]) if found else 0
        if has_body and length:
            await reader.readexactly(length)
        if b"connection: close" in head:
            await self.close()
        return int(head.split(b" ", 2)[1])
