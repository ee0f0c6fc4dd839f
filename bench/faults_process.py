"""One send in a process of its own: its workers, its last words, its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

GLANCE_SECONDS = 0.002


@dataclass
class Run:
    """One send in a process of its own, and the processes it started."""

    process: subprocess.Popen[str]
    expected: int
    seen: list[psutil.Process] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None

    def workers(self) -> list[psutil.Process]:
        """Its workers, by shard, as soon as all are there; fewer when the run has ended."""
        found: list[psutil.Process] = []
        while not self.is_over and len(found) < self.expected:
            time.sleep(GLANCE_SECONDS)
            found = sorted(filter(_is_worker, self._children()), key=lambda each: each.pid)
        return found

    def _children(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            self.seen = psutil.Process(self.process.pid).children(recursive=True) or self.seen
        return self.seen

    def kill(self) -> None:
        """The whole of it at once."""
        if not self.is_over:
            self._children()
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        wait_dead(self.seen)

    def end(self) -> None:
        """See that nothing of it is left."""
        self.kill()
        for worker in self.seen:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def told(self) -> dict[str, Any]:
        """Its last words; none when it was killed, or when it left a traceback."""
        said, _ = self.process.communicate()
        return dict(json.loads(said)) if said.strip() else {}


def is_dead(process: psutil.Process) -> bool:
    """Whether it runs no more; its parent may not have heard of it yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_dead(processes: list[psutil.Process]) -> None:
    while not all(is_dead(each) for each in processes):
        time.sleep(GLANCE_SECONDS)


def tool(name: str, package: str) -> str:
    found = shutil.which(name, path=f"{os.defpath}:/usr/sbin:/sbin")
    if found is None:
        raise SystemExit(f"these faults need {name}: install Debian's package {package}")
    return found


def until(fits: Callable[[], object], run: Run) -> bool:
    """Wait for something while a run goes on; False when the run has ended first."""
    while not fits():
        if run.is_over:
            return False
        time.sleep(GLANCE_SECONDS)
    return True


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return any("spawn_main" in word for word in process.cmdline())
    return False
