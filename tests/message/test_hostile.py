"""Every value of a person's is hostile: in each field, in each place a message can put it."""

from __future__ import annotations

import email
import email.policy
import shutil
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.campaigns.campaign import load
from pipelines.errors import Refused
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CompiledMessage
from pipelines.message.fill import Filler, made_up
from pipelines.settings import CHECKOUT

from .conftest import KEY, SLUG, URL

STRINGS = {
    "tags of ours": "{{ 7 * 7 }}{% if 1 %}{# x #}",
    "blocks of ours": "[[ brand.name ]][% include 'x' %][[unsubscribe]][[link:0]][[pixel]]",
    "our words": "LMTAG0X<!--LMTAG1X-->",
    "an element": "<script>alert(1)</script><b>",
    "an attribute": "\" onclick=\"x' onclick='x ` onclick=x ",
    "the end of a comment": "--><img src=x><!--",
    "the end of a style": "</style><style>*{display:none}",
    "a conditional comment": "<!--[if mso]>x<![endif]-->",
    "half an entity": "&lt;b&gt; &amp &#60;b&#62; &",
    "another host": "//evil.example/@evil.example:80\\..?#",
    "a script's address": "javascript:alert(1)",
    "a header": "a\r\nBcc: everybody@shop.example\r\n\r\n<html>",
    "bare ends of lines": "a\rb\nc\x0bd\x0ce\x85f\u2028g\u2029h",
    "encoded words": "=?utf-8?q?hi=0D=0AX-Inj:_1?= =?utf-8?b?DQpYLUluajogMQ==?=",
    "quoted-printable": "=0D=0AX: 1=\r\n=3Cb=3E =",
    "a boundary": "\r\n--=_lettermill\r\nContent-Type: text/html\r\n",
    "a lone dot": "\r\n.\r\nMAIL FROM:<x@y.example>\r\n",
    "no text": "\0\x01\x08\x1b[31m\x7f",
    "half a character": "\ud800\udc00\udfff",
    "right to left": "\u202eabc\u202c \u2066x\u2069 \u200f שלום مرحبا",
    "nothing to be seen": "\u200b\u200d\ufeff\u00ad\u2060",
    "many marks": "Z" + "\u0301" * 500,
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈" * 20,
    "a list of addresses": '"a" <a@x.example>, b@y.example; (c)',
    "a full line, then a tab": "w" * 75 + "\t\r\nnext",
    "a full line, then a blank": "w" * 73 + ". \nnext",
    "100 kB": "x" * 100_000,
    "2,000 letters beyond ASCII": "é" * 2_000,
    "one word of 5,000": "W" * 5_000,
}
PERSONAL = ("first_name", "last_name", "city", "country", "locale", "time_zone", "birth_on")
BODY = """[% extends "layouts/letter.mjml.j2" %][% block content %]
[[ heading("For {{ first_name }}", kicker="{{ country }}") ]]
[[ image("https://shop.example/p/{{ city|urlencode }}.png", "Of {{ last_name }}") ]]
[% call text() %]<p title="{{ first_name }}" lang='{{ locale }}'>
{{ last_name }} {{ time_zone }} {{ birth_on }}
<a href="https://shop.example/{{ city }}?q={{ first_name }}#{{ last_name }}">{{ city }}</a></p>
{% if city %}<p>{{ city ~ '!' }}</p>{% endif %}{% set note = attributes.note|default('') %}{{ note|upper }}
[% endcall %]
{% for row in rows %}
[[ product_row("{{ row.name }}", "https://shop.example/{{ row.name }}", "https://shop.example/x.jpg") ]]
{% endfor %}
[% endblock %]"""
SHOWN = """[% extends "layouts/plain.mjml.j2" %][% block content %][% call text() %]<p>
{% set note = attributes.note %}{% if note %}{{ FILTERED }}{% endif %}
</p>[% endcall %][% endblock %]"""
FORMATS = (
    "note|date", "note|moment", "'2026-11-02'|date(note)", "note|money('EUR')", "3|money(note)",
    "note|number",
    "note|plural(one=note, other=note)", "note|truncate(9)", "note|int", "note|float",
    "[note, note]|join(note)",
    "note|title|trim|upper|wordcount", "note|url", "note|urlencode", "note|list|unique|sort|first",
)  # fmt: skip
# What each of the formats is for.
TAME = {
    "note|date": "2026-11-02", "note|moment": "2026-11-02T08:00:00Z", "'2026-11-02'|date(note)": "short",
    "note|money('EUR')": "250", "3|money(note)": "EUR", "note|number": "7",
    "note|plural(one=note, other=note)": "1",
}  # fmt: skip


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, and the hosts it leads to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.hosts: set[str | None] = set()
        self.comments: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        leads = (value for name, value in attrs if name in ("href", "src") and value)
        self.hosts |= {urlsplit(value).hostname for value in leads}

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Filler]:
    """One message that has values in every place, and one for each way to format them."""
    bodies = {each: SHOWN.replace("FILTERED", each) for each in FORMATS} | {"places": BODY}
    messages = {
        name: _compiled(tmp_path_factory.mktemp("project"), bodies[name]) for name in bodies
    }
    return {
        name: Filler(message, public_url=URL, campaign=SLUG, link_key=KEY)
        for name, message in messages.items()
    }


def _compiled(project: Path, body: str) -> CompiledMessage:
    shutil.copytree(CHECKOUT / "assets/templates", project / "assets/templates")
    shutil.copy(CHECKOUT / "assets/topics.yaml", project / "assets/topics.yaml")
    folder = project / "assets/campaigns" / SLUG
    folder.mkdir(parents=True)
    settings = yaml.safe_load(
        (CHECKOUT / "assets/campaigns" / SLUG / "campaign.yaml").read_text(encoding="utf-8")
    )
    settings["variants"] = [
        {"name": "a", "subject": "{{ first_name }}, {{ city }}", "preheader": "{{ last_name }}"}
    ]
    settings["fields"] = {"rows": [{"name": "a"}]}
    (folder / "campaign.yaml").write_text(yaml.safe_dump(settings))
    (folder / "body.mjml.j2").write_text(body)
    return compile_message(load(project, SLUG), project=project)


def person(value: str, *, where: str | None = None) -> dict[str, Any]:
    """Somebody whose fields are this value: one of them, or all."""
    tame: dict[str, Any] = dict.fromkeys(PERSONAL, "Ada")
    tame |= {"attributes": {"note": "Ada"}, "rows": [{"name": "Ada"}]}
    hostile = {**dict.fromkeys(PERSONAL, value), "attributes": {"note": value}}
    hostile["rows"] = [{"name": value}]
    return hostile if where is None else {**tame, where: hostile[where]}


def parsed(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)  # type: ignore[return-value]


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def whole(filler: Filler, fields: dict[str, Any]) -> None:
    """Fill it, and see that nothing of the person's is more than text."""
    tame = filler.fill(made_up("a", person("Ada"), is_tracked=True))
    filled = filler.fill(made_up("a", fields, is_tracked=True))

    message, like = parsed(filled.raw), parsed(tame.raw)
    assert message.keys() == like.keys()
    assert [each.get_content_type() for each in message.walk()] == [
        each.get_content_type() for each in like.walk()
    ]
    assert message["To"].addresses[0].addr_spec == "ada@shop.example"
    assert not [defect for part in message.walk() for defect in part.defects]
    assert filled.raw.isascii()
    lines = filled.raw.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert max(map(len, filled.raw.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= 76
    assert not [line for line in lines if b"\n" in line or b"\r" in line or b"\0" in line]
    found, expected = Elements(body(message, "html")), Elements(body(like, "html"))
    assert found.elements == expected.elements
    assert found.hosts == expected.hosts
    assert found.comments == expected.comments
    assert f"{URL}/u/" in body(message, "plain")


@pytest.mark.parametrize("name", STRINGS)
def test_a_naughty_string_is_text_wherever_it_stands(written, name):
    value = STRINGS[name]
    # Four times 100 kB and a letter round them are more than one message may have.
    few = ("first_name", "last_name", "country", "attributes")

    for where in few if len(value) > 50_000 else [*PERSONAL, "attributes", "rows", None]:
        whole(written["places"], person(value, where=where))


@pytest.mark.parametrize("name", FORMATS)
def test_a_naughty_string_that_is_formatted_is_text_or_the_message_is_refused(written, name):
    for value in STRINGS.values():
        reason, raw = "", b""

        try:
            raw = written[name].write(made_up("a", person(value, where="attributes"))).raw
        except Refused as refused:
            reason = str(refused)

        assert reason or raw
        assert value not in reason
        assert not parsed(raw).defects


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_is_for_is_written_and_sent(written, name):
    tame = person(TAME.get(name, "Ada"), where="attributes")

    assert written[name].write(made_up("a", tame)).raw


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    value=st.one_of(
        st.text(min_size=1, max_size=60),
        st.text(
            st.sampled_from("<>&\"'`={}[]%#/\\\r\n\0\u2028\u202e ab:;-!"), min_size=1, max_size=60
        ),
        st.lists(st.sampled_from(list(STRINGS.values())[:20]), min_size=1, max_size=3).map("".join),
    )
)
def test_whatever_a_value_is_it_is_text_in_every_place(written, value):
    whole(written["places"], person(value))
