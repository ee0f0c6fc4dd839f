"""What recipients decide: to leave, to come back, to be counted or not. GET shows, POST acts.

An answer goes out when the decision is durable in the people store, and after it the hit in the log.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from pipelines.campaigns.bundle import Bundle
from pipelines.campaigns.topics import Topic, load_topics
from pipelines.delivery.choices import Choices, Person, Wanted, choices, choose, person_of
from pipelines.delivery.people import Reason, Scope
from pipelines.engagement.events import Kind
from pipelines.errors import CampaignInvalid
from pipelines.lake import Lake
from pipelines.message.tokens import Purpose, Token, sign
from streaming import forms, pages
from streaming.answering import Edge, edge_of, not_found, token_of
from streaming.pages import HEADERS, Words


async def leave(request: Request) -> Response:
    """One-click, and the page with what can be left."""
    token = token_of(request, Purpose.UNSUBSCRIBE)
    if token is None:
        return not_found()
    edge, words = edge_of(request), _words(request)
    approved = await edge.blocking(lambda: edge.lookups.bundle(token.campaign))
    topic = approved.topic.name(words.language) if approved else ""
    if request.method != "POST":
        named = topic or words.plain("this_newsletter")
        page = pages.leave_page(words, topic=named, sender=_sender(approved))
        return HTMLResponse(page, headers=HEADERS)
    form = await forms.fields(request)
    scope = forms.scope_to_leave(form)
    if scope is None:
        return PlainTextResponse("Nothing was chosen", status_code=400, headers=HEADERS)
    await _leave(request, token, scope)
    what = topic if scope is Scope.TOPIC and topic else words.plain("all_mail")
    # A mail program that posts for somebody gets no way to come back for them.
    by_hand = "leave" in form
    back = sign(Token(Purpose.PREFERENCES, token.campaign, token.contact_id), edge.key)
    page = pages.left_page(
        words, what=what, sender=_sender(approved), choose=f"../p/{back}" if by_hand else ""
    )
    return HTMLResponse(page, headers=HEADERS)


async def preferences(request: Request) -> Response:
    """What somebody gets, topic by topic, and their choice of it."""
    token = token_of(request, Purpose.PREFERENCES)
    if token is None:
        return not_found()
    edge, words = edge_of(request), _words(request)
    approved = await edge.blocking(lambda: edge.lookups.bundle(token.campaign))
    try:
        topics = await edge.slowly(lambda: load_topics(edge.project))
    except CampaignInvalid:
        # Whoever comes back comes back to what they ticked, and for that all the others must be known.
        return PlainTextResponse("Try again later", status_code=503, headers=HEADERS)
    is_saved = request.method == "POST"
    if is_saved:
        form = await forms.listed(request)
        if "choose" not in form:
            return PlainTextResponse("Nothing was chosen", status_code=400, headers=HEADERS)
        await _choose(request, token, topics, form)
    now = await edge.slowly(lambda: _now(edge, token, topics))
    names = {key: topic.name(words.language) for key, topic in topics.items()}
    page = pages.choices_page(words, now, names, sender=_sender(approved), is_saved=is_saved)
    return HTMLResponse(page, headers=HEADERS)


async def _leave(request: Request, token: Token, scope: Scope) -> None:
    edge = edge_of(request)
    at = edge.clock.now()
    await edge.blocking(
        lambda: edge.lookups.suppress(
            edge.people, token, reason=Reason.UNSUBSCRIBED, scope=scope, at=at
        )
    )
    # The decision holds by now; the log only tells the reports.
    await edge.record(request, token, Kind.UNSUBSCRIBE, mark=scope.value, detail=scope.value)


async def _choose(
    request: Request, token: Token, topics: Mapping[str, Topic], form: Mapping[str, list[str]]
) -> None:
    edge = edge_of(request)
    at = edge.clock.now()
    wanted = set(form.get("topic", []))

    def act() -> list[str]:
        now = _now(edge, token, topics)
        person = _person(edge, token)
        left = choose(
            person,
            Wanted(wanted, set(form.get("shown", []))),
            now,
            edge.people,
            at=at,
            origin=f"campaign {token.campaign}",
        )
        for contact in person.known_as:
            if now.is_counted and "counted" not in form:
                edge.people.withdraw_tracking(contact, at)
            if now.is_counted is False and "counted" in form:
                edge.people.permit_tracking(contact)
        return left

    for topic in await edge.slowly(act):
        await edge.record(
            request, token, Kind.UNSUBSCRIBE, mark=f"topic {topic}", detail=Scope.TOPIC.value
        )


def _now(edge: Edge, token: Token, topics: Mapping[str, Topic]) -> Choices:
    return choices(_person(edge, token), topics, edge.people, Lake(edge.home.lake))


def _person(edge: Edge, token: Token) -> Person:
    approved = edge.lookups.bundle(token.campaign)
    brand = approved.brand.name if approved else ""
    lake = Lake(edge.home.lake)
    return person_of(token.contact_id, edge.lookups.address_hash(token), brand, lake)


def _words(request: Request) -> Words:
    return pages.words_for(request.headers.get("accept-language", ""))


def _sender(approved: Bundle | None) -> str:
    return approved.brand.postal_address if approved else ""
