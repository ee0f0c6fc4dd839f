from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pipelines.clock import SystemClock
from pipelines.engagement.events import Hit, Kind
from pipelines.errors import StreamInvalid
from pipelines.lake import Lake
from pipelines.settings import CHECKOUT, Home, Settings
from streaming import flow
from streaming.log import LogWriter, segments
from streaming.process import Stopping

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def hit(number: int, **changes: Any) -> Hit:
    values: dict[str, Any] = {
        "kind": Kind.OPEN,
        "at": NOON + timedelta(milliseconds=number),
        "campaign": "spring",
        "contact_id": number % 97,
        "mark": f"{number:032x}",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
    }
    return Hit.model_validate(values | changes)


def log_hits(home: Home, hits: list[Hit], partition: str = "edge") -> None:
    with LogWriter(home.event_log, partition) as log:
        log.append([each.to_bytes() for each in hits])


def catch_up(home: Home) -> None:
    flow.run(home, stopping=Stopping(), until_caught_up=True)


def events(lake: Lake) -> pl.DataFrame:
    return lake.read("core.engagement_events").collect()


def test_what_was_logged_is_in_the_table_once(home: Home, lake: Lake) -> None:
    log_hits(home, [hit(number) for number in (*range(100), *range(50))])

    catch_up(home)
    catch_up(home)

    assert events(lake).height == 100
    assert events(lake)["event_id"].n_unique() == 100


def test_lag_is_nothing_after_catching_up(home: Home) -> None:
    log_hits(home, [hit(1), hit(1)])
    log_hits(home, [hit(2)], "mailbox")
    before = flow.lag(home)

    catch_up(home)

    assert all(committed < end for committed, end in before.values())
    assert all(committed == end > 0 for committed, end in flow.lag(home).values())


def test_an_unsubscribe_said_twice_in_different_runs_is_one_event(home: Home, lake: Lake) -> None:
    for number in (1, 2):
        leaving = hit(number, kind=Kind.UNSUBSCRIBE, contact_id=1, mark="topic", detail="topic")
        log_hits(home, [leaving])
        catch_up(home)

    assert events(lake)["kind"].to_list() == ["unsubscribe"]


def test_a_record_that_cannot_be_read_is_counted_and_stops_nothing(home: Home, lake: Lake) -> None:
    with LogWriter(home.event_log, "edge") as log:
        log.append([hit(1).to_bytes(), b"{}", b"\xff\x00", hit(2).to_bytes()])

    catch_up(home)

    assert events(lake).height == 2
    assert flow.dead_letters(home) == 2


def test_a_log_shorter_than_the_table_knows_is_refused(home: Home) -> None:
    log_hits(home, [hit(1), hit(2)])
    catch_up(home)
    segments(home.event_log / "edge")[0][1].write_bytes(b"")

    with pytest.raises(StreamInvalid, match="ends before"):
        catch_up(home)


def test_a_second_flow_of_the_same_home_is_refused(home: Home) -> None:
    with flow.only_one(home), pytest.raises(StreamInvalid, match="another flow"):
        catch_up(home)


@pytest.mark.slow
def test_killed_again_and_again_it_loses_nothing_and_doubles_nothing(
    home: Home, lake: Lake
) -> None:
    chance = random.Random(7)
    clock = SystemClock()
    environ = Settings(home=home.root).environ()
    command = [sys.executable, "-m", "streaming.flow"]
    written = 0
    with LogWriter(home.event_log, "edge") as edge, LogWriter(home.event_log, "mailbox") as mailbox:
        for _ in range(10):
            process = subprocess.Popen(command, env=environ, cwd=CHECKOUT)
            before = lake.version("core.engagement_events")
            deadline = clock.monotonic() + 30
            # Killed at an uneven moment after a commit: in an epoch, in a write, or between.
            extra = chance.randrange(1, 40)
            while extra and clock.monotonic() < deadline:
                for writer in (edge, mailbox):
                    fresh = [hit(number).to_bytes() for number in range(written, written + 20)]
                    again = chance.randrange(max(written, 1))
                    writer.append([*fresh, hit(again).to_bytes(), fresh[0]])
                    written += 20
                clock.sleep(0.01)
                extra -= lake.version("core.engagement_events") != before
            process.send_signal(signal.SIGKILL)
            process.wait()

    subprocess.run([*command, "--until-caught-up"], env=environ, cwd=CHECKOUT, check=True)

    times = Counter(events(lake)["event_id"].to_list())
    assert len(times) == written
    assert set(times.values()) == {1}


@pytest.mark.slow
def test_asked_to_end_it_commits_what_it_holds_and_ends(home: Home, lake: Lake) -> None:
    log_hits(home, [hit(number) for number in range(10)])
    environ = Settings(home=home.root).environ()
    process = subprocess.Popen([sys.executable, "-m", "streaming.flow"], env=environ, cwd=CHECKOUT)
    clock = SystemClock()
    deadline = clock.monotonic() + 30
    while events(lake).is_empty() and clock.monotonic() < deadline:
        clock.sleep(0.05)

    process.terminate()

    assert process.wait(timeout=10) == 0
    assert events(lake).height == 10
