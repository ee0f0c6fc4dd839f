"""Real exports run through to a sent campaign and its report: `make real-data DATA=<folder>`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.settings import CHECKOUT

pytestmark = [pytest.mark.real_data, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("source", "file", "read", "contacts"),
    [
        ("cdnow", "cdnow_master.txt", 69_659, 23_570),
        ("online_retail_france", "online_retail_france.csv", 8_557, 87),
        ("online_retail_germany", "online_retail_germany.csv", 9_495, 95),
        ("hillstrom", "hillstrom.csv", 64_000, 64_000),
    ],
)
def test_a_real_export_runs_through_to_a_sent_campaign(
    tmp_path: Path, source: str, file: str, read: int, contacts: int
):
    path = Path(os.environ["LETTERMILL_TEST_DATA"]) / file
    command = [str(Path(sys.executable).with_name("lettermill")), "demo", "--source", source,
               "--file", str(path), "--home", str(tmp_path / "home"), "--json"]  # fmt: skip

    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, check=False)

    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    assert (figures["read"], figures["contacts"]) == (read, contacts)
    left_out = figures["held_out"] + sum(figures["excluded"].values())
    assert figures["segment_size"] == figures["sent"] + left_out
    assert figures["sent"] > 0
    assert Path(figures["report_path"]).exists()
