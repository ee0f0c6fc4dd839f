"""What every fault scenario stands on: a home, its sink, sends in processes of their own, and the verdict.

The home is in mode `sink`, and its sink is the bench's: what `resolve` reads is what that one received.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import faults_server
from bench.faults_process import GLANCE_SECONDS, Run
from bench.faults_sink import Sink
from bench.render import SLUG
from bench.send_home import DOMAIN, prepared
from pipelines.delivery import pausing
from pipelines.delivery.marks import HEADER, Mark
from pipelines.delivery.people import PeopleStore
from pipelines.delivery.resolving import resolve
from pipelines.delivery.sending import Consent, send_campaign
from pipelines.delivery.sink import STATE_FILE
from pipelines.errors import LettermillError
from pipelines.settings import CHECKOUT, DeliveryMode, Home, Settings
from pipelines.workspace import Workspace, open_workspace

ROUNDS = 12  # starts that a send may take to its end when its relay is ill
NOT_MAILED = ("rejected", "withheld", "expired", "cancelled", "waived")


@dataclass(frozen=True)
class Verdict:
    """What came of it all, by the sink's own evidence.

    lost        who got nothing, and the ledger has no reason for it
    forgotten   the same without those in doubt: somebody will still ask about them
    """

    duplicates: int
    lost: int
    forgotten: int
    accepted_not_received: int
    in_doubt: int
    suppressed: int


@dataclass(frozen=True)
class Case:
    """A home with an approved campaign, and the sink it sends to."""

    settings: Settings
    sink: Sink
    people: int

    @property
    def space(self) -> Workspace:
        return open_workspace(self.settings)

    @property
    def home(self) -> Home:
        return Home(self.settings.home)

    @property
    def ledger(self) -> Path:
        return self.home.ledgers / f"{SLUG}.sqlite"

    @property
    def marks(self) -> Path:
        return self.home.ledgers / f"{SLUG}.marks"

    @property
    def folder(self) -> Path:
        return self.settings.home.parent

    @contextmanager
    def run(self, *before: str, accept: bool = False) -> Iterator[Run]:
        """Start a send, behind another command such as strace; nothing of it outlives the block."""
        command = [*before, sys.executable, "-m", "bench.faults_run"]
        command += ["--accept"] if accept else []
        with (self.folder / "words").open("a") as words:
            process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=self.settings.environ(),
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
                start_new_session=True,
            )
        run = Run(process, self.settings.workers)
        try:
            yield run
        finally:
            run.end()

    def kill(self, run: Run) -> None:
        """Kill a run, and wait until the sink has read whatever it had still written."""
        run.kill()
        while self.sink.sessions:
            time.sleep(GLANCE_SECONDS)

    def rows(self, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        """What the ledger says, without touching it."""
        if not self.ledger.exists():
            return []
        database = sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True, timeout=30)
        try:
            return database.execute(f"select {columns} from sends where {where}").fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise
        finally:
            database.close()

    def mark(self, recipient: int) -> int:
        return self.marks.read_bytes()[HEADER + recipient]

    def doubts(self, shards: set[int]) -> int:
        """Who is in doubt, and who will be once those of these dead workers are looked at."""
        marks = self.marks.read_bytes() if self.marks.exists() else b""
        claimed = self.rows("recipient, worker", "state = 'claimed'")
        dots = sum(worker in shards and marks[HEADER + who] == Mark.DOT for who, worker in claimed)
        return dots + self.rows("count(*)", "state = 'in_doubt'")[0][0]

    def send(self) -> LettermillError | None:
        """Send from this process, with workers as ever; why it stopped, if it did."""
        try:
            send_campaign(SLUG, self.space, consent=Consent(late=True))
        except LettermillError as stopped:
            return stopped
        return None

    def finish(self) -> int:
        """Start it until nobody is left, as somebody would who is not afraid; returns how often.

        Whoever was deferred is due at once, and a pause is ended: time is not what is tested.
        """
        for number in range(1, ROUNDS + 1):
            self.make_due()
            self.send()
            pausing.resume(self.home.ledgers, SLUG)
            if not self.left():
                return number
        return ROUNDS

    def left(self) -> int:
        """How many have no outcome yet; those in doubt have one."""
        open_states = "state in ('claimed', 'deferred', 'confirmed_unsent')"
        settled = self.rows("count(*)", f"not {open_states}")
        return self.people - (settled[0][0] if settled else 0)

    def make_due(self) -> None:
        if self.rows("1", "state = 'deferred' limit 1"):
            self.change("update sends set next_at = 0 where state = 'deferred'")

    def change(self, statement: str) -> None:
        """Change the ledger as no program should."""
        database = sqlite3.connect(self.ledger, timeout=30)
        with database:
            database.execute(statement)
        database.close()

    def resolve(self) -> dict[str, int]:
        """Settle who is in doubt by what the sink holds."""
        self.sink.evidence(self.home.sink)
        return resolve(SLUG, self.space).counts

    def settle(self) -> int:
        """Resolve whoever is in doubt, and start it again for those; returns how often."""
        if not self.rows("1", "state = 'in_doubt' limit 1"):
            return 0
        self.resolve()
        return self.finish()

    def verdict(self) -> Verdict:
        state = dict(self.rows("contact_id, state"))
        got = {number for number in range(self.people) if address_of(number) in self.sink.whose}
        rest = [state.get(number) for number in range(self.people) if number not in got]
        sent = {number for number, each in state.items() if each in ("accepted", "confirmed_sent")}
        return Verdict(
            duplicates=self.sink.duplicates,
            lost=sum(each not in NOT_MAILED for each in rest),
            forgotten=sum(each not in (*NOT_MAILED, "in_doubt") for each in rest),
            accepted_not_received=len(sent - got),
            in_doubt=sum(each == "in_doubt" for each in state.values()),
            suppressed=PeopleStore(self.home.people).export().height,
        )


def address_of(number: int) -> str:
    return f"p{number}@{DOMAIN}"


def number_of(address: str) -> int:
    """The contact, and recipient, an address of the bench belongs to."""
    return int(address[1:].partition("@")[0])


@contextmanager
def case(
    folder: Path, people: int, *, workers: int = 1, connections: int = 2, **sink: object
) -> Iterator[Case]:
    """A home of its own under this folder, and its sink, for as long as the block runs."""
    root = folder / f"home-{len(list(folder.iterdir()))}"
    with faults_server.running(**sink) as listening:
        made = prepared(root, people, port=listening.port, connections=connections).settings
        changes = {"delivery_mode": DeliveryMode.SINK, "workers": workers}
        ready = Case(made.model_copy(update=changes), listening, people)
        point(ready, listening.port)
        yield ready
    shutil.rmtree(root)


def point(ready: Case, port: int) -> None:
    """Let the home take what listens on this port for its sink."""
    ready.home.sink.mkdir(parents=True, exist_ok=True)
    where = {"host": "127.0.0.1", "port": port, "pid": os.getpid()}
    (ready.home.sink / STATE_FILE).write_text(json.dumps(where))
