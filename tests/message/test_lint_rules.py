"""Each rule of lint: messages that break it and no other, and messages that only look like it."""

from __future__ import annotations

import pytest

from pipelines.message.compiled import CompiledMessage
from pipelines.message.lint.rules import RULES, Severity, findings, lint

from .lint_letters import (
    ADDRESS,
    FOOTER,
    PAGE,
    SHORT_TEXT,
    letter,
    linked,
    named,
    pictured,
    written,
)

BIDI, ZERO_WIDTH = "\u202e", "\u200b"
IMAGE = 'src="https://shop.example/a.png" alt="Fern" width="280"'
LONG = "Twelve winter papers hang in the loft to dry, and a deep green one with fern leaves"
PARAGRAPH = (
    "<p>Twelve winter papers hang above water, beaters running through night, while leaves "
    "colour vats; tomorrow somebody collects every single parcel waiting below stairs, including "
    "yours, wrapped using yesterday's newspaper, string, sealing wax.</p>"
)

BROKEN: dict[str, list[CompiledMessage]] = {
    "subject-empty": [letter(subjects={"a": " "})],
    "subject-too-long": [letter(subjects={"a": "paper " * 26})],
    "subject-cut": [letter(subjects={"a": LONG})],
    "subject-all-caps": [letter(subjects={"a": "THE WINTER PAPERS ARE HERE, {{ first_name }}"})],
    "preheader-missing": [letter(preheaders={}), letter(preheaders={"a": " "})],
    "text-reordered": [
        letter(subjects={"a": f"Your bill{BIDI}gpj.exe"}),
        letter(sender_name=f"{BIDI}lliM repaP ehT"),
    ],
    "text-invisible": [
        letter(subjects={"a": f"Free{ZERO_WIDTH}bie"}),
        letter(preheaders={"a": "in\u200dvisible"}),
        letter(sender_name="The Pa\u00adper Mill"),
    ],
    "text-mixed-scripts": [
        letter(subjects={"a": "Your p\u0430per is here"}),
        letter(sender_name="The P\u03b1per Mill"),
    ],
    "text-link-missing": [
        letter(
            '<p><a href="[[link:0]]">Hello.</a></p>',
            links=["https://shop.example/"],
            text=SHORT_TEXT,
        )
    ],
    "text-words-missing": [letter(PARAGRAPH, text=SHORT_TEXT)],
    "attribute-without-default": [
        letter("<p>You are {{ attributes.tier }}</p>"),
        letter("{% for each in attributes.cities %}<p>{{ each }}</p>{% endfor %}"),
        letter(subjects={"a": "For {{ attributes['tier'] }}"}),
    ],
    "unsubscribe-missing": [
        letter(html=PAGE.format(f"<p>{ADDRESS}</p>"), text=SHORT_TEXT),
        letter(text=f"The mill is open.\n{ADDRESS}\n"),
        letter(html=PAGE.format(f"<!-- [[unsubscribe]] --><p>{ADDRESS}</p>"), text=SHORT_TEXT),
        letter(
            html=PAGE.format(f'<a href="[[unsubscribe]]"></a><p>{ADDRESS}</p>'), text=SHORT_TEXT
        ),
        letter(
            html=PAGE.format(
                f'<p style="display:none"><a href="[[unsubscribe]]">x</a></p><p>{ADDRESS}</p>'
            ),
            text=SHORT_TEXT,
        ),
    ],
    "postal-address-missing": [
        letter(html=PAGE.format('<a href="[[unsubscribe]]">Unsubscribe</a>'), text=SHORT_TEXT),
        letter(text="The mill is open.\n[[unsubscribe]]\n"),
    ],
    "html-too-large": [letter(f"<!--{'x' * 100_000}-->")],
    "active-content": [
        letter("<script>x()</script>"),
        letter("<form><p>Vote</p></form>"),
        letter('<p onclick="x()">Hello</p>'),
    ],
    "mjml-unknown-element": [letter("<mj-colum><p>Hello</p></mj-colum>")],
    "image-alt-missing": [
        pictured('src="https://shop.example/a.png" width="280"'),
        letter(
            '<p><a href="[[link:0]]"><img src="https://shop.example/a.png" alt="" width="9"></a></p>',
            links=["https://shop.example/"],
        ),
    ],
    "image-width-missing": [
        pictured('src="https://shop.example/a.png" alt="Fern"'),
        pictured('src="https://shop.example/a.png" alt="Fern" width="100%"'),
    ],
    "image-too-wide": [pictured('src="https://shop.example/a.png" alt="Fern" width="1201"')],
    "contrast-low": [
        letter('<p style="color:#999999">Hardly to be read</p>'),
        letter('<div bgcolor="#777" style="color:rgb(255, 255, 255)"><p>Nearly</p></div>'),
        letter('<p style="color:#aaa;font-size:30px">Large, and still pale</p>'),
    ],
    "link-base": [letter('<base href="https://shop.example/">')],
    "link-empty": [written(""), pictured('src="" alt="Fern" width="280"'), written("mailto:")],
    "link-placeholder": [
        written("#"),
        written("#nowhere"),
        written("javascript:void(0)"),
        written("{{ first_name }}"),
        linked("https://example.com/todo"),
        linked("https://shop.example/TODO"),
        linked("https://shop.example/?to=%7B%7Burl%7D%7D"),
        linked("https://shop.example/*|URL|*"),
    ],
    "link-relative": [written("/papers"), written("papers.html"), written("//shop.example/papers")],
    "link-private-host": [
        linked("http://localhost:8000/papers"),
        linked("https://192.168.1.7/"),
        linked("https://[::1]/"),
        linked("https://intranet/papers"),
        linked("https://127.1/"),
        linked("https://0x7f.1/"),
        linked("https://2130706433/"),
        linked("https://192.0.0.9/"),
    ],
    "link-not-https": [
        linked("http://shop.example/"),
        linked("ftp://shop.example/a"),
        pictured(f'{IMAGE} srcset="https://shop.example/a.png 1x, http://shop.example/b.png 2x"'),
        letter("<style>@media print { p { background: url(http://shop.example/a.png) } }</style>"),
        pictured('src="http://shop.example/a.png" alt="Fern" width="280"'),
        pictured('src="data:image/png;base64,AA" alt="Fern" width="280"'),
    ],
    "client-unsupported": [
        letter('<div style="display:flex"><p>One</p></div>'),
        letter("<video></video>"),
        letter('<div style="max-width:600px"><p>One</p></div>'),
        letter('<!--[if !mso]><!--><div style="max-width:600px">One</div><!--<![endif]-->'),
    ],
    "client-plainer": [letter('<p style="border-radius:6px">Round</p>')],
}
KEPT: dict[str, list[CompiledMessage]] = {
    "subject-empty": [letter(subjects={"a": "{{ first_name }}"})],
    "subject-too-long": [letter(subjects={"a": "{{ first_name or 'x' }}" * 8})],
    "subject-cut": [letter(subjects={"a": LONG[:70]})],
    "subject-all-caps": [
        letter(subjects={"a": "IKEA and DHL are here"}),
        letter(subjects={"a": "OK"}),
    ],
    "preheader-missing": [letter()],
    "text-reordered": [letter(subjects={"a": "مرحبا بكم في المطحنة"})],
    "text-invisible": [
        letter(subjects={"a": "A day out \U0001f469\u200d\U0001f469\u200d\U0001f467"})
    ],
    "text-mixed-scripts": [letter(subjects={"a": "Бумага from the mill, 5 µm thin"})],
    "text-link-missing": [linked("https://shop.example/")],
    "text-words-missing": [letter(PARAGRAPH)],
    "attribute-without-default": [
        letter("<p>You are {{ attributes.tier|default('new') }}</p>"),
        letter("{% if attributes.tier is defined %}<p>{{ attributes.tier }}</p>{% endif %}"),
        letter("{% for each in attributes.cities|default([]) %}<p>{{ each }}</p>{% endfor %}"),
    ],
    "unsubscribe-missing": [
        letter(),
        letter(html=PAGE.format(f"<p>Leave: [[unsubscribe]]</p><p>{ADDRESS}</p>"), text=SHORT_TEXT),
    ],
    "postal-address-missing": [
        letter(
            html=PAGE.format(FOOTER.replace(", 12", ",<br>12")),
            text=SHORT_TEXT.replace(", 12", ",\n12"),
        )
    ],
    "html-too-large": [letter(f"<!--{'x' * 98_000}-->")],
    "active-content": [letter("<p>&lt;script&gt; and onclick=</p>")],
    "mjml-unknown-element": [letter('<p class="mj-colum">Hello</p>')],
    "image-alt-missing": [
        pictured('src="https://shop.example/a.png" alt="" width="280"'),
        letter(
            '<a href="[[link:0]]"><img src="https://shop.example/a.png" alt="" width="9"> Fern</a>',
            links=["https://shop.example/"],
        ),
    ],
    "image-width-missing": [
        pictured(IMAGE),
        pictured(IMAGE.replace('width="280"', 'style="width:9px"')),
    ],
    "image-too-wide": [pictured(IMAGE.replace("280", "1200"))],
    "contrast-low": [
        letter('<p style="color:#888888;font-size:24px">Large</p>'),
        letter('<p style="color:#999999;display:none">Unseen</p>'),
        letter('<div style="color:#eeeeee"><p style="background:#222222">Light on dark</p></div>'),
        letter('<p style="color:#999999">·</p>'),
    ],
    "link-base": [letter("<p>&lt;base&gt;</p>")],
    "link-empty": [written("mailto:hello@mill.example"), written("tel:+441234")],
    "link-placeholder": [
        letter('<a href="#end">To the end</a><p id="end">The end</p>'),
        linked("https://shop.example/todos-los-santos"),
        written("https://shop.example/?to={{ (first_name)|url }}"),
    ],
    "link-relative": [linked("https://shop.example/papers.html")],
    "link-private-host": [linked("https://1.1.1.1/"), linked("https://local.shop.example/")],
    "link-not-https": [
        linked("https://shop.example/"),
        pictured(f'{IMAGE} srcset="https://shop.example/a,b.png 1x, https://shop.example/b.png"'),
        pictured('src="cid:a" alt="Fern" width="9"'),
    ],
    "client-unsupported": [
        letter('<p style="display:block;margin:0 0 14px">One</p>'),
        letter(
            '<!--[if mso | IE]><table width="600"><tr><td><![endif]-->'
            '<div style="margin:0px auto;max-width:600px"><p>One</p></div>'
        ),
    ],
    "client-plainer": [letter('<p style="border-radius:0">Square</p>')],
}


def cases(messages: dict[str, list[CompiledMessage]]) -> list[object]:
    return [
        pytest.param(name, message, id=f"{name}-{number}")
        for name, broken in messages.items()
        for number, message in enumerate(broken, 1)
    ]


@pytest.mark.parametrize(("name", "message"), cases(BROKEN))
def test_a_message_that_breaks_a_rule_gets_this_finding_alone_with_a_fix(name, message):
    found = findings(message)

    assert {each.rule.name for each in found} == {name}
    assert all(each.where and each.what and each.fix.endswith(".") for each in found)
    rule = found[0].rule
    assert name.startswith("client-") or found[0].fix == rule.fix


@pytest.mark.parametrize(("name", "message"), cases(KEPT))
def test_a_message_that_only_looks_like_it_has_no_finding(name, message):
    assert named(message) == []


def test_every_rule_has_both_kinds_of_messages():
    names = [rule.name for rule in RULES]

    assert len(set(names)) == len(names)
    # Which is about what a campaign says of the others.
    assert set(BROKEN) == set(KEPT) == set(names) - {"allowance-unneeded"}


def test_what_forbids_to_approve_is_errors_alone():
    for name, messages in BROKEN.items():
        severity = next(rule.severity for rule in RULES if rule.name == name)
        for message in messages:
            assert bool(lint(message)) == (severity is Severity.ERROR), name
