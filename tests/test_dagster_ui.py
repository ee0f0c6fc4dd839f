"""A campaign launched from Dagster's own web server, as a click in the UI would launch it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from pipelines.clock import SystemClock
from pipelines.delivery.resolving import resolve
from pipelines.demo.prepare import Demo, prepare
from pipelines.demo.run import Graph, approve_once, segments_of
from pipelines.services import loopback_services, running
from pipelines.settings import CHECKOUT

pytestmark = pytest.mark.slow

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
TERMINATE = """
mutation Terminate($id: String!) { terminateRun(runId: $id) { __typename } }
"""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
CONTACTS = 3_000


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Ask again until it is so; the deadline only ends a test that would hang."""
    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    while not (found := condition()):
        assert clock.monotonic() < deadline, f"{what} did not happen"
        clock.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A home with a small shop in it, loaded, its campaign approved and registered."""
    with pytest.MonkeyPatch.context() as patch:
        ready = prepare("shop", contacts=CONTACTS, home=tmp_path_factory.mktemp("ui") / "home")
        for name, value in ready.settings.environ().items():
            patch.setenv(name, value)
        with dg.DagsterInstance.get() as instance:
            graph = Graph(instance)
            graph.run_job("load")
            graph.materialize([["segments", name] for name in segments_of(ready)])
            approve_once(ready)
            instance.add_dynamic_partitions("campaign", [ready.campaign])
        yield ready


@contextmanager
def web_server(demo: Demo) -> Iterator[str]:
    """Dagster's web server and daemon on the demo's home; yields the server's address."""
    url = f"http://127.0.0.1:{demo.settings.dagster_port}"
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-m", "pipelines.definitions",
               "-p", str(demo.settings.dagster_port)]  # fmt: skip
    with (demo.home.logs / "dagster.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=CHECKOUT, env=demo.settings.environ(), stdout=log, stderr=log
        )
        try:
            until(lambda: _answers(url), 90, "an answer of the web server")
            yield url
        finally:
            server.terminate()
            server.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def ask(url: str, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        told: dict[str, Any] = json.load(answer)
    assert "errors" not in told, told
    found: dict[str, Any] = told["data"]
    return found


def start(url: str, campaign: str, *, late: bool, resume: bool = False) -> str:
    """Launch the campaign's chain for its partition; returns the run's id."""
    chain = ["audience", "preview", "sends"]
    params = {
        "selector": {
            "repositoryName": "__repository__",
            "repositoryLocationName": "pipelines.definitions",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": ["campaigns", name]} for name in chain],
        },
        "mode": "default",
        "runConfigData": {
            "ops": {"campaigns__sends": {"config": {"accept_late": late, "resume": resume}}}
        },
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": campaign}]},
    }
    told = ask(url, LAUNCH, params=params)["launchPipelineExecution"]
    assert told["__typename"] == "LaunchRunSuccess", told
    return str(told["run"]["runId"])


def end_of(url: str, run: str) -> str:
    """Wait for a run to end; returns its status."""
    ended = {"SUCCESS", "FAILURE", "CANCELED"}

    def status() -> str | None:
        now = ask(url, STATUS, id=run)["runOrError"]["status"]
        return now if now in ended else None

    return str(until(status, 120, "the end of the run"))


def launch(url: str, campaign: str, *, late: bool, resume: bool = False) -> str:
    return end_of(url, start(url, campaign, late=late, resume=resume))


def kept(demo: Demo) -> list[Path]:
    return list((demo.home.sink / "new").glob("*"))


def workers_of(demo: Demo) -> list[psutil.Process]:
    """The sending workers of this home: spawned by a run, which Dagster's server spawned itself."""
    return [
        process
        for process in psutil.process_iter()
        if _is_spawned(process, demo) and _is_spawned(process.parent(), demo)
    ]


def _is_spawned(process: psutil.Process | None, demo: Demo) -> bool:
    if process is None:
        return False
    with suppress(psutil.Error):
        mine = process.environ().get("LETTERMILL_HOME") == str(demo.home.root)
        return mine and any("spawn_main" in word for word in process.cmdline())
    return False


@dataclass(frozen=True)
class Story:
    """What happened in one home: how the five runs ended, and how many messages were kept after each."""

    statuses: tuple[str, ...]
    kept: tuple[int, ...]
    mailed: int
    copies: Counter[str]
    workers: int
    workers_left: int


@pytest.fixture(scope="module")
def story(demo: Demo) -> Story:
    """Launch it late; knowingly, and terminate it; again; to let it go on; and once more."""
    space = demo.workspace
    services = [each for each in loopback_services(demo.settings) if each.name == "sink"]
    statuses, counts = [], []
    with running(services, demo.settings) as processes, web_server(demo) as url:

        def note(status: str) -> None:
            statuses.append(status)
            counts.append(len(kept(demo)))

        note(launch(url, demo.campaign, late=False))
        terminated = start(url, demo.campaign, late=True)
        until(lambda: len(kept(demo)) > 20, 90, "the send")
        sink = psutil.Process(processes["sink"].pid)
        sink.suspend()  # the relay hangs, so the run is under way when it is terminated
        workers = workers_of(demo)
        ask(url, TERMINATE, id=terminated)
        note(end_of(url, terminated))
        left = sum(worker.is_running() for worker in workers)
        sink.resume()
        note(launch(url, demo.campaign, late=True))
        note(launch(url, demo.campaign, late=True, resume=True))
        resolve(demo.campaign, space)
        note(launch(url, demo.campaign, late=True))
    names = [BytesHeaderParser().parsebytes(path.read_bytes())["Message-ID"] for path in kept(demo)]
    mailed = space.lake.read("campaigns.audience").filter(decision="mail").collect().height
    return Story(tuple(statuses), tuple(counts), mailed, Counter(names), len(workers), left)


def test_an_overdue_campaign_launched_in_the_ui_mails_nobody(story: Story):
    assert story.statuses[0] == "FAILURE"
    assert story.kept[0] == 0


def test_a_run_terminated_in_the_ui_is_canceled_and_leaves_no_worker(story: Story):
    assert story.statuses[1] == "CANCELED"
    assert (story.workers, story.workers_left) == (2, 0)
    assert 20 < story.kept[1] < story.mailed


def test_a_run_that_was_terminated_has_paused_the_campaign(story: Story):
    assert story.statuses[2] == "FAILURE"
    # What the sink had in its buffers while it hung, it kept when it went on: one on each connection.
    assert story.kept[2] - story.kept[1] <= 16


def test_the_next_runs_finish_what_was_terminated_and_mail_nobody_twice(story: Story):
    assert story.statuses[3:] == ("SUCCESS", "SUCCESS")
    assert set(story.copies.values()) == {1}
    assert len(story.copies) == story.mailed > 100
