"""What lint knows of mail programs is data: each fact is found in a page that uses what it is about."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from pipelines.message.lint.clients import Fact, facts
from pipelines.message.lint.rules import RULES, findings

from .lint_letters import letter, named

USES = {
    "display: flex": '<div style="display:inline-flex">a</div>',
    "display: grid": '<div style="display:grid">a</div>',
    "position": '<p style="position:fixed">a</p>',
    "float": '<p style="float:left">a</p>',
    "a background image": '<p style="background:#fff url(https://shop.example/a.png)">a</p>',
    "a gradient": '<p style="background-image:linear-gradient(red, blue)">a</p>',
    "max-width": '<p style="max-width:600px">a</p>',
    "margin: auto": '<p style="margin:0 auto">a</p>',
    "a negative margin": '<p style="margin:0 -8px">a</p>',
    "overflow": '<p style="overflow:hidden">a</p>',
    "transform": '<p style="transform:rotate(4deg)">a</p>',
    "animation": '<p style="animation:spin 2s">a</p>',
    "opacity": '<p style="opacity:.5">a</p>',
    "rgba()": '<p style="border-color:rgba(0,0,0,.5)">a</p>',
    "rem": '<p style="padding:1.5rem">a</p>',
    "var()": '<p style="padding:var(--gap)">a</p>',
    "calc()": '<p style="width:calc(100% - 8px)">a</p>',
    "box-shadow": '<p style="box-shadow:0 1px 2px #000000">a</p>',
    "text-shadow": '<p style="text-shadow:0 1px 2px #000000">a</p>',
    "border-radius": '<p style="border-radius:6px">a</p>',
    "object-fit": '<p style="object-fit:cover">a</p>',
    "@import": "<style>@import 'a.css';</style>",
    "@font-face": "<style>@font-face { font-family: a }</style>",
    ":hover": "<style>p:hover { color: #000000 }</style>",
    "an external style sheet": '<link rel="stylesheet" href="https://shop.example/a.css">',
    "<video>": "<video></video>",
    "<audio>": "<audio></audio>",
    "<svg>": "<svg></svg>",
    "an SVG image": '<img src="https://shop.example/a.svg?v=2" alt="a" width="9">',
    "a WebP image": '<img src="https://shop.example/a.webp" alt="a" width="9">',
    "a form field": "<select></select>",
}


@pytest.mark.parametrize("fact", facts(), ids=lambda fact: fact.name)
def test_a_fact_is_told_of_a_page_that_uses_it_with_whom_and_what_instead(fact):
    (found,) = findings(letter(USES[fact.name]))

    assert found.rule.name == ("client-plainer" if fact.is_plainer else "client-unsupported")
    assert found.what.startswith(f"has {fact.name}")
    assert [name for name in fact.ignored_by if name not in found.what] == []
    assert found.fix == fact.instead


def test_there_are_facts_enough_and_each_has_its_source():
    assert len(facts()) >= 25
    assert [
        fact.name for fact in facts() if not re.fullmatch(r"caniemail [a-z0-9-]+", fact.source)
    ] == []
    assert {fact.name for fact in facts()} == set(USES)


def test_a_fact_that_occurs_twice_is_told_once():
    (found,) = findings(letter('<p style="float:left">a</p><p style="float:left">b</p>'))

    assert found.what == "has float on <p>, 2 times, which Outlook for Windows ignores"


def test_what_nobody_sees_needs_no_mail_program():
    assert named(letter('<div style="display:none;position:absolute">a</div>')) == []


def test_a_fact_found_by_two_things_or_by_none_is_no_fact():
    known = {"name": "a", "ignored_by": ["Gmail"], "instead": "b", "source": "c"}

    for found_by in ({}, {"selector": "a", "sheet": "b"}):
        with pytest.raises(ValidationError, match="needs one of"):
            Fact.model_validate({**known, **found_by})


def test_the_page_of_rules_has_each_with_its_severity_and_no_other(project):
    page = (project / "docs/lint.md").read_text()

    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| .+ \| .+ \|$", page, re.MULTILINE)

    assert rows == [(rule.name, rule.severity.value) for rule in RULES]
