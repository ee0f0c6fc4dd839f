"""SIGKILL the sender, a worker, or both, in turn, started again until all is done: issue 5, FACTS C.5 T1.

Half of the kills come at a random time, half when the sink reaches a stage of a message: those hit the
worker that speaks there. Only kills with a message under way count.
"""

from __future__ import annotations

import os
import signal
import statistics
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random
from threading import Event

import psutil

from bench.faults_home import Case, case
from bench.faults_process import Run, is_dead, until, wait_dead
from bench.faults_sink import Act, Sink, Speaker, as_usual
from bench.progress import progress

STAGES = ("rcpt", "data", "body", "dot", "accepted")
FIRST_SECONDS, LAST_SECONDS = 0.4, 1.2
WORKERS, CONNECTIONS = 2, 8
# Of the rate at which the last kill would meet the last recipient.
PACE = 0.6
# Who is killed, run after run: the one that lives on after its worker's death is killed whole.
RUNS = (("worker", "both"), ("parent",), ("worker", "parent"), ("both",))


@dataclass
class Tally:
    """What was killed, and what each kill left in doubt against the connections it cut."""

    victims: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_names(), 0))
    stages: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 0))
    doubts: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    starts: int = 0

    @property
    def next_stage(self) -> str:
        """Where the next kill comes, every second one; the others come at any time."""
        half, is_staged = divmod(len(self.doubts), 2)
        return STAGES[half % len(STAGES)] if is_staged else ""

    @property
    def kills(self) -> int:
        return len(self.doubts)

    @property
    def largest_share(self) -> float:
        """Of any kill, the part of the connections it cut that left somebody in doubt."""
        return max(left / max(1, cut) for left, cut in zip(self.doubts, self.cut, strict=True))


@dataclass
class Trigger:
    """Kills at the first moment a message reaches a stage; the sink's thread calls it."""

    sink: Sink
    stage: str
    victim: str
    parent: int
    workers: list[psutil.Process]
    fired: Event = field(default_factory=Event)
    killed: list[psutil.Process] = field(default_factory=list)
    cut: int = 0
    drops: bool = False

    def __call__(self, stage: str, session: Speaker) -> Act | None:
        if stage != self.stage or self.fired.is_set() or not self.sink.is_open:
            return None
        self.kill(session.peer_port)
        # Whether a message whose dot is there was taken over is the server's secret: both happen.
        return Act(b"", keeps=not self.drops) if stage == "dot" else None

    def kill(self, port: int | None = None) -> None:
        if self.victim == "worker":
            self.killed = [_speaker(self.workers, port)]
        elif self.victim == "both":
            self.killed = self.workers
        # Workers that lose their parent end themselves: each of their connections counts.
        self.cut = _connections(self.sink, self.killed or self.workers)
        for process in self.killed:
            _kill(process.pid)
        if self.victim != "worker":
            _kill(self.parent)
        self.fired.set()


def kills(folder: Path, *, people: int, wanted: int) -> dict[str, float]:
    """Kill so often on the way to so many recipients, then settle who is in doubt by what arrived."""
    random, tally = Random(7), Tally()
    rate = PACE * people / wanted / ((FIRST_SECONDS + LAST_SECONDS) / 2)
    with case(folder, people, workers=WORKERS, connections=CONNECTIONS, rate=rate) as ready:
        plan = cycle(RUNS)
        while tally.kills < wanted and ready.left():
            _one_run(ready, next(plan), tally, random, wanted)
            progress(f"kills: {tally.kills} of {wanted}, {ready.left():,} recipients left")
        ready.sink.rate = None
        starts = ready.finish()
        before = ready.verdict()
        settled = ready.resolve()
        ready.finish()
        after = ready.verdict()
    return {
        "kills": tally.kills,
        **{f"kills_of_{victim}": count for victim, count in tally.victims.items()},
        **{f"kills_at_{stage}": count for stage, count in tally.stages.items()},
        "duplicates": after.duplicates,
        "lost": after.lost,
        "accepted_not_received": after.accepted_not_received,
        "in_doubt": before.in_doubt,
        "in_doubt_unsent": settled["confirmed_unsent"],
        "in_doubt_after": after.in_doubt,
        "in_doubt_per_kill": statistics.mean(tally.doubts),
        "connections_cut_per_kill": statistics.mean(tally.cut),
        "in_doubt_per_kill_over_connections": tally.largest_share,
        "starts": tally.starts + starts,
    }


def _one_run(
    ready: Case, victims: tuple[str, ...], tally: Tally, random: Random, wanted: int
) -> None:
    with ready.run() as run:
        tally.starts += 1
        workers = run.workers()
        shards = dict(zip(workers, range(len(workers)), strict=True))
        dead: set[int] = set()
        for victim in victims:
            before = ready.doubts(dead)
            alive = [worker for worker in shards if not is_dead(worker)]
            if tally.kills == wanted or not alive:
                return
            trigger = _trigger(ready, run, victim, alive, random, tally.next_stage)
            if trigger is None:
                return
            gone = trigger.killed if victim == "worker" else alive
            wait_dead(gone)
            dead |= {shards[worker] for worker in gone}
            tally.doubts.append(ready.doubts(dead) - before)
            tally.cut.append(trigger.cut)
            tally.victims[victim] += 1
            if trigger.stage:
                tally.stages[trigger.stage] += 1


def _trigger(
    ready: Case, run: Run, victim: str, alive: list[psutil.Process], random: Random, stage: str
) -> Trigger | None:
    """Kill once; None when the run ended before a message was under way."""
    trigger = Trigger(
        ready.sink, stage, victim, run.process.pid, alive, drops=random.random() < 0.5
    )
    if not until(lambda: ready.sink.is_open, run):
        return None
    ready.space.clock.sleep(random.uniform(FIRST_SECONDS, LAST_SECONDS))
    if stage:
        ready.sink.decide = trigger
        fired = until(trigger.fired.is_set, run)
        ready.sink.decide = as_usual
        return trigger if fired else None
    if not until(lambda: ready.sink.is_open, run):
        return None
    trigger.kill()
    return trigger


def _names() -> tuple[str, ...]:
    return tuple(dict.fromkeys(victim for victims in RUNS for victim in victims))


def _speaker(workers: list[psutil.Process], port: int | None) -> psutil.Process:
    """The worker at the other end of a connection; any, when no connection is named."""
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            if any(each.laddr.port == port for each in worker.net_connections("tcp")):
                return worker
    return workers[-1]


def _connections(sink: Sink, workers: list[psutil.Process]) -> int:
    """How many connections of these workers the sink has open, by its own word and the system's."""
    ports = set[int]()
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            ports |= {each.laddr.port for each in worker.net_connections("tcp")}
    return sum(session.peer_port in ports for session in sink.sessions.copy())


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
