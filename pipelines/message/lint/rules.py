"""What a compiled message lacks or has too much of, before it is approved.

Knows the rules, which are in the modules beside it: links, words, HTML, mail programs. Broken
templates and unknown names never come this far: compile.py refuses them.
"""

from __future__ import annotations

from pipelines.errors import Problem
from pipelines.message.compiled import CompiledMessage
from pipelines.message.lint import clients, html, links, words
from pipelines.message.lint.page import Page
from pipelines.message.lint.rule import Finding, Rule, Severity

__all__ = ["RULES", "Finding", "Rule", "Severity", "findings", "lint"]

RULES: tuple[Rule, ...] = (
    *words.RULES,
    *html.RULES,
    *links.RULES,
    *clients.RULES,
)


def findings(compiled: CompiledMessage, *, public_url: str | None = None) -> list[Finding]:
    """Every finding: errors first, then warnings, then notes.

    public_url  the edge's own address, which alone may be http
    """
    page = Page(compiled)
    found = [
        *words.check(compiled, page),
        *html.check(compiled, page, public_url),
        *links.check(compiled, page, public_url),
        *clients.check(page),
    ]
    order = list(Severity)
    return sorted(found, key=lambda each: order.index(each.rule.severity))


def lint(compiled: CompiledMessage, *, public_url: str | None = None) -> list[Problem]:
    """What forbids to approve the message; empty for one that may go out."""
    found = findings(compiled, public_url=public_url)
    return [each.problem() for each in found if each.is_error]
