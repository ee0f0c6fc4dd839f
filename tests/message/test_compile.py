"""Templates of a project, compiled: what comes out, and what is said when they are wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipelines.campaigns.campaign import discover, load
from pipelines.errors import TemplateInvalid
from pipelines.message.compile import _Compilation, compile_message
from pipelines.message.compiled import CompiledMessage
from pipelines.message.library import starters
from pipelines.message.lint.rules import lint
from streaming.lookups import WEB_ADDRESS

TEXT = "<mj-section><mj-column>{}</mj-column></mj-section>"
ROWS = TEXT.format(
    "<mj-table>{% for city in attributes.cities %}<tr><td>{{ city }}</td></tr>{% endfor %}"
    "{% if first_name %}<tr><td>for {{ first_name }}</td></tr>{% endif %}</mj-table>"
)


def test_every_campaign_of_the_checkout_compiles_and_has_no_findings(project):
    campaigns = discover(project)

    findings = {
        slug: lint(compile_message(campaign, project=project))
        for slug, campaign in campaigns.items()
    }

    assert findings == {
        "autumn-thanks": [],
        "cdnow-win-back": [],
        "hillstrom-recent": [],
        "online-retail-top": [],
    }


def _kinds(value: object) -> set[type]:
    """The classes of a value and of all within it."""
    if isinstance(value, dict):
        return {type(value)}.union(*map(_kinds, [*value, *value.values()]))
    if isinstance(value, list | tuple):
        return {type(value)}.union(*map(_kinds, value))
    return {type(value)}


@pytest.fixture
def signing(workshop):
    """The workshop, with a brand that has everything a brand may have."""
    brand = workshop / "assets/templates/brands/mill.yaml"
    dkim = "dkim: {domain: mill.example, selectors: [a]}"
    brand.write_text(
        f"{brand.read_text()}{dkim}\nquiet_hours: 21:00-08:00\nseeds: [ines@mill.example]\n"
    )
    return workshop


def test_what_a_template_is_compiled_with_is_values_and_nothing_that_can_do_anything(signing):
    for each in starters(signing):
        context = _Compilation(each.campaign, signing, each.folder)._context()

        assert _kinds(context) <= {str, int, float, bool, type(None), list, dict}
        assert context["brand"]["dkim"] == {"domain": "mill.example", "selectors": ["a"]}


def test_a_brand_that_signs_lends_a_template_no_hand(compiled, signing):
    run = 'brand.dkim.parse_raw("cos\nsystem\n(S\'true\'\ntR.", allow_pickle=true, proto="pickle")'

    with pytest.raises(TemplateInvalid) as refused:
        compiled(f"[[ {run} ]]")

    assert "has no attribute 'parse_raw'" in refused.value.problems[0].what


def test_a_compiled_message_survives_json(compiled):
    message = compiled()

    assert CompiledMessage.model_validate(json.loads(message.model_dump_json())) == message


def test_a_loop_and_a_condition_around_table_rows_stay_inside_the_table(compiled, fill):
    filled = fill(compiled(ROWS), attributes={"cities": ["Rome", "Oslo"]})

    table = re.search(r"<table[^>]*><tbody>(<tr><td[^>]*>Rome.*?)</tbody></table>", filled.html)
    assert table is not None
    assert re.findall(r"<td[^>]*>([^<]*)</td>", table[1]) == ["Rome", "Oslo", "for Ada"]


def test_table_rows_become_lines_of_the_plain_text(compiled, fill):
    filled = fill(compiled(ROWS), attributes={"cities": ["Rome", "Oslo"]})

    assert "Rome\nOslo\nfor Ada\n" in filled.text


def test_a_condition_left_out_leaves_no_hole_in_the_plain_text(compiled, fill):
    filled = fill(compiled(), city=None)

    assert "parcel" not in filled.text
    assert "\n\n\n" not in filled.text


def test_a_loop_around_whole_sections_repeats_them(compiled, fill):
    body = "{% for city in attributes.cities %}" + TEXT.format("<mj-text>{{ city }}</mj-text>")

    filled = fill(compiled(body + "{% endfor %}"), attributes={"cities": ["Rome", "Oslo"]})

    assert filled.html.index(">Rome<") < filled.html.index(">Oslo<")
    assert filled.html.count("</table>") == filled.html.count("<table")


def test_a_block_may_be_given_a_personal_value(compiled, fill):
    body = """[[ button("For {{ first_name or 'you' }}", "https://shop.example/") ]]"""

    assert "For O&#39;Neil &lt;3" in fill(compiled(body), first_name="O'Neil <3").html


def test_an_address_used_twice_has_one_number(compiled):
    body = TEXT.format('<mj-text><a href="https://shop.example/a?b=1&amp;c=2">a</a></mj-text>')

    message = compiled(body + body)

    assert message.links == ["https://shop.example/", "https://shop.example/a?b=1&c=2"]
    assert message.html.count("[[link:1]]") == 2


def test_a_personal_value_in_an_address_is_encoded_for_it_and_not_tracked(compiled, fill):
    href = 'href="https://shop.example/?to={{ first_name }}"'

    filled = fill(compiled(TEXT.format(f"<mj-text><a {href}>a</a></mj-text>")), first_name="A&b/é")

    assert 'href="https://shop.example/?to=A%26b%2F%C3%A9"' in filled.html
    assert "<https://shop.example/?to=A%26b%2F%C3%A9>" in filled.text


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{{ city ~ first_name|url }}", "a%26b%2FA%2526b%252F"),
        ("{{ city ~ first_name|urlencode -}}", "a%26b%2FA%2526b%2F"),
        ("{{ city if first_name else first_name|url }}", "a%26b%2F"),
        ("{{ city|url }}", "a%26b%2F"),
        ("{{- city | upper | urlencode }}", "A%26B/"),
    ],
)
def test_a_value_of_an_address_is_encoded_as_a_whole(compiled, fill, value, told):
    link = f'<mj-text><a href="https://shop.example/?to={value}">a</a></mj-text>'

    filled = fill(compiled(TEXT.format(link)), city="a&b/", first_name="A&b/")

    assert f'href="https://shop.example/?to={told}"' in filled.html


def test_no_personal_value_stands_in_an_address_of_svg(workshop):
    folder = workshop / "assets/campaigns/autumn-thanks"
    (folder / "body.mjml.j2").unlink()
    body = "<body><svg>\n<a xlink:href='https://shop.example/{{ city }}'><text>x</text></a></svg></body>"
    (folder / "body.html.j2").write_text(body)

    with pytest.raises(TemplateInvalid) as refused:
        compile_message(load(workshop, "autumn-thanks"), project=workshop)

    (problem,) = refused.value.problems
    assert problem.where.endswith("body.html.j2, line 2")
    assert "stands in xlink:href" in problem.what


def test_markdown_is_set_in_the_letter_and_its_html_is_text(project, fill, tmp_path, workshop):
    folder = workshop / "assets/campaigns/autumn-thanks"
    (folder / "body.mjml.j2").unlink()
    (folder / "body.md").write_text("# Hello {{ first_name }}\n\n<script>x</script>\n")

    filled = fill(compile_message(load(workshop, "autumn-thanks"), project=workshop))

    assert re.search(r"<h1[^>]*>Hello Ada</h1>", filled.html)
    assert "&lt;script&gt;" in filled.html


def test_an_html_body_needs_no_mjml(fill, workshop):
    folder = workshop / "assets/campaigns/autumn-thanks"
    (folder / "body.mjml.j2").unlink()
    (folder / "body.html.j2").write_text(
        "<style>p { color: red }</style><body><p>Hi {{ first_name }}</p></body>"
    )

    filled = fill(compile_message(load(workshop, "autumn-thanks"), project=workshop))

    assert '<p style="color: red;">Hi Ada</p>' in filled.html


def test_text_of_its_own_shares_the_numbers_of_links(compiled, fill):
    message = compiled(
        body__txt__j2="Look: https://shop.example/winter-papers.\n[[ unsubscribe_url ]]"
    )

    filled = fill(message, is_tracked=False)

    assert "[[link:1]]." in message.text
    assert filled.text.startswith("Look: https://shop.example/winter-papers.\nhttps://edge")


def test_an_address_in_text_of_its_own_keeps_its_brackets_and_encodes_its_values(compiled, fill):
    text = (
        "Ferns (https://wiki.example/Fern_(plant)), and [https://wiki.example/Moss]. Yours:"
        " https://shop.example/p/{{ city }}?n={{ city|urlencode }}.\n[[ unsubscribe_url ]]\n"
    )

    message = compiled("", body__txt__j2=text)
    told = fill(message, city="a b/c", is_tracked=False).text

    assert [each for each in message.links if "wiki" in each] == [
        "https://wiki.example/Fern_(plant)",
        "https://wiki.example/Moss",
    ]
    assert "(https://wiki.example/Fern_(plant)), and [https://wiki.example/Moss]." in told
    assert "https://shop.example/p/a%20b%2Fc?n=a%20b/c.\n" in told


def test_an_address_in_text_of_its_own_has_a_host_of_its_own(compiled):
    with pytest.raises(TemplateInvalid) as refused:
        compiled("", body__txt__j2="https://{{ city }}.example/")

    (problem,) = refused.value.problems
    assert problem.where == "assets/campaigns/autumn-thanks/body.txt.j2, line 1"
    assert "its host must be the same for everybody" in problem.what


@pytest.mark.parametrize(
    ("body", "place", "what"),
    [
        ("<mj-text>\n\n{{ frist_name }}</mj-text>", "body.mjml.j2, line 3", "'first_name'"),
        ("<mj-text>\n{% if city %}x</mj-text>", "body.mjml.j2, line ", "end of template"),
        ("<mj-text>\n{{ city|shout }}</mj-text>", "body.mjml.j2, line 2", "No filter named"),
        ("\n[[ button('a') ]]", "body.mjml.j2, line 2", "href"),
        (
            "\n[[ buton('a') ]]",
            "body.mjml.j2, line 2",
            "'buton' is undefined. Did you mean 'button'?",
        ),
        (
            "[[ button('a', 'b', algn='c') ]]",
            "body.mjml.j2, line 1",
            "'algn'. Did you mean 'align'?",
        ),
        ("[[ 'a'|uper ]]", "body.mjml.j2, line 1", "No filter named 'uper'. Did you mean 'upper'?"),
        ("<mj-text>{{ birth_on|dat }}</mj-text>", "body.mjml.j2, line 1", "Did you mean 'date'?"),
        ("<mj-text>{{ city is definde }}</mj-text>", "line 1", "Did you mean 'defined'?"),
        ("\n[[ brand.color ]]", "body.mjml.j2, line 2", "color"),
        ("[% include '../../topics.yaml' %]", "body.mjml.j2", "does not exist"),
        ("<mj-include path='/etc/passwd' />", "body.mjml.j2, line 1", "is not supported"),
        (
            "\n<mj-section text-padding='{{ city }}' />",
            "body.mjml.j2, line 2",
            "where no text can be",
        ),
        ("<mj-text>{{ 9 ** 99999999 }}</mj-text>", "variant 'thanks'", "powers"),
        ("<mj-text><a href='shop'>x</a></mj-text>", "a link", "not a whole web address"),
        ("<mj-text><a href='javascript:x'>x</a></mj-text>", "a link", "not a whole web address"),
        ("<mj-text><a href='{{ city }}'>x</a></mj-text>", "body.mjml.j2, line 1", "same for every"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(compiled, body, place, what):
    with pytest.raises(TemplateInvalid) as raised:
        compiled(TEXT.format(body) if body.startswith("<mj-text") else body)

    said = [f"{problem.where} {problem.what}" for problem in raised.value.problems]
    assert any(place in line and what in line for line in said), said


def test_an_unknown_name_in_a_subject_is_found(compiled, workshop):
    path: Path = workshop / "assets/campaigns/autumn-thanks/campaign.yaml"
    path.write_text(path.read_text().replace("{{ first_name or 'Hello' }}", "{{ firstname }}"))

    with pytest.raises(
        TemplateInvalid, match=r"variants\[1\].subject +'firstname' .* 'first_name'"
    ):
        compiled()


def test_a_segment_column_is_known_once_the_campaign_lists_it(compiled, fill, workshop):
    path: Path = workshop / "assets/campaigns/autumn-thanks/campaign.yaml"
    path.write_text(path.read_text() + "fields: {orders: 1}\n")

    message = compiled(TEXT.format("<mj-text>bought {{ orders }}</mj-text>"))

    assert "bought 1" in fill(message).text
    assert "bought 7" in fill(message, orders=7).text


def test_lint_finds_what_a_letter_must_not_lack(compiled):
    message = compiled(
        TEXT.format('<mj-image src="http://shop.example/a.png" />'),
        body__txt__j2="nothing",
    )

    findings = [f"{problem.where}: {problem.what}" for problem in lint(message)]

    assert findings == [
        "plain text: has no unsubscribe link; add [[ footer() ]]",
        "plain text: has no postal address; add [[ footer() ]]",
        "link: 'http://shop.example/a.png' is not https",
    ]


def test_no_style_sheet_or_font_is_taken_from_elsewhere(compiled):
    assert "<link" not in compiled().html
    assert "@import" not in compiled().html


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (
            "https://shop.example/café?q=ä&x=1#ö",
            "https://shop.example/caf%C3%A9?q=%C3%A4&x=1#%C3%B6",
        ),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://shop.example/a%20b", "https://shop.example/a%20b"),
    ],
)
def test_an_address_beyond_ascii_is_kept_as_a_header_can_carry_it(compiled, written, kept):
    message = compiled(
        f'<mj-section><mj-column><mj-text><a href="{written}">x</a></mj-text></mj-column></mj-section>'
    )

    assert kept in message.links
    assert WEB_ADDRESS.fullmatch(kept)
