"""The Bytewax flow from the event log to core.engagement_events: each event once.

Effectively once without Bytewax's recovery store: the source takes its position from the table's
own application transactions, the sink buffers and commits whole epochs, and each commit carries the
highest offset it holds. Wires pure functions of pipelines/engagement; holds no event back.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import bytewax.operators as op
from bytewax._bytewax import cli_main
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from pipelines.engagement import events
from pipelines.errors import Problem, StreamInvalid
from pipelines.lake import Lake
from pipelines.schema import ENGAGEMENT_EVENTS
from pipelines.settings import Home
from streaming import log, process
from streaming.dedup import Seen
from streaming.process import Stopping

WRITERS = ("edge", "mailbox")
# One shard: the highest offset of a commit then bounds everything below it.
SHARD = "0"
EPOCH = timedelta(seconds=1)
IDLE = timedelta(milliseconds=100)
DEAD_LETTERS = "dead_letters.tsv"


@dataclass(frozen=True)
class Item:
    """A record on its way: its event, or None when it could not be read."""

    partition: str
    offset: int
    end: int
    event: events.Event | None


def application(partition: str) -> str:
    """The name of the Delta application transaction that holds a partition's position."""
    return f"lettermill/events/{partition}/{SHARD}"


def position(lake: Lake, partition: str) -> int:
    """The offset behind the last committed record of a partition."""
    return lake.transaction(ENGAGEMENT_EVENTS.name, application(partition)) or 0


def lag(home: Home) -> dict[str, tuple[int, int]]:
    """Per partition of the log: the committed offset and the log's end, in bytes."""
    lake = Lake(home.lake)
    return {
        name: (position(lake, name), log.end_offset(home.event_log / name))
        for name in log.partitions(home.event_log)
    }


class LogPartition(StatefulSourcePartition[Item, int]):
    """One partition of the log, read from where the table stands."""

    def __init__(self, folder: Path, offset: int, stopping: Stopping, until_end: bool) -> None:
        self._folder, self._offset, self._stopping = folder, offset, stopping
        self._end = log.end_offset(folder) if until_end else None
        self._idle = False

    def next_batch(self) -> list[Item]:
        if self._stopping.is_asked or (self._end is not None and self._offset >= self._end):
            raise StopIteration
        items = [item(self._folder.name, record) for record in log.read(self._folder, self._offset)]
        if items:
            self._offset = items[-1].end
        self._idle = not items
        return items

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + IDLE if self._idle else None

    def snapshot(self) -> int:
        return self._offset


def item(partition: str, record: log.Record) -> Item:
    parsed = None
    if record.payload is not None:
        parsed = events.parse(record.payload, partition=partition, offset=record.offset)
    return Item(partition, record.offset, record.end, parsed)


@dataclass(frozen=True)
class LogSource(FixedPartitionedSource[Item, int]):
    """Every partition of the log of a home."""

    home: Home
    stopping: Stopping
    until_end: bool

    def list_parts(self) -> list[str]:
        return log.partitions(self.home.event_log)

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> LogPartition:  # noqa: ARG002
        offset = position(Lake(self.home.lake), for_part)
        folder = self.home.event_log / for_part
        return LogPartition(folder, offset, self.stopping, self.until_end)


class TablePartition(StatefulSinkPartition[Item, None]):
    """Buffers an epoch and commits it whole, in one Delta commit with its positions."""

    def __init__(self, home: Home) -> None:
        self._lake = Lake(home.lake)
        self._dead_letters = home.stream / DEAD_LETTERS
        self._buffer: list[Item] = []
        self._seen = Seen.of(self._lake)
        self._committed = {
            name: position(self._lake, name) for name in log.partitions(home.event_log)
        }

    def write_batch(self, values: list[Item]) -> None:
        self._buffer += values

    def snapshot(self) -> None:
        fresh = [item for item in self._buffer if item.end > self._committed.get(item.partition, 0)]
        self._buffer = []
        if not fresh:
            return
        self._bury([item for item in fresh if item.event is None])
        wanted = [item.event for item in fresh if item.event is not None]
        unseen = [
            event
            for event in wanted
            if self._seen.add(event.event_id, for_good=event.kind in events.SAID_ONCE)
        ]
        ends: dict[str, int] = {}
        for item in fresh:
            ends[item.partition] = max(ends.get(item.partition, 0), item.end)
        marks = {application(name): end for name, end in ends.items()}
        self._lake.append(ENGAGEMENT_EVENTS, events.frame(unseen), transactions=marks)
        self._committed |= ends

    def _bury(self, dead: list[Item]) -> None:
        """Note unreadable records, before the commit: a crash may note one twice, never none."""
        if dead:
            with self._dead_letters.open("a") as file:
                file.writelines(f"{item.partition}\t{item.offset}\t{item.end}\n" for item in dead)
                file.flush()
                os.fdatasync(file.fileno())


@dataclass(frozen=True)
class TableSink(FixedPartitionedSink[Item, None]):
    """core.engagement_events of a home."""

    home: Home

    def list_parts(self) -> list[str]:
        return [SHARD]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> TablePartition:  # noqa: ARG002
        return TablePartition(self.home)


def dead_letters(home: Home) -> int:
    """How many records of the log could not be read; each counted once."""
    path = home.stream / DEAD_LETTERS
    return len(set(path.read_text().splitlines())) if path.exists() else 0


def run(home: Home, *, stopping: Stopping, until_caught_up: bool = False) -> None:
    """Move events until stopped, or until the log's end of now is in the table."""
    for writer in WRITERS:
        (home.event_log / writer).mkdir(parents=True, exist_ok=True)
    with only_one(home):
        _check(home)
        flow = Dataflow("engagement")
        items = op.input("log", flow, LogSource(home, stopping, until_caught_up))
        keyed = op.map("shard", items, lambda item: (SHARD, item))
        op.output("table", keyed, TableSink(home))
        cast("Any", cli_main)(flow, epoch_interval=EPOCH)


def _check(home: Home) -> None:
    """Refuse a log that is not the one the table was made from; Bytewax would bury the message."""
    shorter = [
        Problem(name, f"ends at {end}, but the table has it up to {committed}")
        for name, (committed, end) in lag(home).items()
        if committed > end
    ]
    if shorter:
        raise StreamInvalid(
            "the event log ends before what core.engagement_events has of it",
            shorter,
            do="Restore <home>/events from a backup: it was lost, or belongs to another home",
        )


@contextmanager
def only_one(home: Home) -> Iterator[None]:
    """One flow per log. Raises StreamInvalid while another one runs."""
    home.stream.mkdir(parents=True, exist_ok=True)
    lock = os.open(home.stream / "flow.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        do = "It is enough; or stop it first"
        raise StreamInvalid("another flow of this home is running", do=do) from None
    finally:
        os.close(lock)


def main() -> int:
    def serve(home: Home, stopping: Stopping, until: bool) -> None:
        run(home, stopping=stopping, until_caught_up=until)

    return process.main(
        "streaming.flow", __doc__, ("--until-caught-up", "end at the log's end"), serve
    )


if __name__ == "__main__":
    sys.exit(main())
