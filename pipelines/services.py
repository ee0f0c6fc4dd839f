"""The processes an installation runs beside Dagster's runs, and how they are started and stopped together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.clock import SystemClock
from pipelines.settings import CHECKOUT, Home, Settings

STOP_SECONDS = 8.0

Processes = dict[str, subprocess.Popen[bytes]]


@dataclass(frozen=True)
class Service:
    """One long-running process and where it can be reached."""

    name: str
    arguments: tuple[str, ...]
    where: str = ""


def loopback_services(settings: Settings) -> list[Service]:
    """The sink, the edge, the reader of the bounce mailbox, and the stream."""
    python = sys.executable
    sink_port = str(settings.sink_port)
    sink = (python, "-m", "pipelines.delivery.sink", "--home", str(settings.home))
    return [
        Service("sink", (*sink, "--port", sink_port), f"smtp://127.0.0.1:{sink_port}"),
        Service("edge", (python, "-m", "streaming.edge"), settings.public_url),
        Service("mailbox", (python, "-m", "streaming.mailbox")),
        Service("flow", (python, "-m", "streaming.flow")),
    ]


def dagster_service(settings: Settings) -> Service:
    """Dagster's web server and daemon."""
    dagster = str(Path(sys.executable).with_name("dagster"))
    port = str(settings.dagster_port)
    arguments = (dagster, "dev", "-m", "pipelines.definitions", "-p", port)
    return Service("dagster", arguments, f"http://127.0.0.1:{port}")


@contextmanager
def running(wanted: Sequence[Service], settings: Settings) -> Iterator[Processes]:
    """These services while the block runs. Each writes to <home>/logs/<name>.log; all end with the block."""
    logs = Home(settings.home).logs
    started: Processes = {}
    with ExitStack() as stack:
        stack.callback(stop, started)
        for service in wanted:
            log = stack.enter_context((logs / f"{service.name}.log").open("ab"))
            started[service.name] = subprocess.Popen(
                service.arguments,
                cwd=CHECKOUT,
                env=settings.environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us only; we end them in order
            )
        yield started


def stop(processes: Processes) -> None:
    """Ask every process to end, and end those that have not after STOP_SECONDS."""
    clock = SystemClock()
    for process in processes.values():
        if process.poll() is None:
            process.terminate()
    deadline = clock.monotonic() + STOP_SECONDS
    for process in processes.values():
        try:
            process.wait(max(0.1, deadline - clock.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ended(processes: Processes) -> str | None:
    """The name of a service that is no longer running, if there is one."""
    return next((name for name, process in processes.items() if process.poll() is not None), None)
