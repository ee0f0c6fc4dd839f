"""Templates that render quoted-printable: what is the same for everybody is encoded once.

Every static piece is encoded when the template is compiled, every value when it comes in; a soft line
break between them keeps lines short wherever a value ends. Rendering is then joining strings.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from jinja2 import Environment, Template, nodes
from markupsafe import escape

from pipelines.message.mime import QUOTED_LINE, clean, quoted_printable, short_lines

# These take what was rendered inside them as text, which would be encoded already. (Of others that do,
# such as macros, the fill phase knows none.)
CAPTURING = (nodes.AssignBlock, nodes.FilterBlock)
# With these, escaping early and escaping late differ.
ESCAPING = frozenset({"e", "escape", "forceescape", "safe"})
# Above this share of bytes to be quoted, base64 is shorter.
MOSTLY_ASCII = 1 / 9
# Characters that stand for themselves, without a run of spaces; in HTML, too. How many go into a line, a
# soft line break and a dot that must be quoted aside.
_LITERAL = re.compile("[!-<>-~]+(?: [!-<>-~]+)*")
_LITERAL_HTML = re.compile("[!#-%(-;?-~]+(?: [!#-%(-;?-~]+)*")
LITERALS = QUOTED_LINE - 3
# Characters of a value, and how many values, whose encoding is kept.
SHORT, REMEMBERED = 40, 4096


class Quoted(str):
    """A value that is quoted-printable already, its soft line break included."""

    __slots__ = ()


def encoded(text: str) -> str:
    """A piece of a body as quoted-printable, CRLF for line ends; the next piece may follow at once."""
    if not text:
        return ""
    if _LITERAL.fullmatch(text):
        return _literal(text)
    ended = quoted_printable(clean(text))
    if not ended:
        return ""
    if ended.endswith("\r\n"):
        return ended
    before, line_end, last = ended.rpartition("\r\n")
    return before + line_end + "\r\n".join(short_lines(f"{last}=")) + "\r\n"


def _literal(text: str) -> str:
    """What has nothing to quote in it, as most values and all our addresses: lines of it, each to go on."""
    if len(text) <= LITERALS and not text.startswith("."):
        return f"{text}=\r\n"
    lines = [text[at : at + LITERALS] for at in range(0, len(text), LITERALS)]
    return "".join(f"=2E{each[1:]}=\r\n" if each[0] == "." else f"{each}=\r\n" for each in lines)


def as_quoted(text: str) -> Quoted:
    """A value that comes in more than once, encoded once."""
    return Quoted(encoded(text))


def quotable(source: str, environment: Environment) -> bool:
    """Whether a template can be rendered quoted, and had better be."""
    tree = environment.parse(source)
    if any(tree.find_all(CAPTURING)):
        return False
    if any(each.name in ESCAPING for each in tree.find_all(nodes.Filter)):
        return False
    static = "".join(each.data for each in tree.find_all(nodes.TemplateData))
    to_quote = sum(byte > 126 for byte in static.encode("utf-8", "replace"))
    return to_quote <= MOSTLY_ASCII * len(static)


def quoted_template(source: str, environment: Environment, *, is_html: bool) -> Template:
    """The template, rendering quoted-printable. `quotable` must hold; values of HTML are escaped.

    environment  one of this template alone, without autoescape: escaping is part of encoding here
    """
    environment.finalize = _of_html if is_html else _of_text
    tree = environment.parse(source)
    for piece in tree.find_all(nodes.TemplateData):
        piece.data = encoded(piece.data)
    return Template.from_code(environment, environment.compile(tree), {})


def _of_html(value: Any) -> str:
    if type(value) is str:
        return _short_html(value) if len(value) <= SHORT else _in_html(value)
    if type(value) is Quoted:
        return value
    if type(value) is int:
        return _literal(str(value))
    return "" if value is None else _in_html(value)


def _of_text(value: Any) -> str:
    if type(value) is str:
        return _short_text(value) if len(value) <= SHORT else encoded(value)
    if type(value) is Quoted:
        return value
    if type(value) is int:
        return _literal(str(value))
    return "" if value is None else encoded(str(value))


def _in_html(value: Any) -> str:
    if type(value) is str and _LITERAL_HTML.fullmatch(value):
        return _literal(value)
    return encoded(str(escape(value)))


# What is short comes again: a city, a product, a price.
_short_html = lru_cache(maxsize=REMEMBERED)(_in_html)
_short_text = lru_cache(maxsize=REMEMBERED)(encoded)
