"""The benchmarks still measure what they say: their sides make the same message, their servers take it."""

from __future__ import annotations

import smtplib

from bench import render
from bench.send_slow import slow_sink


def test_jinja_alone_renders_what_we_send():
    filler = render._filler(render._compiled(), None)
    person = render._person(3)

    subject, _, html, text = render._bare(filler)(person)
    sent = filler.fill(person)

    assert subject == sent.subject
    assert len(html) > 9_000
    assert text.split()[:5] == sent.text.split()[:5]


def test_the_slow_server_takes_messages_and_counts_them():
    with slow_sink(0.0) as slow, smtplib.SMTP("127.0.0.1", slow.port) as client:
        for number in range(3):
            client.sendmail(
                "bench@mill.example", f"p{number}@shop.example", "Subject: hi\r\n\r\nhi"
            )

    assert len(slow.ends) == 3
    assert slow.rate > 0
