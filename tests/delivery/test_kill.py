"""Kill the sender, a worker, or both, at every stage of a message: nobody twice, nobody lost."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import signal
from collections import Counter
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
from pipelines.delivery.resolving import resolve
from pipelines.delivery.sending import Consent, send_campaign
from pipelines.delivery.states import State
from pipelines.demo.prepare import Demo, prepare
from pipelines.errors import LettermillError
from pipelines.settings import Settings
from pipelines.workspace import Workspace, open_workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

CONTACTS = 3_000  # more than 1,000 of them are mailed
CONNECTIONS = 2
LATE = Consent(late=True)
# Where the sink pulls the trigger: an address is named, before 354, in the body, the dot is there and
# nothing is kept, kept and not yet said so, said so.
STAGES = ("rcpt", "data", "body", "dot", "kept", "accepted")


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


def kill_once(demo: Demo, victim: str, stage: str, nth: int, folder: Path) -> bool:
    """Send, and have the sink kill `victim` when a stage is reached the nth time; False if it never was."""
    pids, script = folder / "pids.json", folder / "script.json"
    pids.unlink(missing_ok=True)
    rule = {"stage": stage, "nth": nth, "times": 10**6, "signal": signal.SIGKILL, "pids": str(pids)}
    script.write_text(json.dumps([rule]))
    spawn = multiprocessing.get_context("spawn")
    sender = spawn.Process(target=_send, args=(demo.settings, demo.campaign))
    with sink.running(demo.home, demo.settings, script=script):
        sender.start()
        workers = _workers_of(psutil.Process(sender.pid), demo.settings.workers)
        targets = {
            "parent": [sender.pid],
            "worker": [workers[0].pid],
            "both": [sender.pid, *(worker.pid for worker in workers)],
        }
        part = pids.with_suffix(".part")
        part.write_text(json.dumps(targets[victim]))
        part.replace(pids)
        sender.join()
        psutil.wait_procs(workers, timeout=20)
    assert not any(worker.is_running() for worker in workers), "a worker outlived its run"
    return not pids.exists()


def _workers_of(parent: psutil.Process, count: int) -> list[psutil.Process]:
    """The workers of a send, as soon as all are there: a second before any has a connection."""
    clock = SystemClock()
    while parent.is_running():
        workers = []
        for child in parent.children():
            with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
                if any("spawn_main" in word for word in child.cmdline()):
                    workers.append(child)
        if len(workers) == count:
            return workers
        clock.sleep(0.002)
    raise AssertionError("the send ended before it had its workers")


def test_after_kills_at_every_stage_nobody_got_it_twice_and_nobody_is_lost(
    demo: Demo, tmp_path: Path
):
    random, victims = Random(3), cycle(["parent", "worker", "both"])
    space, key = demo.workspace, demo.campaign
    mailed = space.lake.read("campaigns.audience").filter(decision="mail").collect().height

    # Each stage by another victim; `bench faults` kills some two hundred times.
    for stage, victim in zip(STAGES, victims, strict=False):
        before = doubts(space, key)
        assert kill_once(demo, victim, stage, random.randint(3, 60), tmp_path)
        assert _settled_doubts(space, key) - before <= demo.settings.workers * CONNECTIONS
    twice_before = [name for name, count in received(demo).items() if count > 1]
    send_campaign(key, space, consent=LATE)
    sure_before = sum(received(demo).values())
    settled = resolve(key, space).counts
    send_campaign(key, space, consent=LATE)
    found = received(demo)

    assert mailed > 1_000
    assert twice_before == []
    assert sure_before + settled["confirmed_unsent"] == mailed
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

    with sink.running(demo.home, demo.settings):
        first = spawn.Process(target=_send, args=(demo.settings, key))
        first.start()
        while kept(demo) < 20 and first.is_alive():
            clock.sleep(0.002)
        with pytest.raises(LettermillError, match="being sent by another run"):
            send_campaign(key, space, consent=LATE)
        first.join()

    assert set(received(demo).values()) == {1}
