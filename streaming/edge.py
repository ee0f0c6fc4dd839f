"""The HTTP edge: records what recipients do, and lets them leave.

GET shows, POST acts, HEAD does nothing. An answer goes out when the hit is durable in the event log
and, for an unsubscribe, the decision before that in the people store. Where a link leads is looked
up in the approved message; no URL is ever taken from a request. No cookies.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from pipelines.clock import Clock, SystemClock
from pipelines.delivery.people import PeopleStore
from pipelines.delivery.viewing import Viewing
from pipelines.engagement.events import Kind
from pipelines.errors import LettermillError
from pipelines.message.tokens import Purpose
from pipelines.settings import CHECKOUT, Home, Settings
from streaming import forms, pages
from streaming.answering import Edge, edge_of, not_found, token_of
from streaming.choosing import leave, preferences
from streaming.log import GroupCommit, LogWriter
from streaming.lookups import Lookups
from streaming.pages import HEADERS
from streaming.process import Stopping, watch_parent

PARTITION = "edge"
HOST = "127.0.0.1"
PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)


async def pixel(request: Request) -> Response:
    token = token_of(request, Purpose.OPEN)
    if token is None:
        return not_found()
    edge = edge_of(request)
    if request.method == "GET" and await edge.may_track(token):
        await edge.record(request, token, Kind.OPEN)
    return Response(PIXEL, media_type="image/gif", headers=HEADERS)


async def click(request: Request) -> Response:
    token = token_of(request, Purpose.CLICK)
    number = request.path_params["link"]
    if token is None or not (number.isascii() and number.isdigit() and len(number) < 6):
        return not_found()
    edge = edge_of(request)
    link = int(number)
    url = await edge.blocking(lambda: edge.lookups.link(token.campaign, link))
    if url is None:
        return not_found()
    if request.method == "GET" and await edge.may_track(token):
        await edge.record(request, token, Kind.CLICK, link=link)
    return Response(status_code=302, headers={**HEADERS, "Location": url})


async def view(request: Request) -> Response:
    """One person's message as a page. Looking at it counts as nothing."""
    token = token_of(request, Purpose.VIEW)
    if token is None:
        return not_found()
    edge = edge_of(request)
    approved = await edge.blocking(lambda: edge.lookups.bundle(token.campaign))
    now = edge.clock.now()
    # Not on the thread of clicks and unsubscribes: reading a contact takes longer than they may wait.
    if approved is None:
        return not_found()
    page = await asyncio.get_running_loop().run_in_executor(
        edge.reading, lambda: edge.viewing.page(approved, token.contact_id, now=now)
    )
    return HTMLResponse(page, headers=pages.MESSAGE_HEADERS) if page else not_found()


async def health(request: Request) -> Response:  # noqa: ARG001
    return JSONResponse({"status": "ok"}, headers=HEADERS)


async def who(request: Request) -> Response:
    return JSONResponse({"home_id": edge_of(request).home_id}, headers=HEADERS)


def make_app(
    home: Home, clock: Clock, *, project: Path = CHECKOUT, public_url: str = ""
) -> Starlette:
    """The edge of a home. It holds the log's partition while it runs.

    project     whose topics can be chosen
    public_url  its own address, for the links of a message it shows
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with (
            LogWriter(home.event_log, PARTITION) as writer,
            ThreadPoolExecutor(1) as thread,
            ThreadPoolExecutor(1) as reading,
        ):
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
                viewing=Viewing(home, public_url),
                reading=reading,
                project=project,
            )
            yield

    app = Starlette(
        routes=[
            Route("/o/{token}.gif", pixel, methods=["GET"]),
            Route("/c/{token}/{link}", click, methods=["GET"]),
            Route("/u/{token}", leave, methods=["GET", "POST"]),
            Route("/p/{token}", preferences, methods=["GET", "POST"]),
            Route("/v/{token}", view, methods=["GET"]),
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
            make_app(home, SystemClock(), project=settings.project, public_url=settings.public_url),
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
