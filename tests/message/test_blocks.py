"""Blocks, layouts and starters: they compile, say what they take, and let nobody's values out."""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from jinja2 import DictLoader, nodes

from pipelines.errors import TemplateInvalid
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CompiledMessage
from pipelines.message.gallery import block_html, filled
from pipelines.message.library import BLOCKS, STARTERS, blocks, starters
from pipelines.message.lint.rules import lint
from pipelines.message.sandbox import compile_environment
from pipelines.settings import CHECKOUT

NAMES = sorted(path.name.removesuffix(".mjml.j2") for path in (CHECKOUT / BLOCKS).glob("*.mjml.j2"))
WHOLE = sorted(path.name for path in (CHECKOUT / STARTERS).iterdir())
BY_NAME = {block.name: block for block in blocks(CHECKOUT)}
HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "quotes": '"\' onload="alert(1)',
    "line ends": "Ada\r\nBcc: all@shop.example",
    "marks from right to left": "\u202eadA\u2067",
    "a tag": "{{ 7 * 7 }}{% raw %}",
}
PRODUCTS = [{"name": name, "price": "£1"} for name in ("Fern", "Moss", "Oat")]


class _Skeleton(HTMLParser):
    """The elements of a page with the names of their attributes; not what is written in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


@cache
def starter(name: str) -> CompiledMessage:
    (found,) = (each for each in starters(CHECKOUT) if each.name == name)
    return compile_message(found.campaign, project=CHECKOUT, folder=found.folder)


@cache
def example(name: str) -> str:
    return block_html(BY_NAME[name], CHECKOUT, brand="mill")


# Every block


@pytest.mark.parametrize("name", NAMES)
def test_a_block_compiles_with_its_example(name):
    page = example(name)

    assert "<!--[if mso" in page
    assert "LMTAG" not in page
    assert "[[" not in page


@pytest.mark.parametrize("name", NAMES)
def test_a_block_is_described_with_exactly_its_parameters(name):
    source = (CHECKOUT / BLOCKS / f"{name}.mjml.j2").read_text()
    tree = compile_environment(DictLoader({}), autoescape=True).parse(source)
    (macro,) = (each for each in tree.find_all(nodes.Macro) if each.name == name)
    given = [argument.name for argument in macro.args]
    optional = given[len(given) - len(macro.defaults) :]

    told = BY_NAME[name].parameters

    assert list(told) == given
    assert [each for each in told if "default" in told[each]] == optional


@pytest.mark.parametrize("name", NAMES)
def test_every_picture_of_a_block_has_a_width_and_words_for_who_does_not_see_it(name):
    pictures = re.findall(r"<img\b[^>]*>", example(name))

    assert [each for each in pictures if not re.search(r'\swidth="\d+"', each)] == []
    assert [each for each in pictures if not re.search(r'\salt="[^"]+"', each)] == []


def test_a_block_without_its_comment_is_named(workshop):
    (workshop / BLOCKS / "button.mjml.j2").write_text("[% macro button(label) %][% endmacro %]")

    with pytest.raises(TemplateInvalid, match=r"button.mjml.j2 +does not begin with"):
        blocks(workshop)


def test_an_example_that_does_not_compile_is_named_with_its_block(workshop):
    path = workshop / BLOCKS / "quote.mjml.j2"
    path.write_text(path.read_text().replace("[[ quote(", "[[ quotes("))
    (block,) = (each for each in blocks(workshop) if each.name == "quote")

    with pytest.raises(TemplateInvalid, match="the example of quote does not compile"):
        block_html(block, workshop, brand="mill")


PERSONAL = """
[[ header() ]]
[[ hero("{{ city }}", text="{{ city }}", image="https://shop.example/{{ city|urlencode }}",
        alt="{{ city }}", label="{{ city }}", href="https://shop.example/{{ city }}") ]]
[[ heading("{{ city }}", kicker="{{ city }}") ]]
[[ image("https://shop.example/a.jpg", "{{ city }}", caption="{{ city }}") ]]
[[ columns({"title": "{{ city }}", "text": "{{ city }}"},
           {"label": "{{ city }}", "href": "https://shop.example/"}) ]]
[[ coupon("{{ city }}", "{{ city }}", note="{{ city }}") ]]
[[ quote("{{ city }}", by="{{ city }}") ]]
[[ countdown("{{ city }}", lead="{{ city }}", note="{{ city }}") ]]
[[ product_row("{{ city }}", "https://shop.example/?{{ city }}", "https://shop.example/a.jpg",
               price="{{ city }}", note="{{ city }}") ]]
[[ signature("{{ city }}", role="{{ city }}", closing="{{ city }}", image="https://shop.example/a.jpg") ]]
[[ social_links({"{{ city }}": "https://shop.example/"}) ]]
[[ footer(reason="{{ city }}") ]]
"""


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_value_changes_no_element_of_a_block(compiled, fill, value):
    message = compiled(PERSONAL)

    harmless, found = fill(message, city="Oslo"), fill(message, city=value)

    assert _Skeleton(found.html).found == _Skeleton(harmless.html).found


def test_what_an_author_writes_into_a_block_is_text(compiled, fill):
    body = """[[ image("https://shop.example/a.jpg", 'Salt & "<pepper>"', caption="a < b & c") ]]"""

    found = fill(compiled(body))

    (alt,) = re.findall(r'<img alt="([^"]*)"[^>]*a.jpg', found.html)
    assert unescape(alt) == 'Salt & "<pepper>"'
    assert "a &lt; b &amp; c" in found.html
    assert "a < b & c" in found.text


# Lists of one person's


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_grid_repeats_for_each_one_s_own_products(compiled, fill, count):
    body = (
        "{% set products = attributes.seen|default([]) %}"
        """[[ product_grid(href="https://shop.example/p/{{ product.name }}") ]]"""
    )

    found = fill(compiled(body), attributes={"seen": PRODUCTS[:count]})

    names = [each["name"] for each in PRODUCTS[:count]]
    assert re.findall(r">(Fern|Moss|Oat)</a>", found.html) == names
    assert re.findall(r'href="https://shop.example/p/(\w+)"', found.html) == names
    assert [
        each for each in names if f"{each} <https://shop.example/p/{each}>" not in found.text
    ] == []
    assert found.html.count("<table") == found.html.count("</table>")


def test_a_grid_of_fixed_products_is_the_same_for_everybody_and_its_links_are_numbered(compiled):
    products = [
        {"name": name, "href": f"https://shop.example/{name}"} for name in ("fern", "oat", "moss")
    ]

    message = compiled(f"[[ product_grid({products}) ]]")

    assert message.links[1:4] == [each["href"] for each in products]


def test_a_picture_and_the_name_below_it_are_said_once_in_plain_text(compiled, fill):
    body = (
        "{% set products = attributes.seen|default([]) %}"
        """[[ product_grid(href="https://shop.example/p/{{ product.name }}","""
        """ image="https://shop.example/a.jpg") ]]"""
        """[[ product_row("Slate", "https://shop.example/slate", "https://shop.example/a.jpg") ]]"""
    )

    found = fill(compiled(body), attributes={"seen": PRODUCTS}, is_tracked=False)

    assert [found.text.count(f"{name} <") for name in ("Fern", "Moss", "Oat", "Slate")] == [1] * 4


def test_the_lines_of_one_s_own_order_are_rows_of_one_table(compiled, fill):
    body = """{% set lines = attributes.lines|default([]) %}[[ order_summary(total="£3") ]]"""
    lines = [{"name": "Fern", "quantity": 2, "price": "£2"}, {"name": "Oat", "price": "£1"}]

    found = fill(compiled(body), attributes={"lines": lines})

    (table,) = re.findall(r"<tbody><tr>\s*<td[^>]*>Fern.*?</tbody>", found.html, re.DOTALL)
    cells = [cell.strip() for cell in re.findall(r"<td[^>]*>([^<]*)</td>", table)]
    assert cells == ["Fern", "2 ×", "£2", "Oat", "1 ×", "£1", "Total", "£3"]


# Starters


@pytest.mark.parametrize("name", WHOLE)
def test_a_starter_compiles_without_findings_and_gmail_shows_it_whole(name):
    message = starter(name)

    assert lint(message) == []
    assert len(filled(message).html.encode()) < 100_000


@pytest.mark.parametrize("name", WHOLE)
def test_a_starter_reads_well_for_somebody_with_every_field_and_somebody_without_any(name):
    message = starter(name)

    known = filled(message)
    unknown = filled(message, **{**dict.fromkeys(message.default_fields), "attributes": {}})

    for found in (known, unknown):
        words = f"{found.subject} {found.preheader} {found.text}"
        assert re.findall(r"None| ,|,,|\{\{|\[\[|Undefined", words) == []
        assert not found.subject[0].islower()
    assert "Ada" not in unknown.html


@pytest.mark.parametrize("name", WHOLE)
def test_what_outlook_alone_reads_opens_and_closes_as_often(name):
    message = starter(name)

    for products in ([], PRODUCTS):
        page = filled(message, recommended=products).html.split("</head>")[1]
        outlook = re.sub(r"<!--\[if [^]]*\]>|<!\[endif\]-->", "", page)
        for element in ("table", "tr", "td"):
            assert len(re.findall(rf"<{element}\b", outlook)) == outlook.count(f"</{element}>")


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", WHOLE)
def test_a_hostile_value_changes_no_element_of_a_starter(name, value):
    message = starter(name)
    ours = ("attributes", "recommended")
    fields = {field: value for field in message.default_fields if field not in ours}

    def products(told: str) -> list[dict[str, Any]]:
        return [{"id": told, "name": told, "price_minor": 400, "currency": "GBP"}] * 3

    harmless = filled(message, **dict.fromkeys(fields, "Ada"), recommended=products("Ada"))
    found = filled(message, **fields, recommended=products(value))

    assert _Skeleton(found.html).found == _Skeleton(harmless.html).found
    assert not {"\r", "\n"} & set(found.subject + found.preheader)
    assert "<script" not in found.html
    assert b"\nBcc:" not in found.raw.partition(b"\r\n\r\n")[0]
