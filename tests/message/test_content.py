"""What a message says differently: by segment, by country, with a code, with a list or without."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipelines.campaigns.campaign import load
from pipelines.errors import Refused, TemplateInvalid
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CompiledMessage

SLUG = "autumn-thanks"
LETTER = (
    '[% extends "layouts/letter.mjml.j2" %][% block content %][% call text() %]<p>{}</p>'
    "[% endcall %][% endblock %]"
)


@pytest.fixture
def written(workshop: Path):
    """Compiles a paragraph as the campaign's body, with these fields of campaign.yaml changed."""

    def run(words: str, **changed: object) -> CompiledMessage:
        folder = workshop / "assets/campaigns" / SLUG
        (folder / "body.mjml.j2").write_text(LETTER.replace("{}", words))
        file = folder / "campaign.yaml"
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changed}))
        return compile_message(load(workshop, SLUG), project=workshop)

    return run


def told(refused: pytest.ExceptionInfo[TemplateInvalid]) -> str:
    return "\n".join(each.what for each in refused.value.problems)


def test_members_of_a_segment_read_something_else(written, fill):
    words = "{% if 'vip' in segments %}For our best{% else %}For everybody{% endif %}"
    message = written(words, segments=["vip"])

    assert "For our best" in fill(message, segments=["vip"]).text
    assert "For everybody" in fill(message, segments=[]).text
    assert "For everybody" in fill(message).text


def test_a_segment_the_campaign_does_not_list_is_no_silent_no(written):
    with pytest.raises(TemplateInvalid) as refused:
        written("{% if 'vpi' in segments %}x{% endif %}", segments=["vip"])

    assert "'vpi' is not listed under segments" in told(refused)
    assert "Did you mean 'vip'?" in told(refused)


@pytest.mark.parametrize(
    ("words", "how"), [("{{ coupon }}", "coupon: POOL"), ("{{ segments }}", "segments: […]")]
)
def test_a_name_that_needs_a_setting_says_which(written, words, how):
    with pytest.raises(TemplateInvalid) as refused:
        written(words)

    assert how in told(refused)


def test_a_country_reads_something_else(written, fill):
    message = written("{% if country == 'FR' %}Livraison{% else %}Delivery{% endif %}")

    assert "Livraison" in fill(message, country="FR").text
    assert "Delivery" in fill(message, country="GB").text


def test_whoever_has_no_code_gets_no_message(written, fill):
    message = written("Your code: {{ coupon }}", coupon="autumn")

    assert "Your code: A-1" in fill(message, coupon="A-1").text
    for nothing in ({}, {"coupon": None}, {"coupon": ""}):
        with pytest.raises(Refused, match="there is no coupon for this contact"):
            fill(message, **nothing)


@pytest.mark.parametrize("nothing", [{}, {"recommended": None}, {"recommended": []}])
def test_whoever_has_no_list_gets_the_campaign_s_own(written, fill, nothing):
    words = "{% for each in recommended %}{{ each.name }};{% endfor %}"
    message = written(words, fields={"recommended": [{"name": "Ink"}, {"name": "Paper"}]})

    assert "Ink;Paper;" in fill(message, **nothing).text
    assert "Fern;" in fill(message, recommended=[{"name": "Fern"}]).text


def test_a_column_without_a_value_is_what_the_campaign_says(written, fill):
    message = written("{{ tier }} {{ points }}", fields={"tier": "new", "points": 0})

    assert "new 7" in fill(message, tier=None, points=7).text


def test_links_to_the_page_and_to_preferences_are_signed_for_each(written, fill):
    message = written(
        '<a href="[[ view_url ]]">See it</a> <a href="[[ preferences_url ]]">Choose</a>'
    )

    ada, bert = fill(message), fill(message, first_name="Bert")

    assert "https://edge.mill.example/v/" in ada.html
    assert "https://edge.mill.example/p/" in ada.text
    assert ada.html == bert.html.replace("Bert", "Ada")
    assert message.links == [link for link in message.links if "edge" not in link]


@pytest.mark.parametrize("name", ["_unsubscribe", "_click", "_open"])
@pytest.mark.parametrize(
    "words", ["{% set NAME = 'https://evil.example/' %}x", "{% for NAME in [1] %}x{% endfor %}"]
)
def test_no_template_sets_a_name_of_ours(written, name, words):
    with pytest.raises(TemplateInvalid) as refused:
        written(words.replace("NAME", name))

    assert "is a name of ours" in told(refused)


@pytest.mark.parametrize(
    ("footer", "hidden"),
    [
        ("{% if first_name %}[[ footer() ]]{% endif %}", True),
        ("{% if country != 'FR' %}[[ footer() ]]{% endif %}", True),
        ("{% for one in attributes.many|default([1]) %}[[ footer() ]]{% endfor %}", True),
        ("{% if city %}[[ footer() ]]{% elif country %}[[ footer() ]]{% endif %}", True),
        ("{% if city %}[[ footer() ]]{% else %}[[ footer() ]]{% endif %}", False),
        ("{% if first_name %}[[ spacer(8) ]]{% endif %}[[ footer() ]]", False),
    ],
)
def test_the_way_out_is_hidden_from_nobody(workshop, footer, hidden):
    folder = workshop / "assets/campaigns" / SLUG
    (folder / "body.mjml.j2").write_text(f"<mjml><mj-body>{footer}</mj-body></mjml>")

    def run() -> CompiledMessage:
        return compile_message(load(workshop, SLUG), project=workshop)

    if not hidden:
        assert run().html
        return
    with pytest.raises(TemplateInvalid) as refused:
        run()
    assert "hides the unsubscribe link" in told(refused)
    assert "hides the postal address" in told(refused)


@pytest.mark.parametrize(
    "body",
    [
        "<html><head><style>.x{color:{{ city }}}</style></head><body>x</body></html>",
        '<html><body><p style="color:{{ city }}">x</p></body></html>',
        "<html><body><p style='color:{{ city }}'>x</p></body></html>",
        '<mjml><mj-body><mj-section background-color="{{ city }}"></mj-section></mj-body></mjml>',
    ],
)
def test_no_value_stands_in_a_style(workshop, body):
    folder = workshop / "assets/campaigns" / SLUG
    (folder / "body.mjml.j2").unlink()
    kind = "mjml" if body.startswith("<mjml") else "html"
    (folder / f"body.{kind}.j2").write_text(body)

    with pytest.raises(TemplateInvalid) as refused:
        compile_message(load(workshop, SLUG), project=workshop)

    assert "stands in a style" in told(refused)


def test_a_note_of_the_author_s_is_read_by_nobody(written, fill):
    found = fill(
        written("Hello<!-- {{ last_name }} --><!-- {% if city %} -->!<!-- {% endif %} -->")
    )

    assert "Archer" not in found.text
    assert "Archer" not in found.html


@pytest.mark.parametrize(
    "words",
    ["[[ 1 // 0 ]]", "[[ 1.5|round(400) ]]", "{% if city %}" * 120 + "x" + "{% endif %}" * 120,
     "{{ " + "(" * 900 + "1" + ")" * 900 + " }}", "{{ " + "9" * 5_000 + " }}",
     "[% if topic %]" * 120 + "x" + "[% endif %]" * 120, "[" * 9_000, r"[[ '\ud800' ]]"],
    ids=["by nothing", "400 digits", "120 conditions", "900 brackets", "5,000 digits", "120 at once",
         "9,000 openings", "half a character"],
)  # fmt: skip
def test_what_python_itself_cannot_read_is_told_in_words(written, words):
    with pytest.raises(TemplateInvalid) as refused:
        written(words)

    assert refused.value.problems


def test_a_word_of_ours_in_a_text_is_a_word(written, fill):
    assert "The part LMTAG99X, 12" in fill(written("The part LMTAG99X, {{ city }}"), city="12").text


def test_a_link_with_braces_leads_where_the_edge_leads(written, fill):
    message = written('<a href="https://x.example/{#a#}b{%">x</a>')

    (link,) = (each for each in message.links if "x.example" in each)
    assert link == "https://x.example/%7B#a#%7Db%7B%25" or "{" not in link
    assert f'href="{link}"' in fill(message, is_tracked=False).html


@pytest.mark.parametrize(
    "name", ["body.fr_FR.html.j2", "body.german.md", "body.de.txt.j2", "body.de.mjml"]
)
def test_a_file_that_is_read_as_nothing_is_named(workshop, name):
    (workshop / "assets/campaigns" / SLUG / name).write_text("x")

    with pytest.raises(TemplateInvalid) as refused:
        compile_message(load(workshop, SLUG), project=workshop)

    assert [each.where for each in refused.value.problems] == [name]
