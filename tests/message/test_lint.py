"""Lint as a whole: what it counts, in which order it tells, and that no page makes it fail."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.campaigns.campaign import discover, load
from pipelines.message.compile import compile_message
from pipelines.message.lint.rules import (
    RULES,
    Severity,
    findings,
    lint,
    refused_allowances,
)

from .lint_letters import PAGE, SHORT_TEXT, letter, linked, named


def test_errors_come_before_warnings_and_warnings_before_notes():
    message = letter(
        '<p style="border-radius:6px">a</p><img src="https://shop.example/a.png" width="9">',
        links=["http://shop.example/"],
    )

    assert named(message) == ["link-not-https", "image-alt-missing", "client-plainer"]


def test_the_edges_own_address_may_be_http_and_local():
    message = linked("http://127.0.0.1:8025/preferences")

    assert named(message, public_url="http://127.0.0.1:8025") == []
    assert named(message) == ["link-private-host"]


@pytest.mark.parametrize(
    "element",
    [
        '<table background="{}"><tr><td>x</td></tr></table>',
        '<video poster="{}"></video>',
        '<svg><image xlink:href="{}"/></svg>',
        '<img srcset="{} 2x" src="https://shop.example/a.png" alt="" width="9">',
        '<picture><source srcset="https://shop.example/a.png, {} 1200w"></picture>',
        "<p style=\"background-image:url('{}')\">x</p>",
        '<p style="background:#ffffff url( {} ) no-repeat">x</p>',
        '<style>@media print {{ p {{ background: url("{}") }} }}</style>',
    ],
)
@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("http://shop.example/a.png", "link-not-https"),
        ("https://192.168.1.7/a.png", "link-private-host"),
        ("https://{{{{ city }}}}/a.png", "link-placeholder"),
    ],
)
def test_whatever_is_loaded_has_an_address_like_any_other(element, address, rule):
    body = element.format(address).replace("{{{{", "{{").replace("}}}}", "}}")

    assert rule in named(letter(body))


def test_an_address_within_the_page_is_none():
    assert "link-placeholder" not in named(letter("<p style='filter:url(#a)'>x</p>"))


def test_a_finding_names_the_address_the_contrast_and_the_bytes():
    assert (
        findings(linked("http://shop.example/a"))[0].what == "'http://shop.example/a' is not https"
    )
    assert findings(letter("<mj-colum></mj-colum>"))[0].what.endswith("Did you mean 'mj-column'?")
    assert findings(letter('<p style="color:#999999">Pale words</p>'))[0].what == (
        "is #999999 on #ffffff, a contrast of 2.8:1; text of 16 px needs 4.5:1"
    )


def test_every_language_is_looked_at_and_what_all_share_is_told_once():
    own = {"links": ["http://shop.example/"]}
    german = letter('<p><a href="[[link:0]]">x</a></p><p style="color:#999999">Blass</p>', **own)
    german = german.model_copy(update={"language": "de", "subjects": {"a": ""}})
    message = letter('<p><a href="[[link:0]]">x</a></p>', **own)

    found = findings(message.model_copy(update={"translations": {"de": german}}))

    assert [(each.rule.name, each.where) for each in found] == [
        ("link-not-https", "link"),
        ("subject-empty", "subject of 'a' (de)"),
        ("contrast-low", "text 'Blass' (de)"),
    ]


def test_an_allowed_finding_says_why_and_comes_after_the_others_of_its_kind():
    message = letter(
        '<p><a href="[[link:0]]">a</a><a href="[[link:1]]">b</a></p>',
        links=["http://shop.example/", "https://10.0.0.1/"],
    )
    allowed = {"link-not-https": "No https there yet"}

    found = findings(message, allowed=allowed)

    assert [(each.rule.name, each.allowed) for each in found] == [
        ("link-private-host", ""),
        ("link-not-https", "No https there yet"),
    ]
    assert [each.what for each in lint(message, allowed=allowed)] == [found[0].what]


def test_an_allowance_that_nothing_needs_is_told_and_forbids_nothing():
    allowed = {"link-not-https": "No https there yet", "contrast-low": "A drawing, not a text"}
    message = letter('<p><a href="[[link:0]]">a</a></p>', links=["http://shop.example/"])

    found = [each for each in findings(message, allowed=allowed) if not each.allowed]

    assert [(each.rule.name, each.where) for each in found] == [
        ("allowance-unneeded", "lint.allow.contrast-low")
    ]
    assert lint(message, allowed=allowed) == []


def test_what_law_and_safety_ask_for_is_never_allowed():
    message = letter(html="<html><body>[[preheader]]<script></script>[[pixel]]</body></html>")
    allowed = {rule.name: "We do not want it" for rule in RULES}

    found = findings(message, allowed=allowed)

    never = {each.rule.name for each in found if each.is_error}
    assert never == {"unsubscribe-missing", "postal-address-missing", "active-content"}
    assert len(refused_allowances(allowed)) == sum(not rule.may_be_allowed for rule in RULES)


def test_the_page_names_every_rule_that_can_never_be_allowed(project):
    (told,) = re.findall(
        r"can never be allowed:\n(.*?)\n\n", (project / "docs/lint.md").read_text(), re.DOTALL
    )

    named = re.findall(r"`([a-z-]+)`", told)

    assert named == [rule.name for rule in RULES if not rule.may_be_allowed]


def test_a_campaign_that_allows_nothing_is_kept_as_it_was(project):
    campaign = load(project, "autumn-thanks")

    assert "lint" not in campaign.model_dump(mode="json")
    assert campaign.lint.allow == {}


def test_the_size_counts_click_addresses_and_the_pixel():
    links = "".join('<a href="[[link:0]]">x</a>' for _ in range(1_000))
    message = letter(links, links=["https://s.example/"])

    found = {each.rule.name: each.what for each in findings(message)}

    assert len(message.html) < 40_000
    assert "bytes as sent" in found["html-too-large"]


def test_a_place_for_a_value_and_both_branches_are_looked_at():
    message = letter(
        '{% if city %}<p style="color:#999999">{{ city }}</p>{% else %}<img src="">{% endif %}'
    )

    assert set(named(message)) >= {"contrast-low", "link-empty", "image-alt-missing"}


def test_every_campaign_of_the_checkout_can_be_approved(project):
    for slug, campaign in discover(project).items():
        found = findings(compile_message(campaign, project=project))

        assert [each for each in found if each.rule.severity is not Severity.NOTE] == [], slug


FRAGMENTS = st.sampled_from(
    [
        *("<p>", "</p>", "<a href=", '"', "'", ">", "<", "<table>", "<tr>", "<img src=", " style="),
        *("color:#", "rgb(300,1,1)", "font-size:999999999999px", "width=99999999999999", "<!--"),
        *(
            "-->",
            "<svg><a>",
            "<style>",
            "@import",
            "{{",
            "}}",
            "{%",
            "%}",
            "{{ 1 / 0 }}",
            "[[link:0]]",
        ),
        *(
            "[[link:99]]",
            "[[link:99999999999999999999]]",
            "https://[::",
            "https://x:99999/",
            "http://",
        ),
        *("//", "#", "\x00", "\ud800", "\ue000", "<mj-", "javascript:", "<template>", "<math>"),
    ]
)


@settings(deadline=None)
@given(st.lists(FRAGMENTS | st.text(max_size=8), max_size=40).map("".join))
def test_lint_never_fails_whatever_the_page_holds(body):
    message = letter().model_copy(update={"html": PAGE.format(body), "links": [body]})

    assert all(each.what for each in findings(message))


def test_depth_and_size_of_a_page_do_not_stop_lint():
    deep = letter("<div>" * 5_000 + "deep" + "{{ " + "(" * 2_000)

    assert named(deep.model_copy(update={"text": SHORT_TEXT})) == []
