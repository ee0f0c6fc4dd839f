"""Sandboxes kept ready, and how one is asked: the caller's side of sandbox.py.

A caller takes one that waits, or starts one, and puts it back when its job ended well. One whose job
ran over its time, or whose caller was interrupted, is killed with its query.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.segments.sandbox import ANSWER, Job
from pipelines.settings import CHECKOUT

COMMAND = (sys.executable, "-m", "pipelines.segments.sandbox")
# One each for a caller and for another thread; more would hold memory for nothing.
MOST_READY = 2
# None of ours: secrets have no business there. Memory is limited by addresses, and both allocators keep
# more of them than they use: 580 MB for arenas, and all they ever freed.
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": os.defpath,
    "MALLOC_ARENA_MAX": "1",
    "DUCKDB_JE_MALLOC_CONF": "retain:false",
}


class OutOfTime(Exception):
    """The query ran longer than it may, and was stopped."""


class Stopped(Exception):
    """The query was ended by the operating system; `code` is minus the signal, or None."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Answer:
    """What a job answered, and its peak of memory in MiB."""

    content: dict[str, Any]
    peak_mib: float


@dataclass
class Pool:
    """The sandboxes of this process that wait for a job."""

    ready: list[subprocess.Popen[bytes]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def warm(self) -> None:
        """Start one now, so that it has loaded DuckDB when it is asked."""
        with self.lock:
            if not self.ready:
                self.ready.append(_start())

    @contextmanager
    def taken(self) -> Iterator[subprocess.Popen[bytes]]:
        """A sandbox for the block; it comes back unless the block ended with an exception."""
        with self.lock:
            alive = [each for each in self.ready if each.poll() is None]
            self.ready = alive[1:]
        process = alive[0] if alive else _start()
        try:
            yield process
        except BaseException:
            _end(process)
            raise
        with self.lock:
            if len(self.ready) < MOST_READY:
                self.ready.append(process)
                return
        _end(process)


POOL = Pool()


@contextmanager
def job_folder() -> Iterator[str]:
    """A folder for one job's rows and answer, gone after the block."""
    with tempfile.TemporaryDirectory(prefix="lettermill-segment-") as folder:
        yield folder


def ask(job: Job) -> Answer:
    """Run one job. Raises OutOfTime, and Stopped when a limit ended it."""
    with POOL.taken() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(job.as_json().encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise Stopped from None
        ready, _, _ = select.select([process.stdout], [], [], job.limits.wall_seconds)
        if not ready:
            raise OutOfTime
        line = process.stdout.readline()
        if not line:
            raise Stopped
        told = json.loads(line)
        if told["code"] != 0:
            raise Stopped(told["code"])
    content = json.loads((Path(job.folder) / ANSWER).read_text(encoding="utf-8"))
    return Answer(content, told["peak_kib"] / 1024)


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
        env=ENVIRONMENT,
        start_new_session=True,  # Ctrl-C reaches whoever asks, who ends it
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it with its query, and wait until neither writes any more."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.read()  # ends when the last of them has let go of it
    process.stdout.close()
    process.wait()
