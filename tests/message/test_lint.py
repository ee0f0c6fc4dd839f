"""Lint as a whole: what it counts, in which order it tells, and that no page makes it fail."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.campaigns.campaign import discover
from pipelines.message.compile import compile_message
from pipelines.message.lint.rules import Severity, findings

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


def test_a_finding_names_the_address_the_contrast_and_the_bytes():
    assert (
        findings(linked("http://shop.example/a"))[0].what == "'http://shop.example/a' is not https"
    )
    assert findings(letter("<mj-colum></mj-colum>"))[0].what.endswith("Did you mean 'mj-column'?")
    assert findings(letter('<p style="color:#999999">Pale words</p>'))[0].what == (
        "is #999999 on #ffffff, a contrast of 2.8:1; text of 16 px needs 4.5:1"
    )


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
