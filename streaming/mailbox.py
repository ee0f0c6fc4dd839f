"""The bounce mailbox: each report becomes one event and, when it is for good, a suppression.

A maildir: reports lie in new/ and are moved to cur/ when they are dealt with. The order is people
store, log, move; after a crash in between the report is read again, which changes nothing, because
a suppression is idempotent and the event's id comes from the report.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipelines.campaigns.bundle import approved_keys
from pipelines.delivery.people import PeopleStore, Reason, Scope
from pipelines.engagement import bounces
from pipelines.engagement.events import Hit, Kind
from pipelines.errors import LettermillError
from pipelines.settings import Home, Settings
from streaming.log import LogWriter
from streaming.lookups import Lookups
from streaming.process import Stopping, watch_parent

PARTITION = "mailbox"
BATCH = 200
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Collected:
    """What one look into the mailbox found."""

    reports: int
    ignored: int


def folder(home: Home) -> Path:
    return home.sink / "bounces"


def collect(home: Home, people: PeopleStore, log: LogWriter) -> Collected:
    """Deal with what is new, a batch at most."""
    box = folder(home)
    paths = sorted((box / "new").glob("*"))[:BATCH]
    if not paths:
        return Collected(0, 0)
    lookups = Lookups(home)
    hits = [_deal_with(path, home, people, lookups) for path in paths]
    found = [hit.to_bytes() for hit in hits if hit is not None]
    if found:
        log.append(found)
    (box / "cur").mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.replace(box / "cur" / path.name)
    return Collected(len(found), len(paths) - len(found))


def _deal_with(path: Path, home: Home, people: PeopleStore, lookups: Lookups) -> Hit | None:
    report = bounces.read_report(path.read_bytes())
    if report is None:
        return None
    token = bounces.recipient(report, approved_keys(home.approvals), home.key("links"))
    if token is None:
        return None
    # When the file came, not when it is read: reading it again must say the same.
    at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    if report.is_hard:
        lookups.suppress(people, token, reason=Reason.HARD_BOUNCE, scope=Scope.ALL, at=at)
    return Hit(
        kind=Kind.BOUNCE,
        at=at,
        campaign=token.campaign,
        contact_id=token.contact_id,
        # A message bounces once: a second report of it, however worded, is the same event.
        mark="hard" if report.is_hard else "soft",
        detail=f"{'hard' if report.is_hard else 'soft'} {report.status}".strip(),
        method="MAIL",
    )


def run(home: Home, *, stopping: Stopping, until_empty: bool = False) -> None:
    """Look into the mailbox until stopped, or until nothing new is there."""
    people = PeopleStore(home.people)
    with LogWriter(home.event_log, PARTITION) as log:
        while not stopping.is_asked:
            found = collect(home, people, log)
            if found == Collected(0, 0) and (until_empty or stopping.wait(POLL_SECONDS)):
                return


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m streaming.mailbox", description=__doc__)
    arguments.add_argument("--with-parent", action="store_true", help="end with the parent process")
    arguments.add_argument("--until-empty", action="store_true", help="end when nothing is new")
    chosen = arguments.parse_args()
    stopping = Stopping()
    stopping.on_signals()
    if chosen.with_parent:
        watch_parent(stopping.ask)
    try:
        home = Home(Settings.load().home)
        home.identity()
        run(home, stopping=stopping, until_empty=chosen.until_empty)
    except LettermillError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
