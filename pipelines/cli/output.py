"""What every command shares: progress on stderr, data on stdout, and the workspace it works in."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines.clock import Clock, SystemClock
from pipelines.lake import Lake
from pipelines.settings import Home, Settings

console = Console(stderr=True, highlight=False)
out = Console(highlight=False)


@dataclass(frozen=True)
class Workspace:
    """The settings of this process and what they point at."""

    settings: Settings
    home: Home
    lake: Lake
    project: Path
    clock: Clock


def workspace(settings: Settings | None = None) -> Workspace:
    """Open the home named by the settings. Raises HomeInvalid when it is not one."""
    settings = settings or Settings.load()
    home = Home(settings.home)
    home.identity()
    return Workspace(settings, home, Lake(home.lake), settings.project, SystemClock())


def emit_json(value: Any) -> None:
    """One JSON value on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n")
