"""Read a small form from a stranger: urlencoded or multipart, never more than a cap."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message

from pipelines.delivery.people import Scope

MAX_BODY_BYTES = 64 * 1024
# Two for each topic that is offered.
MAX_FIELDS = 2_000
ONE_CLICK = ("List-Unsubscribe", "One-Click")  # RFC 8058


class TooLarge(Exception):
    """A body past the cap."""


async def fields(request: Request) -> dict[str, str]:
    """The text fields of a form, of one name the last; none when it is not one. Raises TooLarge."""
    return {name: values[-1] for name, values in (await listed(request)).items()}


async def listed(request: Request) -> dict[str, list[str]]:
    """The text fields of a form with all their values; none when it is not one. Raises TooLarge."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge

    async def whole() -> Message:
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    try:
        form = await Request(request.scope, whole).form(max_files=4, max_fields=MAX_FIELDS)
    except HTTPException:
        return {}
    found: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            found.setdefault(name, []).append(value)
    return found


def scope_to_leave(form: dict[str, str]) -> Scope | None:
    """What a form asks to leave; one-click leaves the campaign's topic."""
    name, value = ONE_CLICK
    if form.get("leave") == "all":
        return Scope.ALL
    if form.get("leave") == "topic" or form.get(name) == value:
        return Scope.TOPIC
    return None


async def too_large(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return PlainTextResponse("Too large", status_code=413, headers={"Connection": "close"})
