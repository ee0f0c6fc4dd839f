"""A campaign launched from Dagster's own web server, as a click in the UI would launch it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.clock import SystemClock
from pipelines.demo.prepare import Demo, prepare
from pipelines.demo.run import Graph, approve_once, segments_of
from pipelines.lake import Lake
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
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
CHECKS = """
query { assetNodes { assetKey { path } groupName description owners { __typename } } }
"""
CONTACTS = 600


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Ask again until it is so; the deadline only ends a test that would hang."""
    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    while not (found := condition()):
        assert clock.monotonic() < deadline, f"{what} did not happen"
        clock.sleep(0.2)
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


def launch(url: str, campaign: str, *, late: bool) -> str:
    """Launch the campaign's chain for its partition; returns the run's final status."""
    chain = ["audience", "preview", "sends"]
    params = {
        "selector": {
            "repositoryName": "__repository__",
            "repositoryLocationName": "pipelines.definitions",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": ["campaigns", name]} for name in chain],
        },
        "mode": "default",
        "runConfigData": {"ops": {"campaigns__sends": {"config": {"accept_late": late}}}},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": campaign}]},
    }
    told = ask(url, LAUNCH, params=params)["launchPipelineExecution"]
    assert told["__typename"] == "LaunchRunSuccess", told
    run = told["run"]["runId"]
    ended = {"SUCCESS", "FAILURE", "CANCELED"}

    def status() -> str | None:
        now = ask(url, STATUS, id=run)["runOrError"]["status"]
        return now if now in ended else None

    return str(until(status, 120, "the end of the run"))


def test_a_campaign_launched_in_the_ui_is_sent_once_however_often_it_is_launched(demo: Demo):
    lake = Lake(demo.home.lake)

    with web_server(demo) as url:
        overdue = launch(url, demo.campaign, late=False)
        unsent = list((demo.home.sink / "new").glob("*"))
        first = launch(url, demo.campaign, late=True)
        delivered = len(list((demo.home.sink / "new").iterdir()))
        second = launch(url, demo.campaign, late=True)

    assert (overdue, first, second) == ("FAILURE", "SUCCESS", "SUCCESS")
    assert unsent == []
    sent = lake.read("campaigns.sends").filter(state="accepted").collect().height
    assert delivered == sent > 100
    assert len(list((demo.home.sink / "new").iterdir())) == delivered
