from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from pipelines.demo.bounce import delivery_report
from pipelines.engagement.events import parse
from pipelines.message.tokens import Purpose, Token, sign
from streaming import mailbox
from streaming.log import LogWriter
from streaming.process import Stopping

if TYPE_CHECKING:
    from conftest import Campaigning


def put(campaigning: Campaigning, name: str, raw: bytes) -> None:
    new = mailbox.folder(campaigning.home) / "new"
    new.mkdir(parents=True, exist_ok=True)
    (new / name).write_bytes(raw)


def bounced(campaigning: Campaigning, contact_id: int) -> bytes:
    token = sign(Token(Purpose.UNSUBSCRIBE, "spring", contact_id), campaigning.home.key("links"))
    message = (
        "From: Mill <hello@mill.example>\r\nTo: ada@shop.example\r\n"
        f"List-Unsubscribe: <http://127.0.0.1:8025/u/{token}>\r\n\r\nHello"
    )
    return delivery_report(message.encode())


def read_all(campaigning: Campaigning) -> None:
    mailbox.run(campaigning.home, stopping=Stopping(), until_empty=True)


def test_a_hard_bounce_is_an_event_and_a_suppression(campaigning: Campaigning) -> None:
    put(campaigning, "one", bounced(campaigning, 1))

    read_all(campaigning)

    [row] = campaigning.people.export().to_dicts()
    assert (row["address_hash"], row["scope"], row["reason"]) == ("hash-1", "all", "hard_bounce")
    [hit] = campaigning.logged("mailbox")
    assert (hit["kind"], hit["contact_id"], hit["detail"]) == ("bounce", 1, "hard 5.1.1")
    assert [path.name for path in (mailbox.folder(campaigning.home) / "cur").iterdir()] == ["one"]


@pytest.mark.parametrize("raw", [b"", b"Subject: out of office\n\nAway", b"\xff\x00\r\n"])
def test_other_mail_is_put_aside_and_changes_nothing(raw: bytes, campaigning: Campaigning) -> None:
    put(campaigning, "one", raw)

    read_all(campaigning)

    assert campaigning.people.export().is_empty()
    assert campaigning.logged("mailbox") == []
    assert not list((mailbox.folder(campaigning.home) / "new").iterdir())


def test_a_report_read_again_after_a_crash_is_the_same_event(campaigning: Campaigning) -> None:
    with LogWriter(campaigning.home.event_log, "mailbox") as log:
        for name in ("one", "again"):
            put(campaigning, name, bounced(campaigning, 1))
            mailbox.collect(campaigning.home, campaigning.people, log)

    events = [
        parse(orjson.dumps(hit), partition="mailbox", offset=0)
        for hit in campaigning.logged("mailbox")
    ]
    assert len({event.event_id for event in events if event}) == 1
    assert campaigning.people.export().height == 1


def test_a_report_of_a_delivery_is_an_event_once_and_suppresses_nobody(
    campaigning: Campaigning,
) -> None:
    delivered = bounced(campaigning, 1).replace(b"Action: failed", b"Action: delivered")
    for name in ("one", "again"):
        put(campaigning, name, delivered.replace(b"5.1.1", b"2.1.5"))

    read_all(campaigning)

    assert campaigning.people.export().is_empty()
    hits = campaigning.logged("mailbox")
    assert [(hit["kind"], hit["detail"]) for hit in hits] == [("delivery", "delivered 2.1.5")] * 2
    assert len({hit["mark"] for hit in hits}) == 1
