"""What a command or a run works in: settings, and what they point at, opened together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.clock import Clock, SystemClock
from pipelines.lake import Lake
from pipelines.settings import Home, Settings


@dataclass(frozen=True)
class Workspace:
    """The settings of this process and what they point at."""

    settings: Settings
    home: Home
    lake: Lake
    project: Path
    clock: Clock


def open_workspace(settings: Settings | None = None, clock: Clock | None = None) -> Workspace:
    """Open the home named by the settings. Raises HomeInvalid when it is not one."""
    settings = settings or Settings.load()
    home = Home(settings.home)
    home.identity()
    return Workspace(settings, home, Lake(home.lake), settings.project, clock or SystemClock())
