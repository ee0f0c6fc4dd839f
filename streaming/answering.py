"""What every answer of the edge needs: the home's stores, the log, and who asks.

Blocking calls go to a thread: people and lookups to one, where SQLite wants them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipelines.clock import Clock
from pipelines.delivery.people import PeopleStore
from pipelines.delivery.viewing import Viewing
from pipelines.engagement.events import MAX_USER_AGENT, Hit, Kind, network_of
from pipelines.message.tokens import Purpose, Token, read
from pipelines.settings import Home
from streaming.log import GroupCommit
from streaming.lookups import Lookups
from streaming.pages import HEADERS

# A withdrawal of tracking takes effect within this time; asking at every pixel would cost a query.
WITHDRAWN_SECONDS = 1.0

Answer = TypeVar("Answer")


@dataclass
class Edge:
    """Everything an answer needs. The people store lives on one thread, where SQLite wants it."""

    home: Home
    clock: Clock
    log: GroupCommit
    key: bytes
    home_id: str
    lookups: Lookups
    people: PeopleStore
    thread: ThreadPoolExecutor
    viewing: Viewing
    reading: ThreadPoolExecutor
    project: Path
    _withdrawn: set[int] = field(default_factory=set)
    _asked_at: float = float("-inf")

    async def blocking(self, call: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self.thread, call)

    async def slowly(self, call: Callable[[], Answer]) -> Answer:
        """The same for what reads the lake: clicks and unsubscribes do not wait for it."""
        return await asyncio.get_running_loop().run_in_executor(self.reading, call)

    async def record(self, request: Request, token: Token, kind: Kind, **more: object) -> None:
        """Log a hit, durably."""
        values = {
            "kind": kind,
            "at": self.clock.now(),
            "campaign": token.campaign,
            "contact_id": token.contact_id,
            "mark": secrets.token_hex(16),
            "method": request.method,
            "user_agent": request.headers.get("user-agent", "")[:MAX_USER_AGENT] or None,
            "network": network_of(request.client.host if request.client else None),
        }
        await self.log.append(Hit.model_validate(values | more).to_bytes())

    async def may_track(self, token: Token) -> bool:
        """Whether this person still agrees to be counted, even for mail sent long ago."""
        now = self.clock.monotonic()
        if now - self._asked_at >= WITHDRAWN_SECONDS:
            self._withdrawn = await self.blocking(self.people.withdrawn_tracking)
            self._asked_at = now
        return token.contact_id not in self._withdrawn


def edge_of(request: Request) -> Edge:
    """The edge that answers a request."""
    edge: Edge = request.app.state.edge
    return edge


def token_of(request: Request, purpose: Purpose) -> Token | None:
    """What the token in a request's path says; None unless it was made for this purpose."""
    return read(request.path_params["token"], purpose, edge_of(request).key)


def not_found() -> Response:
    """The answer to whatever is none of ours; it does not say why."""
    return PlainTextResponse("Not found", status_code=404, headers=HEADERS)
