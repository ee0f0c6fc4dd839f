"""A send in a person's hands: paused, let go on, ended, tried again; and over more than one relay."""

from __future__ import annotations

import socket
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from pathlib import Path

import pytest
import yaml

from pipelines.clock import SystemClock
from pipelines.delivery import control, sink
from pipelines.delivery.due import due
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.marks import Mark, Marks
from pipelines.delivery.news import News
from pipelines.delivery.overview import unaccounted
from pipelines.delivery.sender import SendResult
from pipelines.delivery.sending import send_campaign
from pipelines.delivery.trial import send_trial
from pipelines.demo.prepare import Demo
from pipelines.errors import RelayUnavailable, SendHeld
from pipelines.settings import DeliveryMode, HomeKind, Settings, make_home
from pipelines.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Relayed:
    """The shop, its mail redirected to a relay that is none of its own; delivery.yaml is the test's."""

    demo: Demo
    space: Workspace
    folder: Path
    port: int

    @property
    def key(self) -> str:
        return self.demo.campaign

    def write(self, **values: object) -> None:
        path = self.space.project / "assets/delivery.yaml"
        path.write_text(yaml.safe_dump({"relays": {"main": self.relay(self.port)}, **values}))

    def relay(self, port: int, **more: object) -> dict[str, object]:
        return {"host": "127.0.0.1", "port": port, "tls": "none", **more}

    def kept(self) -> Counter[str]:
        """How often the relay has each Message-ID."""
        parser = BytesHeaderParser()
        raws = (path.read_bytes() for path in self.folder.glob("*"))
        return Counter(str(parser.parsebytes(raw)["Message-ID"]) for raw in raws)


@pytest.fixture
def relayed(demo: Demo, tmp_path: Path) -> Iterator[Relayed]:
    home = make_home(tmp_path / "outside", kind=HomeKind.DEVELOPMENT, at=NOON)
    changes = {"delivery_mode": DeliveryMode.REDIRECT, "redirect_to": "qa@mill.example"}
    space = open_workspace(demo.settings.model_copy(update=changes))
    with sink.running(home, Settings(home=home.root)) as (_, port):
        yield Relayed(demo, space, home.sink / "new", port)


def reason_of(space: Workspace, key: str) -> str:
    (found,) = (each for each in due(space) if each.key == key)
    assert not found.start
    return found.why


def change(demo: Demo, statement: str, *values: object) -> None:
    with sqlite3.connect(demo.home.ledgers / f"{demo.campaign}.sqlite") as ledger:
        ledger.execute(statement, values)


def paused_after(relayed: Relayed, messages: int) -> SendResult:
    """A send that is paused once the relay has so many messages."""
    found: list[SendResult] = []
    sending = threading.Thread(
        target=lambda: found.append(send_campaign(relayed.key, relayed.space))
    )
    sending.start()
    clock = SystemClock()
    while len(relayed.kept()) < messages and sending.is_alive():
        clock.sleep(0.02)
    control.pause(relayed.key, relayed.space, by="Ines", why="looked again")
    sending.join()
    return found[0]


def test_nothing_starts_a_paused_campaign_and_resume_lets_it_go(demo: Demo):
    control.pause(demo.campaign, demo.workspace, by="Ines", why="the price is wrong")

    with pytest.raises(SendHeld, match="is paused") as held:
        send_campaign(demo.campaign, demo.workspace)
    assert "the price is wrong" in str(held.value)
    assert "paused by Ines" in reason_of(demo.workspace, demo.campaign)

    control.resume(demo.campaign, demo.workspace)
    result = send_campaign(demo.campaign, demo.workspace)
    assert result.counts == {"accepted": result.audience}


def test_what_is_not_paused_cannot_be_resumed(demo: Demo):
    with pytest.raises(SendHeld, match="is not paused"):
        control.resume(demo.campaign, demo.workspace)


def test_the_first_reason_for_a_pause_stays(demo: Demo):
    control.pause(demo.campaign, demo.workspace, by="Ines", why="first")
    again = control.pause(demo.campaign, demo.workspace, by="Tom", why="second")

    assert (again.by, again.why) == ("Ines", "first")


def test_a_file_nobody_can_read_pauses_all_the_same(demo: Demo):
    (demo.home.ledgers / f"{demo.campaign}.paused").write_text("{")

    with pytest.raises(SendHeld, match="is paused"):
        send_campaign(demo.campaign, demo.workspace)


def test_a_send_that_is_paused_stops_and_the_next_one_finishes_it_mailing_nobody_twice(
    relayed: Relayed,
):
    relayed.write(rate=60)  # slow enough to be under way when its first news come

    begun = paused_after(relayed, 20)

    assert begun.paused is not None
    assert 0 < begun.counts["accepted"] < begun.audience
    assert set(begun.counts) == {"accepted"}

    control.resume(relayed.key, relayed.space)
    relayed.write()
    ended = send_campaign(relayed.key, relayed.space)

    assert ended.counts == {"accepted": ended.audience}
    assert set(relayed.kept().values()) == {1}
    assert len(relayed.kept()) == ended.audience


def test_of_a_slow_send_the_ledger_and_the_news_know_within_a_second(relayed: Relayed):
    relayed.write(rate=30)
    ledgers, known = relayed.demo.home.ledgers, list[int]()

    def paused_at_first(news: News) -> None:
        ledger = Ledger(ledgers / f"{relayed.key}.sqlite")
        known.append(ledger.counts()["accepted"])
        ledger.close()
        assert news.relays["main"] == news.settled
        control.pause(relayed.key, relayed.space, by="Ines", why="seen")

    result = send_campaign(relayed.key, relayed.space, progress=paused_at_first)

    # The audience is smaller than a batch: nothing but the time made these known.
    assert 0 < known[0] < result.audience


def test_a_cancelled_campaign_is_over_and_everybody_is_accounted_for(relayed: Relayed):
    relayed.write(rate=60)
    begun = paused_after(relayed, 20)

    count = control.cancel(relayed.key, relayed.space, by="Ines", why="the product is gone")

    accepted = begun.counts["accepted"]
    assert count == begun.audience - accepted
    assert unaccounted(relayed.key, relayed.space) == 0
    assert "paused by" in reason_of(relayed.space, relayed.key)
    control.resume(relayed.key, relayed.space)
    relayed.write()
    again = send_campaign(relayed.key, relayed.space)
    assert again.counts == {"accepted": accepted, "cancelled": count}
    assert len(relayed.kept()) == accepted


def test_whom_it_failed_is_tried_again_but_no_unknown_address_and_nobody_in_doubt(sent: Demo):
    numbers = "select contact_id from sends order by recipient limit 1 offset ?"
    marks = Marks(sent.home.ledgers / f"{sent.campaign}.marks", 4)
    for place, (state, reply, mark) in enumerate(
        [
            ("rejected", "policy", Mark.REJECTED),
            ("rejected", "unknown_user", Mark.REJECTED),
            ("expired", None, Mark.DEFERRED),
            ("in_doubt", None, Mark.DOT),
        ]
    ):
        marks[place] = mark
        change(
            sent,
            f"update sends set state = ?, reply_class = ? where contact_id = ({numbers})",
            state,
            reply,
            place,
        )

    assert control.retry_failed(sent.campaign, sent.workspace) == 2
    result = send_campaign(sent.campaign, sent.workspace)

    assert result.sent_this_run == 2
    assert result.counts["rejected"] == result.counts["in_doubt"] == 1


def test_the_next_relay_takes_over_when_the_first_is_down(relayed: Relayed):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        dead = relayed.relay(nobody.getsockname()[1])
        relayed.write(relays={"dead": dead, "spare": relayed.relay(relayed.port)})

        result = send_campaign(relayed.key, relayed.space)

    assert result.counts == {"accepted": result.audience}


def test_when_every_relay_is_down_nobody_is_claimed(relayed: Relayed):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        relayed.write(relays={"dead": relayed.relay(nobody.getsockname()[1])})

        with pytest.raises(RelayUnavailable):
            send_campaign(relayed.key, relayed.space)

    path = relayed.demo.home.ledgers / f"{relayed.key}.sqlite"
    assert not path.exists() or Ledger(path).counts() == {}


def test_a_daily_cap_ends_the_run_and_leaves_the_rest_for_tomorrow(relayed: Relayed):
    relayed.write(relays={"main": relayed.relay(relayed.port, daily=30)})

    for _ in range(2):
        result = send_campaign(relayed.key, relayed.space)

    assert result.counts == {"accepted": 30}
    assert len(relayed.kept()) == 30


def test_a_destination_s_cap_holds_up_no_other(relayed: Relayed):
    relayed.write(destinations={"corporate": {"domains": ["inbox.example"], "daily": 3}})
    mailed = relayed.space.lake.read("campaigns.audience").filter(decision="mail")
    addresses = mailed.join(relayed.space.lake.read("core.contacts"), on="contact_id")
    theirs = addresses.collect()["address_normalised"].str.ends_with("@inbox.example").sum()

    result = send_campaign(relayed.key, relayed.space)

    assert theirs > 3
    assert result.counts == {"accepted": result.audience - theirs + 3}


def test_a_test_goes_by_the_brand_s_relay_and_waits_for_a_slot_as_any_other(relayed: Relayed):
    relayed.write(relays={"main": relayed.relay(relayed.port, daily=2)})

    sent = send_trial(relayed.key, "me@mill.example", relayed.space)

    assert len(sent) == 2  # one of each variant
    assert len(relayed.kept()) == 2
    with pytest.raises(RelayUnavailable, match="2 a day"):
        send_trial(relayed.key, "me@mill.example", relayed.space)
