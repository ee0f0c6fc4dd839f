"""Templates that render quoted-printable: a reader sees what plain rendering would have given."""

from __future__ import annotations

import quopri
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.message.quoted import as_quoted, encoded, quotable, quoted_template
from pipelines.message.sandbox import fill_environment

TEMPLATE = (
    "<p>Héllo {{ name }}, = {{ name | upper }}\n\n{% for each in rows %}"
    "<i>{{ each.name }}</i> {{ each.price }} \n{% endfor %}{% if name %}{{ name }}{{ name }}{% endif %}"
    "<a href='{{ _click }}/1'>" + "x" * 200 + "</a>{{ name or 'friend' }}\n"
)
# Letters, what HTML and MIME take for their own, line ends of every kind, and what no text may hold.
NAUGHTY = st.text(
    alphabet=st.one_of(
        st.sampled_from(" \t\r\n\0\x0b\x7f..=_-<>&'\"{}%?\u2028\u202e\ufeffé漢🙂"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=120,
)
# A line that is nearly full, and then a blank or a dot at its end.
FULL = st.builds(
    lambda length, end, rest: "w" * length + end + rest,
    st.integers(70, 80),
    st.text(st.sampled_from(" \t\r\n.="), max_size=6),
    NAUGHTY,
)
NAUGHTY = NAUGHTY | FULL
VALUES = st.one_of(NAUGHTY, st.none(), st.integers(), st.floats(allow_nan=False), st.booleans())


def plainly(source: str, values: dict[str, Any], *, is_html: bool) -> str:
    """What a reader of the same message unquoted would see. Of a value a line end is one by itself."""
    ended = {name: _with_line_ends(value) for name, value in values.items()}
    text = fill_environment(autoescape=is_html).from_string(source).render(ended)
    controls = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])
    return text.translate(controls)


def _with_line_ends(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n")
    if isinstance(value, list):
        return [{name: _with_line_ends(each) for name, each in row.items()} for row in value]
    return value


def quoted(source: str, values: dict[str, Any], *, is_html: bool) -> str:
    environment = fill_environment(autoescape=False)
    assert quotable(source, environment)
    click = as_quoted(values["_click"]) if "_click" in values else ""
    template = quoted_template(source, environment, is_html=is_html)
    return template.render({**values, "_click": click})


@pytest.mark.parametrize("is_html", [True, False], ids=["HTML", "text"])
@example(name="\r", rows=[])
@given(
    name=VALUES, rows=st.lists(st.fixed_dictionaries({"name": VALUES, "price": VALUES}), max_size=3)
)
def test_whatever_the_values_are_it_reads_as_rendered_plainly(
    name: Any, rows: list[dict[str, Any]], *, is_html: bool
):
    if not isinstance(name, str):
        name = str(name)  # the template calls it by letters
    click = "https://edge.mill.example/c/" + "a=b_c" * 40
    values = {"name": name, "rows": rows, "_click": click}

    found = quoted(TEMPLATE, values, is_html=is_html)

    assert quopri.decodestring(found.encode("ascii")).decode().replace("\r\n", "\n") == plainly(
        TEMPLATE, values, is_html=is_html
    )
    lines = found.split("\r\n")
    assert max(map(len, lines)) <= 76
    assert not any("\n" in line or "\r" in line or line.endswith((" ", "\t")) for line in lines)
    assert not any(line.startswith(".") for line in lines)


@pytest.mark.parametrize("length", range(70, 80))
def test_a_piece_that_fills_a_line_is_broken_before_it_is_too_long(length: int):
    blanks = [
        f"{'a' * length}{end}" for end in (". \n", "\t\n", " \nb", "\t\nb", ". ", "\t", " \t\n")
    ]
    for text in ("a" * length, "a" * (length - 3) + "=", "=" * length, "." * length, *blanks):
        lines = encoded(text).split("\r\n")

        assert max(map(len, lines)) <= 76
        assert quopri.decodestring("\n".join(lines).encode()).decode() == text
        assert not any(line.endswith((" ", "\t")) for line in lines)


@given(text=NAUGHTY)
def test_a_piece_ends_where_the_next_may_follow(text: str):
    piece = encoded(text)

    assert piece == "" or piece.endswith("\r\n")


@pytest.mark.parametrize(
    "source",
    [
        "{% set x %}<b>{{ name }}</b>{% endset %}{{ x }}",
        "{% filter upper %}a = {{ name }}{% endfilter %}",
        "{{ name | escape }}",
        "Здравствуйте, {{ name }}",
    ],
    ids=["a captured block", "a filtered block", "escaping by hand", "mostly not ASCII"],
)
def test_what_would_be_encoded_twice_or_had_better_be_base64_is_not_quoted(source: str):
    assert not quotable(source, fill_environment(autoescape=False))


def test_a_value_that_comes_in_often_is_encoded_once():
    environment = fill_environment(autoescape=False)
    template = quoted_template("{{ a }}{{ a }}", environment, is_html=True)

    assert template.render(a=as_quoted("x=y")) == "x=3Dy=\r\n" * 2
