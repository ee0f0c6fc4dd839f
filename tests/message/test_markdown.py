"""A body in Markdown: blocks between words, its layout, and what is said when it is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.campaigns.campaign import load
from pipelines.errors import TemplateInvalid
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CompiledMessage


@pytest.fixture
def written(workshop: Path) -> Callable[[str], CompiledMessage]:
    """Compiles the campaign with this for its body.md."""
    folder = workshop / "assets/campaigns/autumn-thanks"
    (folder / "body.mjml.j2").unlink()

    def run(text: str) -> CompiledMessage:
        (folder / "body.md").write_text(text)
        return compile_message(load(workshop, "autumn-thanks"), project=workshop)

    return run


def test_a_block_stands_between_the_words_of_markdown(written):
    message = written(
        'Before\n\n[[ button("Go <now>", "https://shop.example/go") ]]\n\nAfter *it*\n'
    )

    assert message.text.startswith("The Paper Mill")
    assert re.search(r"Before\s+Go <now> <\[\[link:1\]\]>\s+After it", message.text)
    assert "<em>it</em>" in message.html


def test_a_condition_around_a_block_of_markdown_leaves_the_letter_whole(written, fill):
    message = written(
        'Before\n\n{% if city %}\n\n[[ button("To {{ city }}", "https://shop.example/") ]]\n\n'
        "{% endif %}\n\nAfter\n"
    )

    there, gone = fill(message, city="Rome"), fill(message, city=None)

    assert "To Rome" in there.html
    assert "To " not in gone.text
    for found in (there, gone):
        assert found.html.count("<div") == found.html.count("</div>")
        assert found.html.count("<table") == found.html.count("</table>")


def test_markdown_may_choose_its_layout(written):
    plain = written('[[ layout("plain") ]]\nHello\n')

    assert plain.text.startswith("Hello")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('```\n[[ button("Go", "https://shop.example/") ]]\n```\n', "a block stands inside code"),
        ('Hello\n\n[[ buton("Go") ]]\n', "'buton' is undefined"),
        ('[[ layout("fancy") ]]\n', "layouts/fancy.mjml.j2"),
    ],
    ids=["in code", "unknown block", "unknown layout"],
)
def test_what_is_wrong_with_markdown_is_said(written, text, what):
    with pytest.raises(TemplateInvalid, match=re.escape(what)):
        written(text)
