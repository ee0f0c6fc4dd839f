"""`lettermill dev`: start all that runs, say where it is, and stop it together."""

from __future__ import annotations

import signal
from types import FrameType

import typer

from pipelines.cli.home import prepare_home
from pipelines.cli.output import console
from pipelines.clock import SystemClock
from pipelines.services import Processes, dagster_service, ended, loopback_services, running
from pipelines.settings import HomeKind, Settings

GLANCE_SECONDS = 0.3


def add_to(app: typer.Typer) -> None:
    app.command()(dev)


def dev() -> None:
    """Start Dagster, edge, stream and sink; Ctrl-C stops them together."""
    settings = Settings.load()
    home = prepare_home(settings.home, HomeKind.DEVELOPMENT)
    services = [*loopback_services(settings), dagster_service(settings)]
    console.print(f"home {home.root} · logs in {home.logs}")
    with running(services, settings) as processes:
        for service in services:
            console.print(f"[green]▸[/] {service.name:<8} {service.where}")
        console.print("Ctrl-C stops them all.")
        gone = _wait(processes)
    if gone is not None:
        log = home.logs / f"{gone}.log"
        console.print(f"[red]✗[/] {gone} ended by itself; see {log}. The others were stopped.")
        raise typer.Exit(1)


def _wait(processes: Processes) -> str | None:
    """Until Ctrl-C or a termination (None), or until a process ends by itself (its name)."""
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    gone: str | None = None
    while not asked and gone is None:
        SystemClock().sleep(GLANCE_SECONDS)
        gone = None if asked else ended(processes)
    return gone
