"""Broken MJML is told with file and line; what mrml swallows without a word is told as well."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.campaigns.campaign import load
from pipelines.errors import TemplateInvalid
from pipelines.message.compile import _Compilation
from pipelines.message.markup import from_mjml
from pipelines.message.mjml import flaws
from pipelines.message.mjml_facts import EVERYWHERE, VOID, elements
from pipelines.settings import CHECKOUT

SLUG = "autumn-thanks"
BODY = f"assets/campaigns/{SLUG}/body.mjml.j2"
LETTER = """[% extends "layouts/letter.mjml.j2" %]
[% block content %]
[[ heading("Hello") ]]
<mj-section>
  <mj-column>
    BROKEN
  </mj-column>
</mj-section>
[[ signature("Ines") ]]
[% endblock %]
"""
LINE = 6
# What stands in a column on line 6 → what is told of it.
BROKEN = {
    "tag never closed": ("<mj-text>Hello", "<mj-text> is not closed before </mj-column>"),
    "paragraph never closed": (
        "<mj-text><p>Hi</mj-text>",
        "<p> is not closed before </mj-text>",
    ),
    "closed by another": (
        "<mj-text>Hi</mj-image>",
        "</mj-image> closes nothing; the element open there is <mj-text>",
    ),
    "closed twice": (
        "<mj-text>Hi</mj-text></mj-text>",
        "</mj-text> closes nothing; the element open there is <mj-column>",
    ),
    "end without an end": ("<mj-text>Hi</mj-text", "</mj-text is not closed: write </mj-text>"),
    "crossed": ("<mj-text><b><i>Hi</b></i></mj-text>", "<i> is not closed before </b>"),
    "without quotes": (
        "<mj-text align=left>Hi</mj-text>",
        '<mj-text> has an attribute without quotes: write align="left"',
    ),
    "quote never closed": (
        '<mj-text align="left>Hi</mj-text>',
        "<mj-text> has an attribute 'align' whose quote is not closed",
    ),
    "without value": (
        "<mj-text align>Hi</mj-text>",
        "<mj-text> has the attribute 'align' without a value",
    ),
    "no space between": (
        '<mj-text align="left"color="#000000">Hi</mj-text>',
        "<mj-text> has no space before the attribute 'color'",
    ),
    "twice the same attribute": (
        '<mj-text align="left" align="right">Hi</mj-text>',
        "<mj-text> has the attribute 'align' twice",
    ),
    "unknown element": (
        "<mj-txt>Hi</mj-txt>",
        "<mj-txt> is no element of MJML. Did you mean 'mj-text'?",
    ),
    "capitals": (
        "<MJ-TEXT>Hi</MJ-TEXT>",
        "<MJ-TEXT> is no element of MJML. Did you mean 'mj-text'?",
    ),
    "unknown attribute": (
        '<mj-text colour="red">Hi</mj-text>',
        "'colour' is no attribute of <mj-text>: it would do nothing. Did you mean 'color'?",
    ),
    "words outside": (
        "Loose words",
        "'Loose words' stands in <mj-column>, outside of any <mj-text>",
    ),
    "value outside": (
        "{{ first_name }}",
        "'{{ first_name }}' stands in <mj-column>, outside of any <mj-text>",
    ),
    "HTML outside": (
        "<p>Hi</p>",
        "<p> cannot stand in <mj-column>; put it into <mj-text> or <mj-raw>",
    ),
    "section in a column": (
        "<mj-section></mj-section>",
        "<mj-section> cannot stand in <mj-column>; put it into <mj-body> or <mj-wrapper>",
    ),
    "text in a text": (
        "<mj-text><mj-text>Hi</mj-text></mj-text>",
        "<mj-text> cannot stand in <mj-text>; put it into <mj-column> or <mj-hero>",
    ),
    "less than": ("<mj-text>a < b</mj-text>", "a '<' that begins no element is written &lt;"),
    "comment never closed": ("<!-- Later", "a comment is not closed with -->"),
    "comment with dashes": (
        "<!-- a -- b --><mj-text>Hi</mj-text>",
        "a comment holds --, which ends it too early",
    ),
    "include": ("<mj-include path='x' />", "<mj-include> is not supported: include a template"),
    "unseen character": ("<mj-text>a\x01b</mj-text>", "'\\x01' cannot stand in MJML"),
    "doctype": ("<!doctype html>", "'<!doctype html>' is nothing MJML knows; take it away"),
}


@pytest.mark.parametrize(("written", "told"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_told_with_file_and_line(compiled, written, told):
    said = refused(compiled, LETTER.replace("BROKEN", written))

    assert said[0].startswith(f"{BODY}, line {LINE} {told}"), said


def test_a_column_without_a_section_is_told_where_it_stands(compiled):
    letter = LETTER.replace("<mj-section>\n", "").replace("</mj-section>\n", "")

    said = refused(compiled, letter.replace("BROKEN", "<mj-text>Hi</mj-text>"))

    assert said == [
        f"{BODY}, line 4 <mj-column> cannot stand in <mj-body>; put it into <mj-section> or <mj-group>"
    ]


def test_every_flaw_of_a_letter_is_told_at_once(compiled):
    said = refused(compiled, LETTER.replace("BROKEN", '<mj-txt />\n    <mj-image scr="x" />'))

    assert [line.partition(" <")[0].partition(" '")[0] for line in said] == [
        f"{BODY}, line 6",
        f"{BODY}, line 7",
    ]


def test_a_block_where_none_can_be_is_told_with_the_line_that_asks_for_it_and_its_own(compiled):
    said = refused(compiled, LETTER.replace("BROKEN", '\n[[ button("Look", "https://a.b/") ]]'))

    assert said[0].startswith(f"{BODY}, line 7 <mj-section> cannot stand in <mj-column>")
    assert "(assets/templates/blocks/button.mjml.j2, line " in said[0]


def test_what_a_caller_writes_into_a_block_has_the_callers_line(compiled):
    written = "[% call text() %]\n<p>One</p>\n<p>Two\n[% endcall %]"
    letter = f'[% extends "layouts/letter.mjml.j2" %][% block content %]\n{written}[% endblock %]'

    said = refused(compiled, letter)

    assert said[0].startswith(f"{BODY}, line 4 <p> is not closed before </mj-text>")


def test_a_broken_layout_and_a_broken_block_are_told_with_their_own_lines(compiled, workshop):
    layout = workshop / "assets/templates/layouts/letter.mjml.j2"
    whole = layout.read_text()
    layout.write_text(whole.replace("<mj-head>", "<mj-haed>"))
    (of_layout, *_) = refused(compiled, LETTER.replace("BROKEN", "<mj-text>Hi</mj-text>"))
    layout.write_text(whole)
    block = workshop / "assets/templates/blocks/heading.mjml.j2"
    block.write_text(block.read_text().replace("<mj-column>", "<mj-colum>"))

    of_block = refused(compiled, LETTER.replace("BROKEN", "<mj-text>Hi</mj-text>"))

    line = next(n for n, text in enumerate(whole.split("\n"), 1) if "<mj-head>" in text)
    assert of_layout.startswith(f"assets/templates/layouts/letter.mjml.j2, line {line} <mj-haed>")
    assert of_block[0].startswith(f"{BODY}, line 3 <mj-colum> is no element of MJML.")
    assert "(assets/templates/blocks/heading.mjml.j2, line " in of_block[0]


def test_a_block_of_a_letter_in_markdown_is_told_with_its_own_line(compiled, workshop):
    (workshop / "assets/campaigns" / SLUG / "body.mjml.j2").unlink()
    block = workshop / "assets/templates/blocks/button.mjml.j2"
    block.write_text(block.read_text().replace("<mj-button", "<mj-butto"))

    said = refused(compiled, None, body__md='Hello\n\n[[ button("Look", "https://a.b/") ]]\n')

    assert said[0].startswith("assets/templates/blocks/button.mjml.j2, line ")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("", "is empty; MJML begins with <mjml>"),
        ("<p>Hi</p>", "<p> stands outside of <mjml>"),
        ("<mjml><mj-body></mj-body></mjml><p></p>", "<p> stands behind </mjml>"),
        ("<mjml><mj-body></mj-body><mj-body></mj-body></mjml>", "<mj-body> stands there a second"),
        ("<mjml><mj-body></mj-body>", "<mjml> is not closed"),
        ("<mjml><mj-body><mj-section", "<mj-section> is not ended with >"),
        ("<mjml><mj-head><meta /></mj-head></mjml>", "<meta> cannot stand in <mj-head>"),
    ],
)
def test_a_whole_that_is_none_is_told(source, told):
    assert flaws(source)[0].what.startswith(told)


def test_nothing_is_wrong_with_what_html_and_mjml_allow():
    void = "".join(f"<{name}>" for name in sorted(VOID))
    source = (
        "<mjml><mj-head><mj-attributes><mj-all color='#000000' /><mj-class name='a' width='1px' />"
        "</mj-attributes><mj-style>a &gt; b { }</mj-style></mj-head><mj-body>"
        f"<!-- a - b --><mj-section\n css-class='a'><mj-column><mj-text mj-class='a' >{void}"
        "<p nowrap>&nbsp;a > b</p ></mj-text><mj-raw><div data-a='b'></div></mj-raw></mj-column>"
        "</mj-section></mj-body></mjml>"
    )

    assert flaws(source) == []
    assert from_mjml(source)


def test_spaces_between_elements_are_nothing_though_mrml_takes_some_for_words():
    source = (
        '<mjml> <mj-head> <mj-attributes> <mj-all color="#000000" /> </mj-attributes> </mj-head>'
        " <mj-body> <mj-section> <mj-column> <mj-text> <b>a</b> <i>b</i> </mj-text> <mj-social> "
        '<mj-social-element name="facebook" href="x">f</mj-social-element> </mj-social>'
        " </mj-column> </mj-section> </mj-body> </mjml>"
    )

    assert flaws(source) == []
    assert from_mjml(source) == from_mjml(source.replace("> <", ">\n<"))


@pytest.mark.parametrize("name", ["mj-attributes", "mj-style", "mj-title"])
def test_a_comment_where_mrml_bears_none_is_told(name):
    source = f"<mjml><mj-head><{name}><!-- Later --></{name}></mj-head></mjml>"

    assert [each.what for each in flaws(source)] == [f"'<!-- Later -->' cannot stand in <{name}>"]


# The facts, beside what mrml does

CHILDREN = {
    "mj-section": "<mj-column><mj-text>x</mj-text></mj-column>",
    "mj-wrapper": "<mj-section><mj-column><mj-text>x</mj-text></mj-column></mj-section>",
    "mj-group": "<mj-column><mj-text>x</mj-text></mj-column>",
    "mj-column": "<mj-text>x</mj-text>",
    "mj-hero": "<mj-text>x</mj-text>",
    "mj-social": '<mj-social-element name="facebook" href="x">f</mj-social-element>',
    "mj-navbar": '<mj-navbar-link href="x">f</mj-navbar-link>',
    "mj-accordion": "<mj-accordion-element><mj-accordion-title>t</mj-accordion-title>"
    "</mj-accordion-element>",
    "mj-accordion-element": "<mj-accordion-title>t</mj-accordion-title>",
    "mj-carousel": '<mj-carousel-image src="a"/><mj-carousel-image src="b"/>',
}
SHOWN = [name for name, fact in elements().items() if fact.within and "mj-head" not in fact.within]
SHOWN = [name for name in SHOWN if name not in ("mj-all", "mj-class", "mj-head", "mj-body")]


def within(name: str, markup: str) -> str:
    parent = elements()[name].within[0] if name != "mjml" else ""
    if name == "mjml":
        return markup
    return within(parent, f"<{parent}>{markup}</{parent}>")


@pytest.mark.parametrize("name", SHOWN)
def test_no_attribute_that_mrml_heeds_is_called_unknown(name):
    known = {*(elements()[name].attributes or ()), *EVERYWHERE}
    others = {each for fact in elements().values() for each in fact.attributes or ()} - known

    def rendered(attribute: str) -> str:
        return from_mjml(within(name, f"<{name}{attribute}>{CHILDREN.get(name, '')}</{name}>"))

    plain = rendered("")
    heeded = {
        other
        for other in others
        for value in ("ZZ", "17px", "right")
        if "ZZ" in (page := rendered(f' {other}="{value}"')) or len(page) != len(plain)
    }
    assert heeded == set()


@pytest.fixture(scope="module")
def whole() -> str:
    """A letter as it comes to mrml, with which nothing is wrong."""
    compilation = _Compilation(load(CHECKOUT, SLUG), CHECKOUT)
    return compilation._source(compilation.body or "")


# fmt: off
PIECES = st.sampled_from([
    "", "<", ">", '"', "'", "</", "/>", "<p>", "</p>", "<!--", "-->", "--", "=", "&", " ", "<br>", "a",
    "<mj-text>", "</mj-column>", "\x00", "\n", "é", "]]>",
])
# fmt: on


@settings(deadline=None)
@given(at=st.floats(0, 1), length=st.integers(0, 30), piece=PIECES)
@example(at=1.0, length=0, piece=" \n")
def test_whatever_mrml_refuses_was_told_before(whole, at, length, piece):
    start = int(at * len(whole))
    broken = whole[:start] + piece + whole[start + length :]

    try:
        from_mjml(broken)
    except OSError:
        assert flaws(broken) != []


def test_space_behind_the_last_element_is_no_word(whole):
    assert from_mjml(f"{whole.strip()} \n") == from_mjml(whole)


def refused(compiled, body: str | None, **files: str) -> list[str]:
    """The problems of a campaign with this body, each in a line."""
    files = {"body__mjml__j2": body, **files} if body is not None else files
    with pytest.raises(TemplateInvalid) as raised:
        compiled(None, **files)
    return [f"{problem.where} {problem.what}" for problem in raised.value.problems]
