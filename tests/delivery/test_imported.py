"""A list of people not to be mailed, as another system exports it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.clock import FrozenClock
from pipelines.contacts.address import address_hash
from pipelines.contacts.ingest import ingest
from pipelines.contacts.source import find
from pipelines.delivery.imported import suppress_imported
from pipelines.delivery.people import PeopleStore, Scope
from pipelines.lake import Lake
from pipelines.settings import Home, Settings
from pipelines.workspace import Workspace

SOURCE = """
description: People the old system must not mail
owner: data@shop.example
exports:
  blocked:
    file: blocked.csv
    format: {kind: csv}
    suppressions:
      address: email
      reason: why
      scope: {column: scope, values: {everything: all, letters: topic}}
      scope_key: topic
      since_at: {column: since, format: "%d.%m.%Y"}
"""
LIST = """\
email,why,scope,topic,since
Ada@Shop.example,unsubscribed,everything,,31.02.2026
bert@shop.example,complaint,letters,news,01.02.2026
nobody at shop.example,unsubscribed,everything,,
cleo@shop.example,bored,everything,,
"""


@pytest.fixture
def space(home: Home, lake: Lake, tmp_path: Path, clock: FrozenClock) -> Workspace:
    """A project with one source, its export loaded."""
    project = tmp_path / "project"
    (project / "assets" / "sources").mkdir(parents=True)
    (project / "assets" / "sources" / "old.yaml").write_text(SOURCE)
    home.exports.mkdir(exist_ok=True)
    (home.exports / "blocked.csv").write_text(LIST)
    ingest(find(project, "old"), lake=lake, exports_folder=home.exports, clock=clock)
    return Workspace(Settings(home=home.root, project=project), home, lake, project, clock)


def hashes(space: Workspace, topic: str) -> set[str]:
    return PeopleStore(space.home.people).suppressed_hashes(topic, "mill")


def hashed(space: Workspace, address: str) -> str:
    return address_hash(address, space.home.key("addresses"))


def test_whoever_the_list_names_is_suppressed_as_far_as_it_says(space: Workspace):
    new = suppress_imported(space)

    everywhere = {hashed(space, f"{name}@shop.example") for name in ("ada", "cleo")}
    assert new == 3
    assert hashes(space, "offers") == everywhere
    assert hashes(space, "news") == {
        *everywhere,
        hashed(space, "bert@shop.example"),
    }


def test_only_a_row_that_names_no_address_is_quarantined_whatever_else_cannot_be_read(
    space: Workspace,
):
    refused = space.lake.read("quarantine.suppressions").sort("row_number").collect()

    assert refused["reasons"].to_list()[0] == ["suppressions: address has no single @"]
    assert refused.height == 1


def test_who_came_back_since_stays_back_however_often_the_list_is_loaded(space: Workspace):
    suppress_imported(space)
    ada = hashed(space, "ada@shop.example")
    PeopleStore(space.home.people).release(ada, scope=Scope.ALL, scope_key="", at=space.clock.now())

    again = suppress_imported(space)

    assert again == 0
    assert ada not in hashes(space, "news")
