"""Where a mode hands mail over, and whose edge answers at the public URL."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.delivery import sink
from pipelines.delivery.relay import Relay
from pipelines.delivery.routes import Routes, Way, load_routes
from pipelines.settings import DeliveryMode
from pipelines.workspace import Workspace

PROBE_SECONDS = 5


@contextmanager
def routes_of(workspace: Workspace, brand: str) -> Iterator[Routes]:
    """Where this mode hands a brand's mail over, and how fast: the home's sink, started if need be, or
    the relays."""
    settings = workspace.settings
    if settings.delivery_mode is not DeliveryMode.SINK:
        yield load_routes(settings, brand=brand)
        return
    with sink.running(workspace.home, settings) as (host, port):
        yield Routes((Way("sink", Relay(host, port)),))


def home_at(url: str) -> str | None:
    """The id of the home whose edge answers at a public URL."""
    try:
        address = f"{url}/.well-known/lettermill"
        with urllib.request.urlopen(address, timeout=PROBE_SECONDS) as answer:  # noqa: S310
            found = json.load(answer).get("home_id")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, str) else None
