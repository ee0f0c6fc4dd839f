"""The main job, end to end, by the command a newcomer types; and typed again."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.lake import Lake
from pipelines.settings import CHECKOUT, Home, Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CONTACTS = 1_500
KEYS = {
    "read", "quarantined", "contacts", "segment_size", "excluded", "held_out", "sent", "sent_this_run",
    "opened", "clicked", "unsubscribed", "bounced", "preview_path", "report_path", "maildir_path",
}  # fmt: skip


@dataclass(frozen=True)
class Twice:
    """Two runs in one home: their figures, what the first said on stderr, messages after each."""

    home: Home
    first: dict[str, Any]
    second: dict[str, Any]
    progress: str
    kept: tuple[int, int]


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Twice:
    home = Home(tmp_path_factory.mktemp("demo") / "home")

    def play() -> tuple[dict[str, Any], str, int]:
        command = [str(Path(sys.executable).with_name("lettermill")), "demo", "--json",
                   "--contacts", str(CONTACTS), "--home", str(home.root)]  # fmt: skip
        # What is set elsewhere must not reach a demo: this would refuse to send.
        environment = {**Settings().environ(), "LETTERMILL_DELIVERY_MODE": "live"}
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=CHECKOUT, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr, len(list((home.sink / "new").iterdir()))

    first, progress, kept = play()
    second, _, kept_then = play()
    return Twice(home, first, second, progress, (kept, kept_then))


def test_it_prints_one_object_with_the_figures_and_shows_progress_beside_it(twice: Twice):
    assert twice.first.keys() >= KEYS
    assert "Plan, preview and send" in twice.progress
    for name in ("preview_path", "report_path", "maildir_path"):
        assert Path(twice.first[name]).exists()


def test_everybody_in_the_segment_is_sent_to_held_out_or_excluded(twice: Twice):
    figures = twice.first
    parts = figures["sent"] + figures["held_out"] + sum(figures["excluded"].values())

    assert figures["segment_size"] == parts
    assert figures["sent"] > 400
    assert figures["read"] > figures["quarantined"] > 0


def test_people_open_click_leave_and_bounce_and_the_tables_say_so(twice: Twice):
    figures = twice.first

    assert figures["sent"] > figures["opened"] > figures["clicked"] > 0
    assert figures["unsubscribed"] + figures["bounced"] > 0
    reasons = Lake(twice.home.lake).read("core.suppressions").collect()["reason"].to_list()
    assert len(reasons) == figures["unsubscribed"] + figures["bounced"]


def test_what_people_looked_at_is_there_and_what_was_refused_of_it_too(twice: Twice):
    lake = Lake(twice.home.lake)
    kinds = set(lake.read("core.activities").collect()["kind"])

    assert kinds == {"view", "cart"}
    assert lake.count("raw.shop_activities") == (
        lake.count("core.activities") + lake.count("quarantine.activities")
    )


def test_a_second_run_sends_nobody_a_second_copy_and_keeps_the_figures(twice: Twice):
    unchanged = KEYS - {"sent_this_run"}

    assert twice.second["sent_this_run"] == 0
    assert {name: twice.second[name] for name in unchanged} == {
        name: twice.first[name] for name in unchanged
    }
    assert twice.kept[0] == twice.kept[1]


def test_the_owner_got_the_final_report_once(twice: Twice):
    assert twice.kept[1] == twice.first["sent"] + 1
    assert [path.name for path in twice.home.reports.glob("*.eml")] == ["autumn-thanks.final.eml"]


def test_what_the_shop_sold_afterwards_is_compared_between_mailed_and_held_out(twice: Twice):
    results = Lake(twice.home.lake).read("reports.campaign").filter(measure="ordered").collect()
    counts = dict(results.select("arm", "count").rows())

    assert counts["all"] > 0
    assert "hold_out" in counts
