"""`lettermill dev`: start all that runs, show what each says, and stop it together."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

import typer

from pipelines.cli.home import prepare_home
from pipelines.cli.output import console
from pipelines.clock import SystemClock
from pipelines.settings import CHECKOUT, HomeKind, Settings

STOP_SECONDS = 8
CLOCK = SystemClock()


@dataclass(frozen=True)
class Service:
    """One long-running process and where it can be reached."""

    name: str
    arguments: tuple[str, ...]
    where: str = ""


def services(settings: Settings) -> list[Service]:
    """What an installation runs beside the relay."""
    python = sys.executable
    dagster = str(Path(python).with_name("dagster"))
    port = str(settings.dagster_port)
    return [
        Service("sink", (python, "-m", "pipelines.delivery.sink", "--port", str(settings.sink_port)),
                f"smtp://127.0.0.1:{settings.sink_port}"),
        Service("edge", (python, "-m", "streaming.edge"), settings.public_url),
        Service("mailbox", (python, "-m", "streaming.mailbox")),
        Service("flow", (python, "-m", "streaming.flow")),
        Service("dagster", (dagster, "dev", "-m", "pipelines.definitions", "-p", port),
                f"http://127.0.0.1:{port}"),
    ]  # fmt: skip


def add_to(app: typer.Typer) -> None:
    app.command()(dev)


def dev() -> None:
    """Start Dagster, edge, stream and sink; Ctrl-C stops them together."""
    settings = Settings.load()
    home = prepare_home(settings.home, HomeKind.DEVELOPMENT)
    console.print(f"home {home.root} · logs in {home.logs}")
    with running(services(settings), settings, home.logs) as processes:
        for service in services(settings):
            console.print(f"[green]▸[/] {service.name:<8} {service.where}")
        console.print("Ctrl-C stops them all.")
        ended = _first_to_end(processes)
    if ended is not None:
        console.print(
            f"[red]✗[/] {ended} ended; see {home.logs / ended}.log. The others were stopped."
        )
        raise typer.Exit(1)


@contextmanager
def running(
    wanted: list[Service], settings: Settings, logs: Path
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """These services while the block runs; each writes to its own log, all end with the block."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    files: list[IO[bytes]] = []
    try:
        for service in wanted:
            log = (logs / f"{service.name}.log").open("ab")
            files.append(log)
            started[service.name] = subprocess.Popen(
                service.arguments, cwd=CHECKOUT, env=settings.environ(), stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        yield started
    finally:
        stop(started)
        for log in files:
            log.close()


def stop(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Ask every process to end, and end those that do not within STOP_SECONDS."""
    for process in processes.values():
        if process.poll() is None:
            process.terminate()
    deadline = CLOCK.monotonic() + STOP_SECONDS
    for process in processes.values():
        try:
            process.wait(max(0.1, deadline - CLOCK.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _first_to_end(processes: dict[str, subprocess.Popen[bytes]]) -> str | None:
    """Wait for Ctrl-C or a termination (None), or for a process that ends by itself (its name)."""
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    while not asked:
        for name, process in processes.items():
            if process.poll() is not None:
                return name
        CLOCK.sleep(0.3)
    return None
