"""The benchmarks still measure what they say: their sides make the same message."""

from __future__ import annotations

from bench import render


def test_jinja_alone_renders_what_we_send():
    filler = render._filler(render._compiled(), None)
    person = render._person(3)

    subject, _, html, text = render._bare(filler)(person)
    sent = filler.fill(person)

    assert subject == sent.subject
    assert len(html) > 9_000
    assert text.split()[:5] == sent.text.split()[:5]
