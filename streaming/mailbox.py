"""The bounce mailbox: each report becomes one event and, when nobody has the address, a suppression.

A maildir: reports lie in new/ and are moved to cur/ when they are dealt with. The order is people
store, log, move; after a crash in between the report is read again, which changes nothing, because
a suppression is idempotent and the event's id comes from the report.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipelines.campaigns.bundle import approved_keys
from pipelines.delivery.people import PeopleStore, Reason, Scope
from pipelines.engagement import bounces
from pipelines.engagement.events import Hit, Kind
from pipelines.message.tokens import Token
from pipelines.settings import Home
from streaming import process
from streaming.log import LogWriter
from streaming.lookups import Lookups
from streaming.process import Stopping

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
    if report.is_delivered:
        said = f"delivered {report.status}".strip()
        return _hit(Kind.DELIVERY, at, token, mark="delivered", detail=said)
    word = "hard" if report.is_hard else "soft"
    # A message bounces once: a second report of it, however worded, is the same event.
    return _hit(Kind.BOUNCE, at, token, mark=word, detail=f"{word} {report.status}".strip())


def _hit(kind: Kind, at: datetime, token: Token, *, mark: str, detail: str) -> Hit:
    return Hit(
        kind=kind,
        at=at,
        campaign=token.campaign,
        contact_id=token.contact_id,
        mark=mark,
        detail=detail,
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
    def serve(home: Home, stopping: Stopping, until: bool) -> None:
        run(home, stopping=stopping, until_empty=until)

    return process.main(
        "streaming.mailbox", __doc__, ("--until-empty", "end when nothing is new"), serve
    )


if __name__ == "__main__":
    sys.exit(main())
