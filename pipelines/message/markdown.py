"""A body written in Markdown: words, and blocks on lines of their own between them.

Knows where one ends and the other begins. What a person types is text: Markdown's own HTML is off,
and a block waits in `Held` until the words around it are set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

_BLOCK = re.compile(r"LMBLOCK(\d+)X")
_TAGS = re.compile(r"(?:LMTAG\d+X\s*)+")
_PARAGRAPH = 3  # tokens: opening, words, end


@dataclass(frozen=True)
class Part:
    """A piece of the letter: words to be set as text, or MJML that is put down as it is."""

    markup: Markup
    is_words: bool


@dataclass
class Held:
    """What a body asked for while Jinja read it: its layout, and its blocks by number."""

    layout: str = "letter"
    blocks: list[str] = field(default_factory=list)

    def choose(self, layout: str) -> str:
        """`[[ layout("plain") ]]`"""
        self.layout = layout
        return ""

    def holding(self, block: Callable[..., str]) -> Callable[..., str]:
        """The same block, which leaves a paragraph of one word in the Markdown."""

        def held(*given: Any, **named: Any) -> str:
            self.blocks.append(str(block(*given, **named)))
            return f"\n\nLMBLOCK{len(self.blocks) - 1}X\n\n"

        return held


def parts(source: str, held: Held) -> Iterator[Part]:
    """The letter in order. Raises ValueError when a block stands where none can be."""
    markdown = MarkdownIt("commonmark", {"html": False})
    tokens = markdown.parse(source)
    words: list[Token] = []
    at = 0

    def said() -> Iterator[Part]:
        html = markdown.renderer.render(words, markdown.options, {})
        words.clear()
        if _BLOCK.search(html):
            raise ValueError("a block stands inside code; put it on a line of its own")
        if html:
            yield Part(Markup(html), is_words=True)  # noqa: S704

    while at < len(tokens):
        alone = _alone(tokens, at)
        if block := _BLOCK.fullmatch(alone):
            yield from said()
            yield Part(Markup(held.blocks[int(block[1])]), is_words=False)  # noqa: S704
        elif _TAGS.fullmatch(alone) and held.blocks:
            # A condition may begin before a block and end behind it: it belongs to neither's words.
            yield from said()
            yield Part(Markup(alone), is_words=False)  # noqa: S704
        else:
            words.append(tokens[at])
            at += 1
            continue
        at += _PARAGRAPH
    yield from said()


def _alone(tokens: list[Token], at: int) -> str:
    """The words of a paragraph that stands in nothing else; empty for anything else."""
    token = tokens[at]
    is_paragraph = token.type == "paragraph_open" and token.level == 0
    return tokens[at + 1].content.strip() if is_paragraph else ""
