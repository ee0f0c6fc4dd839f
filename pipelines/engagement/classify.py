"""Was it a person or a machine? Rules over one hit, named and numbered.

Pure, and judged from the raw hit alone, so a later rule set can be run again over old events.
Raise RULE_VERSION with every change of a rule.
"""

from __future__ import annotations

from dataclasses import dataclass

RULE_VERSION = 1

PERSON = "person"
# Apple's mail privacy proxy says this and nothing more; it loads every image whether read or not.
APPLE_PROXY = "Mozilla/5.0"
# Gmail loads images with this agent before anybody looked (SparkPost: never a real open).
GMAIL_PREFETCH = "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
# Gmail's image proxy fetches when a person opens: a person's doing, seen through a machine.
GMAIL_PROXY = "GoogleImageProxy"
CRAWLERS = (
    "bot", "crawl", "spider", "slurp", "facebookexternalhit", "barracuda", "mimecast", "proofpoint",
    "curl/", "wget/", "python-requests", "python-httpx", "go-http-client", "java/", "libwww-perl",
    "headlesschrome", "feedparser",
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What a rule said. `rule` is PERSON, or names what gave the machine (or the proxy) away."""

    is_machine: bool
    rule: str


def classify(kind: str, *, user_agent: str | None, method: str = "GET") -> Verdict:
    """Judge one hit. A bounce, a complaint and an unsubscribe by POST count as they stand."""
    if kind not in ("open", "click"):
        return Verdict(False, PERSON)
    if method == "HEAD":
        return Verdict(True, "head_request")
    agent = (user_agent or "").strip()
    if not agent:
        return Verdict(True, "no_user_agent")
    if agent == APPLE_PROXY:
        return Verdict(True, "apple_mail_privacy")
    if agent.endswith(GMAIL_PREFETCH):
        return Verdict(True, "gmail_prefetch")
    if GMAIL_PROXY in agent:
        return Verdict(kind == "click", "gmail_proxy")
    lowered = agent.lower()
    if any(word in lowered for word in CRAWLERS):
        return Verdict(True, "known_crawler")
    return Verdict(False, PERSON)
