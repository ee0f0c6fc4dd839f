"""What every command shares: progress on stderr, data on stdout, and the workspace it works in."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from pipelines.errors import SettingInvalid
from pipelines.workspace import Workspace, open_workspace

__all__ = ["Workspace", "console", "emit_json", "moment_of", "out", "workspace"]

# A command to copy must not be broken at the width of the terminal.
console = Console(stderr=True, highlight=False, soft_wrap=True)
# Into a pipe or a file nothing is cut to the width of a terminal that is not there.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def workspace() -> Workspace:
    """The workspace of the settings in force."""
    return open_workspace()


def emit_json(value: Any) -> None:
    """One JSON value on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n")


def moment_of(as_of: str | None, space: Workspace, option: str = "--as-of") -> datetime:
    """The time an option names, now without one; a time without a zone is UTC."""
    if as_of is None:
        return space.clock.now()
    try:
        moment = datetime.fromisoformat(as_of)
    except ValueError:
        do = "Give it like 2026-11-01 or 2026-11-01T08:00:00+01:00"
        raise SettingInvalid(f"{option} '{as_of}' is not a time", do=do) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
