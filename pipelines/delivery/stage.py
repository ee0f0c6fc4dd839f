"""A home for a rehearsal: what a send reads is the real one's, what it writes is thrown away.

Tables of the lake are lent, small stores are copied, the ledger with them. Nothing done here reaches the home
it was made from.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from pipelines.lake import Lake
from pipelines.schema import AUDIENCE, LEDGER_HEADS, SENDS
from pipelines.settings import Home
from pipelines.workspace import Workspace

# A send writes these; a rehearsal has its own.
OWN = frozenset({AUDIENCE.name, LEDGER_HEADS.name, SENDS.name})


@contextmanager
def staged(key: str, workspace: Workspace) -> Iterator[Workspace]:
    """The workspace of a rehearsal of one campaign, for as long as the block."""
    real = workspace.home
    with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=real.root) as folder:
        stage = Home(Path(folder))
        for lent in (real.keys, real.approvals):
            if lent.exists():
                (stage.root / lent.name).symlink_to(lent)
        for store in (real.people, real.coupons, real.ledgers / f"{key}.sqlite"):
            _copy(store, stage.root / store.relative_to(real.root))
        marks = real.ledgers / f"{key}.marks"
        if marks.exists():
            shutil.copyfile(marks, stage.ledgers / marks.name)
        _lend_tables(real.lake, stage.lake)
        settings = workspace.settings.model_copy(update={"home": stage.root})
        yield replace(workspace, settings=settings, home=stage, lake=Lake(stage.lake))


def _copy(store: Path, to: Path) -> None:
    """A store as it is at one moment, though others write it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    if not store.exists():
        return
    uri = f"{store.as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as real, closing(sqlite3.connect(to)) as copy:
        real.backup(copy)


def _lend_tables(lake: Path, to: Path) -> None:
    for log in lake.glob("*/*/_delta_log"):
        table = log.parent
        if f"{table.parent.name}.{table.name}" not in OWN:
            (to / table.parent.name).mkdir(parents=True, exist_ok=True)
            (to / table.parent.name / table.name).symlink_to(table)
