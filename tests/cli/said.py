"""The command run in this process: what one call of it came to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.command import main


@dataclass(frozen=True)
class Said:
    """What one call of the command came to."""

    code: int
    out: str
    err: str

    def fine(self) -> Said:
        assert self.code == 0, self.err
        return self

    def refused(self, *words: str) -> Said:
        assert self.code == 1, (self.out, self.err)
        assert [word for word in words if word not in self.err] == [], self.err
        return self

    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Said]


def calling(
    home: Path,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Call:
    """The command, as `call("segment", "list")`: an error leaves words and no traceback."""
    for name in [each for each in os.environ if each.startswith("LETTERMILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LETTERMILL_HOME", str(home))
    monkeypatch.setenv("LETTERMILL_PROJECT", str(project))

    def called(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["lettermill", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return called
