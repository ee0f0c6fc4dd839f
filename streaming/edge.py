"""The HTTP edge: records what recipients do, and lets them leave.

GET shows, POST acts, HEAD does nothing. An answer goes out when the hit is durable in the event log
and, for an unsubscribe, the decision before that in the people store. Where a link leads is looked
up in the approved message; no URL is ever taken from a request. No cookies.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pipelines.clock import Clock, SystemClock
from pipelines.delivery.people import PeopleStore, Reason, Scope
from pipelines.engagement.events import MAX_USER_AGENT, Hit, Kind, network_of
from pipelines.errors import LettermillError
from pipelines.message.tokens import Purpose, Token, read
from pipelines.settings import Home, Settings
from streaming import forms, pages
from streaming.log import GroupCommit, LogWriter
from streaming.lookups import Lookups
from streaming.pages import HEADERS
from streaming.process import Stopping, watch_parent

PARTITION = "edge"
HOST = "127.0.0.1"
PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
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
    _withdrawn: set[int] = field(default_factory=set)
    _asked_at: float = float("-inf")

    async def blocking(self, call: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self.thread, call)

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
            self._asked_at = now
            self._withdrawn = await self.blocking(self.people.withdrawn_tracking)
        return token.contact_id not in self._withdrawn


def _edge(request: Request) -> Edge:
    edge: Edge = request.app.state.edge
    return edge


def _token(request: Request, purpose: Purpose) -> Token | None:
    return read(request.path_params["token"], purpose, _edge(request).key)


def _not_found() -> Response:
    return PlainTextResponse("Not found", status_code=404, headers=HEADERS)


async def pixel(request: Request) -> Response:
    token = _token(request, Purpose.OPEN)
    if token is None:
        return _not_found()
    edge = _edge(request)
    if request.method == "GET" and await edge.may_track(token):
        await edge.record(request, token, Kind.OPEN)
    return Response(PIXEL, media_type="image/gif", headers=HEADERS)


async def click(request: Request) -> Response:
    token = _token(request, Purpose.CLICK)
    number = request.path_params["link"]
    if token is None or not (number.isascii() and number.isdigit() and len(number) < 6):
        return _not_found()
    edge = _edge(request)
    link = int(number)
    url = await edge.blocking(lambda: edge.lookups.link(token.campaign, link))
    if url is None:
        return _not_found()
    if request.method == "GET" and await edge.may_track(token):
        await edge.record(request, token, Kind.CLICK, link=link)
    return Response(status_code=302, headers={**HEADERS, "Location": url})


async def leave(request: Request) -> Response:
    token = _token(request, Purpose.UNSUBSCRIBE)
    if token is None:
        return _not_found()
    edge = _edge(request)
    approved = await edge.blocking(lambda: edge.lookups.bundle(token.campaign))
    topic = approved.topic.name() if approved else ""
    sender = approved.brand.postal_address if approved else ""
    if request.method != "POST":
        page = pages.leave_page(topic=topic or "this newsletter", sender=sender)
        return HTMLResponse(page, headers=HEADERS)
    scope = forms.scope_to_leave(await forms.fields(request))
    if scope is None:
        return PlainTextResponse("Nothing was chosen", status_code=400, headers=HEADERS)
    await _leave(request, token, scope)
    what = topic if scope is Scope.TOPIC and topic else "all marketing mail"
    return HTMLResponse(pages.left_page(what=what, sender=sender), headers=HEADERS)


async def _leave(request: Request, token: Token, scope: Scope) -> None:
    edge = _edge(request)
    at = edge.clock.now()
    await edge.blocking(
        lambda: edge.lookups.suppress(
            edge.people, token, reason=Reason.UNSUBSCRIBED, scope=scope, at=at
        )
    )
    # The decision holds by now; the log only tells the reports.
    await edge.record(request, token, Kind.UNSUBSCRIBE, mark=scope.value, detail=scope.value)


async def health(request: Request) -> Response:  # noqa: ARG001
    return JSONResponse({"status": "ok"}, headers=HEADERS)


async def who(request: Request) -> Response:
    return JSONResponse({"home_id": _edge(request).home_id}, headers=HEADERS)


def make_app(home: Home, clock: Clock) -> Starlette:
    """The edge of a home. It holds the log's partition while it runs."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with LogWriter(home.event_log, PARTITION) as writer, ThreadPoolExecutor(1) as thread:
            loop = asyncio.get_running_loop()
            people = await loop.run_in_executor(thread, PeopleStore, home.people)
            app.state.edge = Edge(
                home=home,
                clock=clock,
                log=GroupCommit(writer),
                key=home.key("links"),
                home_id=home.identity().home_id,
                lookups=Lookups(home),
                people=people,
                thread=thread,
            )
            yield

    app = Starlette(
        routes=[
            Route("/o/{token}.gif", pixel, methods=["GET"]),
            Route("/c/{token}/{link}", click, methods=["GET"]),
            Route("/u/{token}", leave, methods=["GET", "POST"]),
            Route("/healthz", health, methods=["GET"]),
            Route("/.well-known/lettermill", who, methods=["GET"]),
        ],
        exception_handlers={forms.TooLarge: forms.too_large},
        lifespan=lifespan,
    )
    # Starlette's redirect to the path without its slash would trust the Host header.
    app.router.redirect_slashes = False
    return app


class _Server(uvicorn.Server):
    """Says in <home>/stream/edge.json where it listens, once it does."""

    def __init__(self, config: uvicorn.Config, home: Home) -> None:
        super().__init__(config)
        self._home = home

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            where = orjson.dumps({"host": HOST, "port": port})
            (self._home.stream / "edge.json").write_bytes(where)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m streaming.edge", description=__doc__)
    arguments.add_argument("--with-parent", action="store_true", help="end with the parent process")
    chosen = arguments.parse_args()
    Stopping().on_signals()
    try:
        settings = Settings.load()
        home = Home(settings.home)
        home.identity()
        config = uvicorn.Config(
            make_app(home, SystemClock()),
            host=HOST,
            port=settings.edge_port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=3,
        )
        server = _Server(config, home)
        if chosen.with_parent:
            watch_parent(lambda: setattr(server, "should_exit", True))
        server.run()
    except LettermillError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
