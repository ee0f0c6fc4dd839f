"""Never more at once than a destination or a relay takes, over all workers; and all of it in one run."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import faults_server
from bench.faults_sink import Act, Speaker
from bench.render import SLUG
from bench.send_home import DOMAIN, prepared
from pipelines.clock import FrozenClock
from pipelines.delivery import single
from pipelines.delivery.berths import Berths, berths_at
from pipelines.delivery.pace import Limit, Pace
from pipelines.delivery.pausing import pause
from pipelines.delivery.relay import Relay
from pipelines.delivery.routes import FILE, Routes, Way, load_routes
from pipelines.delivery.sender import answering
from pipelines.delivery.sending import send_campaign
from pipelines.delivery.shaper import Shaper
from pipelines.errors import RelayUnavailable
from pipelines.workspace import Workspace, open_workspace

PEOPLE = 120


def test_as_many_are_taken_as_there_are_by_whoever_comes_first(tmp_path: Path):
    one, other = (Berths(tmp_path, "to google", 3) for _ in range(2))

    taken = [one.take(), other.take(), one.take(), other.take(), one.take()]
    other.leave()

    assert taken == [True, True, True, False, False]
    assert [one.take(), other.take()] == [True, False]


def test_of_a_relay_one_is_kept_for_urgent_messages_unless_it_has_no_more(tmp_path: Path):
    def at(connections: int | None, *, is_urgent: bool = False) -> Berths | None:
        way = Way("main", Relay("127.0.0.1", 25), connections=connections)
        return berths_at(tmp_path / str(connections), way, is_urgent=is_urgent)

    campaign, urgent, single_one = at(2), at(2, is_urgent=True), at(1)

    assert at(None) is None
    assert campaign is not None
    assert urgent is not None
    assert single_one is not None
    assert [campaign.take(), campaign.take(), urgent.take(), urgent.take()] == [
        True, False, True, False,
    ]  # fmt: skip
    assert single_one.take()


def test_what_a_dead_process_held_is_free(tmp_path: Path):
    own = Berths(tmp_path, "relay main", 1)
    code = (
        "import os, pathlib\n"
        "from pipelines.delivery.berths import Berths\n"
        f"print(Berths(pathlib.Path({str(tmp_path)!r}), 'relay main', 1).take(), flush=True)\n"
        "input()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None

    said = holder.stdout.readline().strip()
    during = own.take()
    holder.kill()
    holder.communicate()

    assert (said, during, own.take()) == ("True", False, True)


def test_a_slot_without_a_berth_is_not_taken_and_a_berth_without_a_slot_is_given_back(
    tmp_path: Path, clock: FrozenClock
):
    routes = Routes((Way("main", Relay("127.0.0.1", 25)),), Limit(), {"google": Limit(rate=1)})
    one, other = (
        Shaper(
            Pace(tmp_path / "pace.sqlite", clock),
            routes,
            "main",
            clock,
            berths={"google": Berths(tmp_path, "to google", 1)},
        )
        for _ in range(2)
    )

    first, full = one.seconds_to("google"), other.seconds_to("google")
    assert (first, other.limited_by) == (0.0, "to google: 1 at once")
    one.landed("google")
    too_soon = other.seconds_to("google")
    clock.sleep(1)

    assert full > 0
    assert too_soon > 0
    assert one.seconds_to("google") == 0.0


@dataclass
class Watch:
    """How many messages were under way at once, and how many connections are let in."""

    most: int = 0
    lets_in: int | None = None
    sessions: Callable[[], set[Speaker]] = set

    def __call__(self, stage: str, session: Speaker) -> Act | None:
        if stage == "connect" and self.lets_in is not None and len(self.sessions()) > self.lets_in:
            return Act(b"421 4.7.0 too many connections")
        if stage == "rcpt":
            self.most = max(self.most, sum(each.is_open for each in self.sessions()))
        return None


@pytest.fixture
def relay(tmp_path: Path):
    """A workspace with two workers of four connections each, and its relay, watched."""
    watch = Watch()
    with faults_server.running(decide=watch) as sink:
        watch.sessions = lambda: sink.sessions.copy()
        space = prepared(tmp_path, PEOPLE, port=sink.port, connections=4)
        space.settings.project.joinpath(FILE).write_text(
            f"relays: {{main: {{host: 127.0.0.1, port: {sink.port}, tls: none}}}}\n"
        )
        yield open_workspace(space.settings.model_copy(update={"workers": 2})), sink, watch


def limited(space: Workspace, changes: str) -> None:
    path = space.settings.project / FILE
    path.write_text(path.read_text().replace("tls: none}", f"tls: none{changes}"))


@pytest.mark.slow
def test_a_relay_that_lets_in_fewer_than_there_are_workers_gets_everything_in_one_run(relay):
    space, sink, watch = relay
    # The one that is let in is still at it when the other has asked for the last time.
    watch.lets_in, sink.rate = 1, PEOPLE / 4

    result = send_campaign(SLUG, space)

    assert result.counts == {"accepted": PEOPLE}
    assert sink.duplicates == 0


@pytest.mark.slow
def test_a_relays_connections_are_shared_by_all_workers_and_everybody_is_sent_to(relay):
    space, _, watch = relay
    limited(space, ", connections: 3}")

    result = send_campaign(SLUG, space)

    assert result.counts == {"accepted": PEOPLE}
    assert 0 < watch.most <= 2


@pytest.mark.slow
def test_a_destination_never_has_more_messages_under_way_than_it_takes(relay):
    space, _, watch = relay
    limited(space, f"}}}}\ndestinations: {{shop: {{domains: [{DOMAIN}], connections: 2}}")

    result = send_campaign(SLUG, space)

    assert result.counts == {"accepted": PEOPLE}
    assert 0 < watch.most <= 2


@pytest.mark.slow
def test_a_message_beside_campaigns_goes_out_while_one_is_sent_slowly(relay):
    space, sink, _ = relay
    limited(space, "}}\nrate: 8\nmx: false #")
    campaign = threading.Thread(target=send_campaign, args=(SLUG, space))
    campaign.start()
    while not sink.kept:
        space.clock.sleep(0.01)

    said = single.hand_over(
        [b"Subject: hi\r\n\r\nhi\r\n"],
        sender="hello@mill.example",
        target=f"ada@{DOMAIN}",
        brand="mill",
        workspace=space,
    )
    before = len(sink.whose) - 1
    pause(space.home.ledgers, SLUG, by="test", why="seen enough", at=space.clock.now())
    campaign.join()

    assert said == ["250 2.0.0 kept"]
    assert before < PEOPLE / 2


def test_a_message_beside_campaigns_that_finds_no_connection_free_says_so(
    relay, clock: FrozenClock
):
    space, _, _ = relay
    limited(space, ", connections: 1}")
    held = Berths(space.home.berths, "relay main", 1)
    held.take()
    still = open_workspace(space.settings, clock)
    letter = b"Subject: hi\r\n\r\nhi\r\n"

    def hand_over() -> list[str]:
        return single.hand_over(
            [letter],
            sender="hello@mill.example",
            target=f"ada@{DOMAIN}",
            brand="mill",
            workspace=still,
        )

    with pytest.raises(RelayUnavailable, match="has all its 1 connections in use"):
        hand_over()
    held.close()

    assert hand_over() == ["250 2.0.0 kept"]


def test_whether_a_relay_lets_us_in_is_asked_on_a_connection_that_is_counted(relay):
    space, sink, watch = relay
    limited(space, ", connections: 1}")
    watch.lets_in = 0
    held = Berths(space.home.berths, "relay main", 1)
    routes = load_routes(space.settings, brand="mill")

    with pytest.raises(RelayUnavailable, match="too many connections"):
        answering(routes, space)
    free = held.take()
    in_use = answering(routes, space)

    assert free
    assert [way.name for way in in_use] == ["main"]
    assert not sink.sessions
