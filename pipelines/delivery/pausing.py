"""Campaigns that are paused: by somebody, by the end of their run, or by their own error budget.

A file beside the ledger says who, when and why. A send looks at it all the time, and none begins while
it is there; only `resume` takes it away.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.campaigns.campaign import campaign_key
from pipelines.errors import Problem, SendHeld

SUFFIX = ".paused"


class Paused(BaseModel):
    """One pause."""

    model_config = ConfigDict(frozen=True)

    by: str
    why: str
    at: datetime

    def __str__(self) -> str:
        return f"paused by {self.by} at {self.at:%Y-%m-%d %H:%M} UTC: {self.why}"


def pause(ledgers: Path, key: str, *, by: str, why: str, at: datetime) -> Paused:
    """Pause a campaign; one that is paused already keeps its first reason."""
    path = _file(ledgers, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = Paused(by=by, why=why, at=at)
    # Several may pause it at the same moment, as workers do that spend the error budget together.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(new.model_dump_json(), encoding="utf-8")
    if (known := paused(ledgers, key)) is not None:
        part.unlink(missing_ok=True)
        return known
    part.replace(path)
    return new


def paused(ledgers: Path, key: str) -> Paused | None:
    """Why a campaign is paused; None when it is not. A file nobody can read pauses all the same."""
    path = _file(ledgers, key)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return Paused.model_validate_json(text)
    except ValidationError:
        at = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
        return Paused(by="nobody knows whom", why=f"{path.name} cannot be read", at=at)


def is_paused(ledgers: Path, key: str) -> bool:
    """The same in one look at the folder: asked while a send is under way."""
    return _file(ledgers, key).exists()


def resume(ledgers: Path, key: str) -> Paused | None:
    """End a pause; returns what it was, None when there was none."""
    known = paused(ledgers, key)
    _file(ledgers, key).unlink(missing_ok=True)
    return known


def hold_when_paused(ledgers: Path, key: str) -> None:
    """Raises SendHeld for a paused campaign."""
    if (known := paused(ledgers, key)) is None:
        return
    do = f"When it may go on: lettermill campaign resume {key}"
    raise SendHeld(f"{key} is paused", [Problem(known.by, known.why)], do=do)


def _file(ledgers: Path, key: str) -> Path:
    return ledgers / f"{campaign_key(key)}{SUFFIX}"
