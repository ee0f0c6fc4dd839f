"""Kill the sender, a worker, or both, again and again: nobody twice, nobody lost."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator
from email.parser import BytesHeaderParser
from itertools import cycle
from pathlib import Path
from random import Random

import psutil
import pytest

from pipelines.clock import SystemClock
from pipelines.contacts.core import load_all
from pipelines.delivery import approval, sink
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.sending import Consent, resolve, send_campaign
from pipelines.delivery.states import State
from pipelines.demo.prepare import Demo, prepare
from pipelines.errors import LettermillError
from pipelines.services import loopback_services, running
from pipelines.settings import Settings
from pipelines.workspace import Workspace, open_workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

CONTACTS = 12_000  # about 4,700 of them are mailed: enough to be under way at every kill
KILLS = 12
CONNECTIONS = 2
LATE = Consent(late=True)


def _send(settings: Settings, key: str) -> None:
    send_campaign(key, open_workspace(settings), consent=LATE)


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    ready = prepare("shop", contacts=CONTACTS, home=tmp_path / "home")
    settings = ready.settings.model_copy(update={"connections": CONNECTIONS})
    demo = Demo(ready.source, settings, ready.home)
    space = demo.workspace
    load_all(space.project, space.home, space.lake, space.clock, ["shop"])
    approval.approve(demo.campaign, by="test", workspace=space)
    approval.freeze_audience(demo.campaign, space)
    return demo


def received(demo: Demo) -> Counter[str]:
    """How often the sink holds each Message-ID."""
    found: Counter[str] = Counter()
    for path in (demo.home.sink / "new").iterdir():
        with path.open("rb") as file:
            found[str(BytesHeaderParser().parse(file)["Message-ID"])] += 1
    return found


def kept(demo: Demo) -> int:
    return len(list((demo.home.sink / "new").glob("*")))


def doubts(space: Workspace, key: str) -> int:
    ledger = Ledger(space.home.ledgers / f"{key}.sqlite")
    try:
        return ledger.counts().get(State.IN_DOUBT.value, 0)
    finally:
        ledger.close()


def targets_of(
    victim: str, parent: psutil.Process
) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """The processes to kill, and all workers; one that has just ended may be a zombie."""
    workers = []
    for child in parent.children():
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            if any("spawn_main" in word for word in child.cmdline()):
                workers.append(child)
    chosen = {"parent": [parent], "worker": workers[:1], "both": [parent, *workers]}
    return chosen[victim], workers


def kill_once(demo: Demo, victim: str, after: int) -> bool:
    """Start a send and kill part of it once `after` more messages are kept; False when it ended first."""
    clock = SystemClock()
    spawn = multiprocessing.get_context("spawn")
    sender = spawn.Process(target=_send, args=(demo.settings, demo.campaign))
    before = kept(demo)
    sender.start()
    while kept(demo) < before + after and sender.is_alive():
        clock.sleep(0.002)
    if not sender.is_alive():
        sender.join()
        return False
    targets, workers = targets_of(victim, psutil.Process(sender.pid))
    for process in targets:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    sender.join()
    psutil.wait_procs(workers, timeout=20)
    assert not any(worker.is_running() for worker in workers), "a worker outlived its run"
    return True


@contextlib.contextmanager
def sink_of(demo: Demo) -> Iterator[None]:
    """The home's own sink, listening: otherwise each run would start one that dies with it."""
    services = [each for each in loopback_services(demo.settings) if each.name == "sink"]
    with running(services, demo.settings):
        while sink.address(demo.home) is None:
            SystemClock().sleep(0.02)
        yield


def test_after_kills_of_parent_worker_and_both_nobody_got_it_twice_and_nobody_is_lost(demo: Demo):
    random = Random(3)
    victims = cycle(["parent", "worker", "both"])
    space, key = demo.workspace, demo.campaign
    mailed = space.lake.read("campaigns.audience").filter(decision="mail").collect().height

    with sink_of(demo):
        killed = 0
        for _ in range(KILLS):
            before = doubts(space, key)
            killed += kill_once(demo, next(victims), after=random.randint(3, 40))
            in_doubt = _settled_doubts(space, key)
            assert in_doubt - before <= demo.settings.workers * CONNECTIONS
        twice_before = [name for name, count in received(demo).items() if count > 1]
        send_campaign(key, space, consent=LATE)
        resolve(key, space)
        send_campaign(key, space, consent=LATE)
        found = received(demo)

    assert killed >= 10
    assert twice_before == []
    assert set(found.values()) == {1}
    assert len(found) == mailed


def _settled_doubts(space: Workspace, key: str) -> int:
    """Who would be in doubt if the next run began now: marked, and claimed by a run that is dead."""
    ledger = Ledger(space.home.ledgers / f"{key}.sqlite")
    marks = (space.home.ledgers / f"{key}.marks").read_bytes()
    header = (
        len(marks) - space.lake.read("campaigns.audience").filter(decision="mail").collect().height
    )
    try:
        claimed = ledger.rows(State.CLAIMED)
        dots = sum(marks[header + row["recipient"]] == 2 for row in claimed)
        return dots + ledger.counts().get(State.IN_DOUBT.value, 0)
    finally:
        ledger.close()


def test_a_second_launch_is_refused_while_the_first_is_sending(demo: Demo):
    clock = SystemClock()
    spawn = multiprocessing.get_context("spawn")
    space, key = demo.workspace, demo.campaign

    with sink_of(demo):
        first = spawn.Process(target=_send, args=(demo.settings, key))
        first.start()
        while kept(demo) < 20 and first.is_alive():
            clock.sleep(0.002)
        with pytest.raises(LettermillError, match="being sent by another run"):
            send_campaign(key, space, consent=LATE)
        first.join()

    assert set(received(demo).values()) == {1}
