"""Whether the links and pictures of a message answer. Asks the network, so only when asked for.

Knows which addresses a message has and what an answer means; how a server is asked is public_web.py's.
Nothing of a person's is sent: an address that differs from one to the next is named, and not asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urldefrag, urljoin

from pipelines.message.compiled import CompiledMessage
from pipelines.message.lint.links import addresses
from pipelines.message.lint.page import VALUE, Page
from pipelines.message.public_web import REFUSED_FROM, Network, Private, Unreachable, ask

AT_ONCE = 8
MOST_REDIRECTS = 5
LIMIT_SECONDS = 15.0
AGENT = "lettermill-link-check (looks whether links of a newsletter answer; +{website})"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# The first byte of nothing: there is a page, and it is empty.
_NO_SUCH_RANGE = 416


class Outcome(StrEnum):
    """What became of one address."""

    ANSWERS = "answers"
    MOVED = "moved"
    GONE = "gone"
    UNREACHABLE = "cannot be reached"
    PRIVATE = "refused because private"
    PERSONAL = "not checked"


@dataclass(frozen=True)
class Answer:
    """One address, what became of it, and that in words."""

    address: str
    outcome: Outcome
    told: str

    @property
    def is_problem(self) -> bool:
        return self.outcome in (Outcome.GONE, Outcome.UNREACHABLE, Outcome.PRIVATE)


def check_links(
    compiled: CompiledMessage,
    *,
    website: str,
    network: Network | None = None,
    limit_seconds: float = LIMIT_SECONDS,
) -> list[Answer]:
    """An answer for every web address of a message, in order; each is asked once.

    website        who asks, for whoever reads a server's log
    limit_seconds  for one question; an address that redirects is several
    """
    network = network or Network()
    agent = AGENT.format(website=website)

    def answer(address: str) -> Answer:
        if VALUE in address:
            told = "not checked: it differs from person to person"
            return Answer(address.replace(VALUE, "…"), Outcome.PERSONAL, told)
        return _answer(address, network, agent, limit_seconds)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(answer, _asked_for(compiled)))


def _asked_for(compiled: CompiledMessage) -> list[str]:
    """Links and pictures of all languages, without what names a place within a page."""

    def found() -> Iterator[str]:
        for message in compiled.every():
            for address, _ in addresses(message, Page(message)):
                if address.lower().startswith(("http://", "https://")):
                    yield urldefrag(address).url

    return list(dict.fromkeys(found()))


def _answer(address: str, network: Network, agent: str, limit_seconds: float) -> Answer:
    at, status = address, 0
    try:
        for _ in range(MOST_REDIRECTS + 1):
            reply = ask(at, network, agent=agent, limit_seconds=limit_seconds)
            status = reply.status
            if status not in _REDIRECTS or not reply.location:
                break
            at = urldefrag(urljoin(at, reply.location)).url
        else:
            told = f"cannot be reached: redirects more than {MOST_REDIRECTS} times"
            return Answer(address, Outcome.UNREACHABLE, told)
    except Private as private:
        return Answer(address, Outcome.PRIVATE, f"refused because private: {private}")
    except (Unreachable, ValueError) as error:
        led = "" if at == address else f" {at[:200]}"
        return Answer(address, Outcome.UNREACHABLE, f"cannot be reached:{led} {error}")
    if status >= REFUSED_FROM and status != _NO_SUCH_RANGE:
        return Answer(address, Outcome.GONE, f"gone ({status})")
    if at != address:
        return Answer(address, Outcome.MOVED, f"moved to {at[:200]}")
    return Answer(address, Outcome.ANSWERS, "answers")
