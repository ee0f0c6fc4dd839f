"""What a compiled message lacks or has too much of, before it is approved.

Knows the rules, which are in the modules beside it: links, words, HTML, mail programs; and which of
them a campaign may allow itself to break. Broken templates and unknown names never come this far:
compile.py refuses them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from pipelines.errors import Problem, did_you_mean
from pipelines.message.compiled import CompiledMessage
from pipelines.message.lint import clients, html, links, values, words
from pipelines.message.lint.page import Page
from pipelines.message.lint.rule import Finding, Rule, Severity

__all__ = ["RULES", "Finding", "Rule", "Severity", "findings", "lint", "refused_allowances"]

UNNEEDED = Rule(
    "allowance-unneeded",
    Severity.NOTE,
    "A rule that the campaign allows itself to break, and does not.",
    "Take it out of lint.allow: the next message that breaks it should be told.",
    may_be_allowed=False,
)
RULES: tuple[Rule, ...] = (
    *words.RULES,
    *values.RULES,
    *html.RULES,
    *links.RULES,
    *clients.RULES,
    UNNEEDED,
)
# Rule → why it may be broken: `lint.allow` of a campaign.
Allowed = Mapping[str, str]
NOTHING: Allowed = MappingProxyType({})


def findings(
    compiled: CompiledMessage, *, public_url: str | None = None, allowed: Allowed = NOTHING
) -> list[Finding]:
    """Every finding, of all languages: errors first, then warnings, then notes; what is allowed last.

    public_url  the edge's own address, which alone may be http
    """
    found = _of_one(compiled, public_url)
    for message in compiled.translations.values():
        # What is said of the first language is not said again of those that share it.
        others = [each for each in _of_one(message, public_url) if each not in found]
        found += [replace(each, where=f"{each.where} ({message.language})") for each in others]
    found += _unneeded(allowed, {each.rule.name for each in found})
    order = list(Severity)
    told = [
        replace(each, allowed=allowed.get(each.rule.name, "")) if each.rule.may_be_allowed else each
        for each in found
    ]
    return sorted(told, key=lambda each: (order.index(each.rule.severity), bool(each.allowed)))


def _unneeded(allowed: Allowed, broken: Container[str]) -> Iterator[Finding]:
    known = {rule.name for rule in RULES if rule.may_be_allowed}
    for name in allowed:
        if name in known and name not in broken:
            yield UNNEEDED.found(f"lint.allow.{name}", "is allowed, and nothing breaks it")


def _of_one(compiled: CompiledMessage, public_url: str | None) -> list[Finding]:
    page = Page(compiled)
    return [
        *words.check(compiled, page),
        *values.check(compiled),
        *html.check(compiled, page, public_url),
        *links.check(compiled, page, public_url),
        *clients.check(page),
    ]


def lint(
    compiled: CompiledMessage, *, public_url: str | None = None, allowed: Allowed = NOTHING
) -> list[Problem]:
    """What forbids to approve the message; empty for one that may go out."""
    found = findings(compiled, public_url=public_url, allowed=allowed)
    return [each.problem() for each in found if each.is_error]


def refused_allowances(allowed: Allowed) -> list[Problem]:
    """A problem for each rule there is none of, and for each that nobody may break."""
    known = {rule.name: rule for rule in RULES}
    problems = []
    for name in allowed:
        where = f"lint.allow.{name}"
        if name not in known:
            near = did_you_mean(name, known)
            problems.append(Problem(where, f"is no rule of lint; docs/lint.md lists them.{near}"))
        elif not known[name].may_be_allowed:
            problems.append(Problem(where, f"can never be allowed: {known[name].fix}"))
    return problems
