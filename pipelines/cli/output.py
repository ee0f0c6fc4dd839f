"""What every command shares: progress on stderr, data on stdout, and the workspace it works in."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

from pipelines.workspace import Workspace, open_workspace

__all__ = ["Workspace", "console", "emit_json", "out", "workspace"]

console = Console(stderr=True, highlight=False)
out = Console(highlight=False)


def workspace() -> Workspace:
    """The workspace of the settings in force."""
    return open_workspace()


def emit_json(value: Any) -> None:
    """One JSON value on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n")
