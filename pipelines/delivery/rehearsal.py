"""Do all of a send but its last dot: every rule, every letter, and a sample of them said to the relay.

Nobody is mailed and nothing is kept: claims are made in a ledger that is thrown away, and a connection
ends before the message does. What would hold the send is told with everything else, not instead of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median_low

import polars as pl

from pipelines.campaigns.bundle import Bundle
from pipelines.delivery import approval
from pipelines.delivery.claims import Shard, claim
from pipelines.delivery.due import hold_when_overdue
from pipelines.delivery.export import audience_size
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.letters import Letter, Letters, Row
from pipelines.delivery.lock import is_held
from pipelines.delivery.marks import Marks
from pipelines.delivery.modes import check_mode, live_facts
from pipelines.delivery.pausing import hold_when_paused
from pipelines.delivery.people import PeopleStore
from pipelines.delivery.relay import ConnectionLost, Relay, connect
from pipelines.delivery.replies import classify
from pipelines.delivery.routes import Routes
from pipelines.delivery.sender import answering
from pipelines.delivery.single import berth
from pipelines.delivery.stage import staged
from pipelines.delivery.way_out import home_at, routes_of
from pipelines.delivery.withholding import Withholding
from pipelines.delivery.workers import TABLES
from pipelines.errors import LettermillError, Problem, Refused, SendHeld
from pipelines.schema import AUDIENCE
from pipelines.workspace import Workspace

SAMPLE = 5
WRITTEN, TO_THE_DOT = "written", "taken up to the dot"


@dataclass
class Rehearsal:
    """What a send would have done.

    held      what would hold it now
    done      recipients the ledger knows already, by state
    outcomes  of those rehearsed: written, or why not
    said      of the sample: how far each came, or what refused it
    """

    audience: int
    held: list[Problem] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    sizes: list[int] = field(default_factory=list)
    seconds: float = 0.0
    workers: int = 1
    rate: float | None = None

    @property
    def is_fine(self) -> bool:
        """Whether nothing holds it, somebody would get it or has it, and the relay took what it was told."""
        is_for_somebody = bool(self.sizes or self.done)
        return not self.held and is_for_somebody and set(self.said) <= {TO_THE_DOT}

    @property
    def per_second(self) -> float:
        """Letters claimed, asked about and written in a second, by one process."""
        return len(self.sizes) / self.seconds if self.seconds else 0.0

    @property
    def median_bytes(self) -> int:
        return median_low(self.sizes) if self.sizes else 0

    @property
    def largest_bytes(self) -> int:
        return max(self.sizes, default=0)

    @property
    def duration(self) -> timedelta | None:
        """How long the rest would take at the set rate, or as fast as it is written; None: nobody is left."""
        fastest = self.per_second * self.workers
        speed = min(fastest, self.rate) if self.rate else fastest
        left = self.audience - sum(self.done.values())
        return timedelta(seconds=left / speed) if speed and left else None


def rehearse(
    key: str, workspace: Workspace, *, limit: int | None = None, late: bool = False
) -> Rehearsal:
    """Rehearse the send of an approved campaign, for so many recipients at most.

    Everybody counts as due. Raises SendHeld when it is not approved, for then there is nothing to rehearse.
    """
    bundle = approval.approved(key, workspace)
    with staged(key, workspace) as stage:
        frozen = approval.frozen(key, workspace)
        held = list(_plan(bundle, frozen, workspace, stage))
        found = Rehearsal(audience_size(key, stage.lake), held)
        found.held += _held(bundle, workspace, stage, late=late, to_mail=found.audience)
        found.workers = workspace.settings.workers
        sample = _write(bundle, found, workspace, stage, limit)
    with routes_of(workspace, bundle.brand.name) as routes:
        found.rate = _rate(routes)
        _say(routes, sample, found, workspace)
    return found


def _plan(
    bundle: Bundle, frozen: pl.DataFrame, workspace: Workspace, stage: Workspace
) -> Iterator[Problem]:
    """Put the audience on the stage, everybody due: as it is frozen, else as it would be."""
    try:
        if not frozen["bundle"].is_in(bundle.versions).any():
            # The tables are the home's; what planning writes, people and codes, is the stage's.
            frozen = approval.planned(bundle, _beside(workspace, stage)).frame
    except LettermillError as error:
        yield from error.problems or (Problem("audience", error.what),)
        return
    now = pl.lit(workspace.clock.now()).cast(AUDIENCE.schema["send_at"])
    stage.lake.replace(AUDIENCE, frozen.with_columns(send_at=now), campaign=bundle.key)


def _beside(workspace: Workspace, stage: Workspace) -> Workspace:
    """The home's lake with the stage's stores."""
    return Workspace(stage.settings, stage.home, workspace.lake, stage.project, stage.clock)


def _held(
    bundle: Bundle, workspace: Workspace, stage: Workspace, *, late: bool, to_mail: int
) -> Iterator[Problem]:
    """Every rule that would hold a send now, in its own words."""
    ledgers, settings = workspace.home.ledgers, workspace.settings
    rules: list[Callable[[], None]] = [
        lambda: hold_when_paused(ledgers, bundle.key),
        lambda: None if late else hold_when_overdue(bundle, workspace),
        lambda: approval.expected(bundle, to_mail),
        lambda: check_mode(
            settings, workspace.home, probe=home_at, facts=live_facts(stage.lake, bundle.key)
        ),
    ]
    for rule in rules:
        try:
            rule()
        except SendHeld as held:
            yield from held.problems or (Problem("send", held.what),)
    if is_held(ledgers / f"{bundle.key}.lock"):
        yield Problem("send", "is under way")


def _write(
    bundle: Bundle, found: Rehearsal, workspace: Workspace, stage: Workspace, limit: int | None
) -> list[Letter]:
    """Claim, ask about and write everybody's letter; the first few are kept."""
    key, clock = bundle.key, workspace.clock
    ledger = Ledger(stage.home.ledgers / f"{key}.sqlite")
    marks = Marks(stage.home.ledgers / f"{key}.marks", found.audience)
    with closing(ledger), closing(marks):
        epoch = ledger.begin_epoch(marks=marks, at=clock.now())
        found.done = {name: count for name, count in ledger.counts().items() if name != "claimed"}
        people = PeopleStore(stage.home.people)
        withholding = Withholding(bundle, people, stage.lake, clock, workspace.home.ledgers)
        letters = Letters(bundle, workspace.settings, workspace.home, clock)
        shard = Shard(key, 0, 1, epoch, found.audience, stage.lake.pin(TABLES))
        sample, left = list[Letter](), limit
        begun = clock.monotonic()
        for rows in claim(shard, stage.home, ledger=ledger, marks=marks, clock=clock):
            taken = rows if left is None else rows[:left]
            withholding.look(taken)
            for row in taken:
                outcome = _letter(row, withholding, letters)
                if isinstance(outcome, Letter):
                    found.sizes.append(len(outcome.raw))
                    sample += [outcome] if len(sample) < SAMPLE else []
                found.outcomes[WRITTEN if isinstance(outcome, Letter) else outcome] += 1
            left = None if left is None else left - len(taken)
            if left == 0:
                break
        found.seconds = clock.monotonic() - begun
    return sample


def _letter(row: Row, withholding: Withholding, letters: Letters) -> Letter | str:
    """A recipient's letter, or why they get none."""
    if (reason := withholding.reason(row)) is not None:
        return reason
    try:
        return letters.write(row) or "not_on_allowlist"
    except Refused as refused:
        return f"unrenderable: {refused}"[:200]


def _rate(routes: Routes) -> float | None:
    """The lowest of the rates that hold for every message."""
    rates = [each for each in (routes.rate.rate, routes.ways[0].limit.rate) if each is not None]
    return min(rates, default=None)


def _say(routes: Routes, sample: Sequence[Letter], found: Rehearsal, workspace: Workspace) -> None:
    """Say each of the sample to the relay but its dot, on a connection of its own, one at a time."""
    try:
        way = answering(routes, workspace, is_urgent=True)[0]
        with berth(way, workspace):
            for letter in sample:
                found.said[asyncio.run(_said(way.relay, letter))] += 1
    except LettermillError as error:
        found.held += error.problems or (Problem("relay", error.what),)


async def _said(relay: Relay, letter: Letter) -> str:
    connection = await connect(relay)
    try:
        outcome = await connection.rehearse(letter.sender, letter.target, letter.raw)
    except ConnectionLost:
        return "the connection ended"
    except Refused as refused:
        return str(refused)
    finally:
        connection.abort()
    if outcome is None:
        return TO_THE_DOT
    return f"{classify(outcome.reply).value} at {outcome.stage.value}: {outcome.reply.masked}"
