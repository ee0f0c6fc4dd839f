"""The demonstration: the whole road from an export to a report, with recipients that answer.

Running it again sends nobody a second copy: the ledger knows them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import dagster as dg

from pipelines.campaigns.bundle import load_current
from pipelines.campaigns.campaign import load as load_campaign
from pipelines.clock import Clock, SystemClock
from pipelines.definitions import defs
from pipelines.delivery.approval import approve
from pipelines.demo.figures import Figures, figures, sent_so_far
from pipelines.demo.orders import write_later_orders
from pipelines.demo.prepare import SEED, Demo
from pipelines.demo.recipients import play
from pipelines.errors import LettermillError, StreamInvalid
from pipelines.partitions import CAMPAIGN
from pipelines.services import Processes, ended, loopback_services, running
from streaming.flow import lag

CATCH_UP_SECONDS = 60.0
GLANCE_SECONDS = 0.3
APPROVER = "demo"
# The demo's campaign was due on a day of the past; a person who types the command means it.
SEND_CONFIG = {"ops": {"campaigns__sends": {"config": {"accept_late": True}}}}


# The steps' own log is in Dagster; on the terminal only what goes wrong.
QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Stage(Protocol):
    """Shows that a stage of the demo is under way, and how far it is; the last one is over at `finish`."""

    def __call__(self, name: str, done: int | None = None, of: int | None = None) -> None: ...

    def finish(self) -> None: ...


@dataclass
class Stopwatch:
    """Tells which stage begins, and keeps how long each took."""

    stage: Stage
    clock: Clock
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.stage(name)
        started = self.clock.monotonic()
        yield
        self.seconds[name] = self.clock.monotonic() - started


def run(demo: Demo, stage: Stage) -> Figures:
    """Play the demonstration from wherever it stands; returns its cumulative figures."""
    demo.settings.activate()
    clock = SystemClock()
    timed = Stopwatch(stage, clock)
    sent_before = sent_so_far(demo)
    services = loopback_services(demo.settings)
    with dg.DagsterInstance.get() as instance, running(services, demo.settings) as processes:
        graph = Graph(instance)
        _export_to_send(demo, graph, timed)
        with timed("recipients"):
            play(
                demo.home,
                demo.settings.public_url,
                seed=SEED,
                progress=lambda done, of: stage("recipients", done, of),
            )
        with timed("stream"):
            _catch_up(demo, clock, processes)
        with timed("orders"):
            _later_orders(demo, graph)
        with timed("report"):
            graph.materialize([["core", "suppressions"], ["core", "engagement"]])
            chain = [["reports", name] for name in ("campaign", "mail")]
            graph.materialize(chain, partition=demo.campaign)
    stage.finish()
    return figures(demo, sent_before=sent_before, seconds=timed.seconds)


def _export_to_send(demo: Demo, graph: Graph, timed: Stopwatch) -> None:
    with timed("load"):
        graph.run_job("load")
    with timed("segments"):
        # As of the campaign's time, so that the table holds whom the campaign will find.
        as_of = load_campaign(demo.settings.project, demo.campaign).as_of
        config = {"as_of": as_of.isoformat() if as_of else ""}
        names = segments_of(demo)
        graph.materialize(
            [["segments", name] for name in names],
            config={"ops": {f"segments__{name}": {"config": config} for name in names}},
        )
    with timed("approve"):
        approve_once(demo)
    with timed("send"), _watching_the_sink(demo, timed.stage):
        chain = [["campaigns", name] for name in ("audience", "preview", "sends")]
        graph.materialize(chain, partition=demo.campaign, config=SEND_CONFIG)


def _later_orders(demo: Demo, graph: Graph) -> None:
    """Load what the shop sold since; the files of other sources have their own later orders."""
    folder, space = demo.home.exports / "shop", demo.workspace
    since = load_campaign(demo.settings.project, demo.campaign).as_of
    if demo.source != "shop" or since is None or not folder.is_dir():
        return
    if write_later_orders(folder, space.lake, campaign=demo.campaign, since=since, seed=SEED):
        graph.run_job("load")


@contextmanager
def _watching_the_sink(demo: Demo, stage: Stage) -> Iterator[None]:
    """Tell how many messages the sink has kept, while Dagster runs the send in this thread."""
    bundle = load_current(demo.campaign, demo.home.approvals)
    expected = bundle.expected_recipients if bundle else 0
    over = threading.Event()

    def watch() -> None:
        while not over.wait(GLANCE_SECONDS):
            kept = sum(1 for entry in os.scandir(demo.home.sink / "new"))
            if kept and expected:
                stage("send", min(kept, expected), expected)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@dataclass(frozen=True)
class Graph:
    """The graph of the product, run in this process and recorded in the demo's own Dagster instance."""

    instance: dg.DagsterInstance
    # Read once: it takes a second, and the project does not change under a demo.
    definitions: dg.Definitions = field(default_factory=defs)

    def run_job(self, name: str) -> None:
        done = self.definitions.resolve_job_def(name).execute_in_process(
            instance=self.instance, run_config=QUIET, raise_on_error=False
        )
        _raise_failure(done)

    def materialize(
        self,
        keys: Sequence[Sequence[str]],
        *,
        partition: str | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        """Make these assets, in the graph's order. Raises what the first failed step raised."""
        if partition is not None:
            self.instance.add_dynamic_partitions(str(CAMPAIGN.name), [partition])
        done = self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(list(key)) for key in keys],
            partition_key=partition,
            run_config={**QUIET, **(config or {})},
            raise_on_error=False,
        )
        _raise_failure(done)


def _raise_failure(done: dg.ExecuteInProcessResult) -> None:
    """Turn a failed run into one clear message: the step, and what it said."""
    if done.success:
        return
    for event in done.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause if error and error.cause else error
            told = cause.message.strip() if cause else "failed"
            raise LettermillError(f"{event.step_key} failed\n{told}")
    raise LettermillError("a run failed before its first step", do="See <home>/logs")


def segments_of(demo: Demo) -> list[str]:
    campaign = load_campaign(demo.settings.project, demo.campaign)
    return [*campaign.audience.include, *campaign.audience.exclude]


def approve_once(demo: Demo) -> None:
    if load_current(demo.campaign, demo.home.approvals) is None:
        approve(demo.campaign, by=APPROVER, workspace=demo.workspace)


def _catch_up(demo: Demo, clock: Clock, processes: Processes) -> None:
    """Wait until the bounce mailbox is empty and every logged event is a row."""
    deadline = clock.monotonic() + CATCH_UP_SECONDS
    mailbox = demo.home.sink / "bounces" / "new"
    while any(mailbox.glob("*")) or any(done < end for done, end in lag(demo.home).values()):
        if (gone := ended(processes)) is not None:
            raise StreamInvalid(f"{gone} ended by itself", do=f"See {demo.home.logs / gone}.log")
        if clock.monotonic() > deadline:
            told = f"the stream did not catch up within {CATCH_UP_SECONDS:.0f} s"
            raise StreamInvalid(told, do=f"See {demo.home.logs / 'flow.log'}")
        clock.sleep(0.1)
