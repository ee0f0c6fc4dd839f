"""Which HTML and CSS of a message named mail programs do not show.

The facts are data, clients.yaml; this knows only how to find what they are about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.message.lint.page import Page
from pipelines.message.lint.rule import Finding, Rule, Severity

FILE = Path(__file__).with_name("clients.yaml")

UNSUPPORTED = Rule(
    "client-unsupported",
    Severity.WARNING,
    "HTML or CSS that a named mail program ignores, so that the message looks broken there.",
    "What to do instead is said with each; the facts are in pipelines/message/lint/clients.yaml.",
)
PLAINER = Rule(
    "client-plainer",
    Severity.NOTE,
    "HTML or CSS without which the message is plainer in a named mail program, and still whole.",
    "Nothing, where that will do; what to do otherwise is said with each.",
)
RULES = (UNSUPPORTED, PLAINER)


class Fact(BaseModel):
    """One thing some mail programs do not show. Found by one of `property`, `selector`, `sheet`.

    property  a CSS property of an element, with a value that `value` is found in
    selector  elements, as CSS selects them
    sheet     a pattern found in a style sheet of the page
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    property: str | None = None
    value: str = ""
    selector: str | None = None
    sheet: str | None = None
    ignored_by: list[str] = Field(min_length=1)
    instead: str
    source: str
    # The message stays whole without it.
    is_plainer: bool = False
    # A part for Outlook alone right before the element makes up for it, as MJML writes them.
    may_have_fallback: bool = False

    @model_validator(mode="after")
    def _found_by_one(self) -> Self:
        if sum(each is not None for each in (self.property, self.selector, self.sheet)) != 1:
            raise ValueError(f"{self.name}: needs one of property, selector and sheet")
        return self


@cache
def facts() -> tuple[Fact, ...]:
    """Every fact, read once."""
    listed = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return tuple(Fact.model_validate(each) for each in listed)


def check(page: Page) -> Iterator[Finding]:
    """A finding for each fact that is about this page, with the first place and how many."""
    used = _used(page)
    for fact in facts():
        places = _places(fact, page, used)
        if places:
            rule = PLAINER if fact.is_plainer else UNSUPPORTED
            times = f", {len(places)} times" if len(places) > 1 else ""
            yield rule.found(
                "HTML",
                f"has {fact.name}{places[0]}{times}, which {_ignored(fact.ignored_by)}",
                fix=fact.instead,
            )


# Property → value, place, and whether a part for Outlook stands before the element.
Used = dict[str, list[tuple[str, str, bool]]]


def _used(page: Page) -> Used:
    used: Used = {}
    for each in page.elements:
        if not each.look.is_hidden:
            for name, value in each.style.items():
                used.setdefault(name, []).append((value, str(each), each.has_fallback))
    return used


def _places(fact: Fact, page: Page, used: Used) -> list[str]:
    """For each time: ` on <td>`, or nothing where the fact's name says it all."""
    if fact.property is not None:
        return [
            f" on {place}"
            for name in fact.property.split()
            for value, place, has_fallback in used.get(name, ())
            if re.search(fact.value, value) and not (fact.may_have_fallback and has_fallback)
        ]
    if fact.selector is not None:
        return [""] * len(page.matching(fact.selector))
    return [""] if re.search(fact.sheet or "", page.sheets, re.IGNORECASE) else []


def _ignored(by: list[str]) -> str:
    if len(by) == 1:
        return f"{by[0]} ignores"
    return f"{', '.join(by[:-1])} and {by[-1]} ignore"
