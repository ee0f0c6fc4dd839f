"""What a template may cost: whoever writes one can be wrong, or mean."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from jinja2 import DictLoader
from jinja2.exceptions import SecurityError, TemplateError, TemplateNotFound, TemplateSyntaxError
from pydantic import BaseModel

from pipelines.campaigns.campaign import load
from pipelines.errors import TemplateInvalid
from pipelines.message.allowed import FILTERS, PERSONAL, TESTS
from pipelines.message.compile import compile_message
from pipelines.message.markup import unbounded
from pipelines.message.sandbox import MOST_ROUNDS, compile_environment, fill_environment

NAME = "x" * 100_000
ROWS = [{"n": number} for number in range(MOST_ROUNDS + 1)]
DOUBLING = "{% set s = s ~ s %}"


def filled(source: str, **values: object) -> str:
    return fill_environment(autoescape=True).from_string(source).render(values)


def put_together(source: str, **values: object) -> str:
    """The same source while a message is compiled."""
    for mark, once in (("{{", "[["), ("}}", "]]"), ("{%", "[%"), ("%}", "%]")):
        source = source.replace(mark, once)
    environment = compile_environment(DictLoader({}), autoescape=True)
    return environment.from_string(source).render(values)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 10**10**8 }}",
        "{{ 'a' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{% set s = name %}" + DOUBLING * 40 + "{{ s }}",
        "{% set s = name %}" + "{% set s = s + s %}" * 40 + "{{ s }}",
        "{% set s = name %}" + "{% set s %}{{ s }}{{ s }}{% endset %}" * 40 + "{{ s }}",
        "{% set s = name %}" + "{% set s = [s, s] | join %}" * 40 + "{{ s }}",
        "{% set s = '%' ~ name %}"
        + "{% set s = s | urlencode %}{% set s = s | replace('%', s) %}" * 9,
        "{% set s = [name] %}" + "{% set s = s + s %}" * 40 + "{{ s }}",
        "{% for a in rows %}{% for b in rows %}{{ name }}{% endfor %}{% endfor %}",
        "{% for a in rows %}{{ a.n }}{% endfor %}",
        "{% for a in name %}{% for b in name %}{{ a }}{% endfor %}{% endfor %}",
        "{{ name | join(name) }}",
        "{{ name.join(name) }}",
        "{{ name.translate({120: name}) }}",
        "{{ 1.5 | round(1000000000, 'ceil') }}",
        "{{ name.__class__.__mro__ }}",
        "{{ name.__init__.__globals__ }}",
        "{{ rows.__class__ }}",
        "{{ rows.append(1) }}",
        "{{ cycler.__init__ }}",
        "{{ self.__init__ }}",
        "{% include '/etc/passwd' %}",
        "{% import 'x' as y %}",
        "{{ lipsum(10000000) }}",
        "{{ range(1000000000) | list }}",
    ],
)
def test_for_one_person_it_is_stopped_before_it_costs_or_tells_anything(source: str):
    with pytest.raises((TemplateError, TypeError)):
        filled(source, name=NAME, rows=ROWS)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "macros, calls, blocks"),
        ("{% block a %}{{ self.a() }}{% endblock %}", "macros, calls, blocks"),
        ("{{ self.a() }}", "self is nothing"),
        ("{% autoescape false %}{{ name }}{% endautoescape %}", "autoescape"),
        ("{% for a in rows recursive %}{{ loop(rows) }}{% endfor %}", "never call themselves"),
        (
            "{% for a in r %}{% for b in r %}{% for c in r %}x{% endfor %}{% endfor %}{% endfor %}",
            "2 deep at most",
        ),
    ],
)
def test_what_could_run_for_ever_is_refused_when_it_is_read(source: str, told: str):
    with pytest.raises(TemplateSyntaxError, match=told):
        fill_environment(autoescape=True).from_string(source)


def test_a_loop_over_rows_a_name_of_100_kb_and_sums_are_fine():
    source = "{% for a in rows %}{{ loop.index }}:{{ a.n + 1 }} {% endfor %}{{ name | length }}"

    assert filled(source, rows=ROWS[:3], name=NAME) == "1:1 2:2 3:3 100000"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("[% macro a() %][[ a() ]][[ a() ]][% endmacro %][[ a() ]]", "recursion|rounds, calls"),
        (
            "[% for a in few %][% for b in few %][% for c in few %][% for d in few %][% for e in few %]"
            "[% for f in few %]x" + "[% endfor %]" * 6,
            "rounds, calls",
        ),
    ],
)
def test_what_could_run_for_ever_while_it_is_compiled_is_stopped(source: str, told: str):
    environment = compile_environment(DictLoader({}), autoescape=True)

    with pytest.raises((SecurityError, RecursionError), match=told):
        environment.from_string(source).render(few=list(range(10)))


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret", "a/../../secret"])
def test_a_block_outside_the_project_is_not_found(name: str):
    environment = compile_environment(DictLoader({}), autoescape=True)

    with pytest.raises(TemplateNotFound):
        environment.from_string(f"[% include '{name}' %]").render()


@pytest.mark.parametrize("file", ["body.mjml.j2", "body.html.j2"])
@pytest.mark.parametrize("element", ["div", "span", "table"])
def test_elements_that_would_end_the_process_are_counted_first(workshop, file, element):
    folder = workshop / "assets/campaigns/autumn-thanks"
    (folder / "body.mjml.j2").unlink()
    (folder / file).write_text(f"<{element}>" * 20_000)

    with pytest.raises(TemplateInvalid) as refused:
        compile_message(load(workshop, "autumn-thanks"), project=workshop)

    assert "elements stand in each other 20,000 deep" in refused.value.problems[0].what


def test_many_elements_beside_each_other_are_fine():
    rows = "<table>" + "<tr><td>one<br><img src='x' alt='>'>" * 2_000 + "</table>"

    assert unbounded(f"<div>{'<p>a paragraph' * 1_000}{rows}</div>") is None


def test_a_message_that_grows_while_it_is_compiled_is_stopped(compiled):
    long = "[% set long %]" + "x" * 100_000 + "[% endset %]"

    with pytest.raises(TemplateInvalid) as refused:
        compiled(long + "[[ long ]]" * 12)

    assert "longer than 1,000,000 characters" in refused.value.problems[0].what


@pytest.mark.parametrize(
    "source",
    [
        "{{ (1).to_bytes(1200000000, 'big')|length }}",
        "{{ (1).from_bytes('x') }}",
        "{{ (1.5).hex() }}",
        "{{ " + " ~ ".join(["name"] * 3_000) + " }}",
        "{{ name }}" * 1_900,
    ],
)
def test_numbers_joins_and_many_values_make_nothing_huge(source: str):
    with pytest.raises(SecurityError):
        filled(source, name=NAME)


def test_loops_within_each_other_are_counted_together_and_anew_for_each_person():
    nested = (
        "{% for a in few %}{% for b in few %}{% set c %}{{ b }}{% endset %}{% endfor %}{% endfor %}"
    )
    template = fill_environment(autoescape=True).from_string(nested)

    for _ in range(3):
        assert template.render(few=list(range(60))) == ""
    with pytest.raises(SecurityError, match="rounds together"):
        template.render(few=list(range(100)))
    assert template.render(few=list(range(60))) == ""


@pytest.mark.parametrize(
    "source",
    ["[[ 1.5|round(300000000, 'ceil') ]]", "[[ ('a' * 1)|join('b') ]]", "[[ many|join(long) ]]"],
)
def test_what_is_too_much_is_too_much_while_a_message_is_compiled_as_well(source: str):
    environment = compile_environment(DictLoader({}), autoescape=True)

    with pytest.raises(SecurityError):
        environment.from_string(source).render(many=["a"] * 900, long="b" * 100_000)


def test_filters_over_long_values_are_counted_together_and_anew_for_each_person():
    sorting = "{% for a in few %}{% set z = note|list|sort %}{% endfor %}x"
    template = fill_environment(autoescape=True).from_string(sorting)

    assert template.render(few=[1, 2], note=NAME) == "x"
    with pytest.raises(SecurityError, match="looks through more than"):
        template.render(few=list(range(30)), note=NAME)
    assert template.render(few=[1, 2], note=NAME) == "x"


@pytest.mark.parametrize(
    "source",
    [
        "{% set x = [name] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}",
        "{% set x = (1, 2) %}" + "{% set x = (x, x) %}" * 60 + "{{ x == x }}",
        "{% set x = {'a': 1} %}" + "{% set x = {'a': x, 'b': x} %}" * 60 + "{{ x }}",
        "{% set x = [1] %}{% set y = [1] %}"
        + "{% set x = [x, x] %}{% set y = [y, y] %}" * 60
        + "{{ x == y }}",
        "{% set x = [name] %}" + "{% set x = x + x %}" * 9 + "{{ x }}",
    ],
)
def test_lists_within_lists_are_measured_whole(source: str):
    for run in (filled, put_together):
        with pytest.raises(SecurityError, match="more than 200,000"):
            run(source, name=NAME)


@pytest.mark.parametrize(
    "looked",
    [
        "{{ name.count('x') }}",
        "{{ 'y' in name }}",
        "{{ name == name ~ '' }}",
        "{{ name is lower }}",
        "{{ name[::-1]|length }}",
        "{{ [name, a]|join|length }}",
        "{{ (name + 'x')[:1] }}",
        "{{ {'n': name}.n[:1] }}",
        "{{ rows|select('in', name)|list|length }}",
    ],
)
def test_whatever_looks_through_a_long_value_again_and_again_is_counted(looked: str):
    loop = f"{{% for a in rows %}}{looked}{{% endfor %}}"

    for run in (filled, put_together):
        with pytest.raises(SecurityError, match="looks through more than"):
            run(loop, name=NAME, rows=["x"] * 500)


def test_many_comparisons_are_counted_outside_of_loops_too():
    assert filled("{{ 'y' in name }}" * 100, name=NAME) == "False" * 100

    with pytest.raises(SecurityError, match="looks through more than"):
        filled("{{ 'y' in name }}" * 101, name=NAME)


def test_what_a_block_makes_again_and_again_is_counted():
    block = "{% macro m() %}" + "x" * 190_000 + "{% endmacro %}"
    calls = "{% for a in rows %}{% set y = m() %}{% endfor %}"

    with pytest.raises(SecurityError, match="looks through more than 20,000,000"):
        put_together(block + calls, rows=ROWS)


def test_the_page_names_every_filter_and_test_and_no_other(project: Path):
    page = (project / "docs/templates.md").read_text()
    (section,) = re.findall(r"## Filters and tests\n(.*?)\n## ", page, re.DOTALL)
    filters, tests, absent = section.strip().split("\n\n")

    assert set(re.findall(r"`(\w+)`", filters)) == FILTERS | set(PERSONAL)
    assert {*re.findall(r"`(\w+)`", tests)} - {"is"} == {each for each in TESTS if each.isalpha()}
    assert not {*re.findall(r"`(\w+)`", absent.partition("purpose:")[2])} & FILTERS


@pytest.mark.parametrize("form", ["'x'", "['x']", "['y', 'x']"])
def test_a_file_that_includes_itself_twice_is_stopped(form: str):
    again = f"[% include {form} %]"
    twice = "[% if n > 0 %][% set n = n - 1 %]" + again * 2 + "[% endif %]"
    environment = compile_environment(DictLoader({"x": twice}), autoescape=True)

    with pytest.raises(SecurityError, match="includes in one message"):
        environment.get_template("x").render(n=40)


def test_a_file_that_imports_itself_twice_is_stopped():
    twice = "[% if n > 0 %][% set n = n - 1 %]" + "[% import 'x' as y with context %]" * 2
    environment = compile_environment(DictLoader({"x": twice + "[% endif %]"}), autoescape=True)

    with pytest.raises(SecurityError, match="includes in one message"):
        environment.get_template("x").render(n=40)


@pytest.mark.parametrize(
    "source",
    [
        "{{ name|list|select('in', name|list)|list|length }}",
        "{{ rows|selectattr('n', 'in', name|list)|list|length }}",
        "{{ rows|select('eq', deep)|list|length }}",
        "{% if 'zz' is in(name) %}{% endif %}" * 30,
        "{% if name is eq(name) %}{% endif %}" * 30,
        "{{ [deep, deep, deep]|sort|length }}" * 400,
    ],
)
def test_what_a_test_or_a_sort_looks_through_is_counted_to_its_end(source: str):
    deep = [[str(number)] for number in range(1_000)]
    rows = [{"n": number} for number in range(1_000)]

    with pytest.raises(SecurityError, match="looks through more than"):
        filled(source, name=NAME, rows=rows, deep=deep)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{{ digits|int(0, 16) is divisibleby(7) }}", "a number above"),
        ("{{ ten|sum(start=[])|length }}", "sum is for numbers only"),
        ("{{ ten|sum(start='')|length }}", "sum is for numbers only"),
        ("{{ '%1000000000d' is odd }}", "odd is for numbers only"),
        ("{{ '%1000000000d' is even }}", "even is for numbers only"),
        ("{{ '%1000000000d' is divisibleby(1) }}", "divisibleby is for numbers only"),
        ("{{ 'a'|round(10, 'ceil') }}", "round is for numbers only"),
        ("{{ [1]|round(10, 'floor') }}", "round is for numbers only"),
    ],
)
def test_sums_and_tests_of_numbers_take_numbers_of_some_size(source: str, told: str):
    for run in (filled, put_together):
        with pytest.raises(SecurityError, match=told):
            run(source, digits="f" * 50_000, ten=[[1]] * 10)


def test_numbers_are_summed_and_tested():
    source = "{{ rows|sum('n') }} {{ 4 is even }} {{ 4 is odd }} {{ 9 is divisibleby(3) }} {{ 3.5|round }}"

    assert filled(source, rows=ROWS[:4]) == "6 True False True 4.0"


class Model(BaseModel):
    name: str = "Ada"


@dataclass
class Record:
    name: str = "Ada"


class Row(dict[str, str]):
    pass


@pytest.mark.parametrize(
    "thing",
    [Model(), Record(), Model, Record, json.loads, json, iter([]), datetime.now(UTC).tzinfo],
)
@pytest.mark.parametrize(
    "source",
    [
        "{{ thing.NAME }}",
        "{{ thing['NAME'] }}",
        "{{ [thing]|join(thing.NAME) }}",
        "{{ [thing]|sum('NAME') }}",
        "{{ [{'a': thing}]|selectattr('a.NAME')|list }}",
    ],
)
def test_a_template_looks_into_values_and_into_no_object_of_ours(source: str, thing: object):
    for name in [each for each in dir(thing) if not each.startswith("_")] or ["x"]:
        for run in (filled, put_together):
            with pytest.raises(SecurityError, match="is unsafe"):
                run(source.replace("NAME", name), thing=thing)


def test_of_a_kind_of_dict_a_template_has_what_is_in_it_and_no_more():
    for run in (filled, put_together):
        assert run("{{ row.name }}{{ row['name'] }}", row=Row(name="Ada")) == "AdaAda"
        with pytest.raises(SecurityError, match="is unsafe"):
            run("{{ row.pop }}", row=Row(name="Ada"))


def test_a_date_a_loop_and_a_block_of_a_template_are_looked_into():
    source = "{% for a in few %}{{ loop.index }}{{ a.year }}{{ 'x'.upper() }}{% endfor %}"

    assert filled(source, few=[date(2026, 11, 2)]) == "12026X"
    assert put_together("{% macro m() %}{% endmacro %}{{ m.name }}") == "m"
