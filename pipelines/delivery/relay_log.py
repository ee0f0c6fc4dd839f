"""What a relay's own log says of messages, by their Message-ID: Postfix's, as syslog or itself writes it.

Pure, but for reading the files. Strangers put words into such a log, so a line counts only as a whole: the
program that wrote it, a queue id, and what that program says. Nothing of a line is kept but times.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from pipelines.errors import Problem, SettingInvalid

LONGEST_LINE = 8_192
# Between one file's end and the next one's begin, and after a message: longer, and lines may be missing.
LAG = timedelta(minutes=5)
LINE = re.compile(
    r"(?P<at>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|[+-]\d\d:?\d\d)) "
    r"\S+ postfix[\w.-]*/(?:[\w-]+/)*(?P<program>[\w-]+)\[\d+\]: (?P<said>.*)"
)
QUEUED = re.compile(r"(?P<queue>[0-9A-Za-z]{5,20}): (?P<said>.*)")
# Those who carry a message on: it was taken over, whatever became of it afterwards.
CARRIERS = frozenset({"smtp", "lmtp", "local", "virtual", "pipe", "error", "discard"})


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass
class RelayLog:
    """What some log files say.

    named     Message-ID → when it was first seen
    accepted  of those, what the relay took over
    spans     the first and the last time of each file
    is_zoned  whether it is known in which zone its times are
    """

    named: dict[str, datetime] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    spans: list[tuple[datetime, datetime]] = field(default_factory=list)
    is_zoned: bool = True

    def covers(self, first: datetime, last: datetime) -> bool:
        """Whether the files reach from one time to another without a hole."""
        reached = None
        for begin, end in sorted(self.spans):
            if reached is None or begin - reached > LAG:
                if begin > first:
                    return False
                reached = end
            reached = max(reached, end)
            if reached >= last:
                return True
        return False


@dataclass(frozen=True)
class Dating:
    """How the times of a log are read.

    zone  of times that name none, as syslog's; UTC when nobody said
    now   the year of times that name none is the latest that is not after it
    """

    now: datetime
    zone: tzinfo | None = None

    def at(self, text: str) -> datetime | None:
        try:
            if text[0].isdigit():
                return datetime.fromisoformat(text).astimezone(UTC)
            month, day = MONTHS.index(text[:3]) + 1, int(text[4:6])
            hour, minute, second = (int(part) for part in text[7:].split(":"))
            for year in (self.now.year, self.now.year - 1):
                at = datetime(year, month, day, hour, minute, second, tzinfo=self.zone or UTC)
                if at <= self.now + timedelta(days=1):
                    return at.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        return None


def read_log(paths: Iterable[Path], wanted: Iterable[str], dating: Dating) -> RelayLog:
    """What the files say of the wanted Message-IDs. Raises SettingInvalid for one that cannot be read."""
    log, names, queues = RelayLog(), frozenset(wanted), dict[str, str]()
    begins = [(next(_dated(path, dating), None), path) for path in paths]
    for begin, path in sorted((begin[0], path) for begin, path in begins if begin is not None):
        end = begin
        for at, line in _dated(path, dating):
            end = max(end, at)
            log.is_zoned &= dating.zone is not None or line["at"][0].isdigit()
            if (found := QUEUED.fullmatch(line["said"])) is not None:
                _hear(log, queues, names, at=at, program=line["program"], line=found)
        log.spans.append((begin, end))
    return log


def _hear(
    log: RelayLog,
    queues: dict[str, str],
    names: frozenset[str],
    *,
    at: datetime,
    program: str,
    line: re.Match[str],
) -> None:
    """Take notice of one line about the message in a queue."""
    queue, said = line["queue"], line["said"]
    if program == "cleanup" and said.startswith("message-id="):
        name = said.removeprefix("message-id=")
        # A queue id is used again for another message.
        queues.pop(queue, None)
        if name in names:
            queues[queue] = name
            log.named.setdefault(name, at)
    elif queue in queues and _is_taken(program, said):
        log.accepted.add(queues[queue])


def _is_taken(program: str, said: str) -> bool:
    """Whether only a message that the relay has taken over is spoken of so."""
    if program == "qmgr":
        return said == "removed" or (said.startswith("from=<") and said.endswith("(queue active)"))
    return program in CARRIERS and said.startswith("to=<") and " status=" in said


def _dated(path: Path, dating: Dating) -> Iterator[tuple[datetime, re.Match[str]]]:
    """Each of Postfix's lines, and when it was written."""
    for line in _lines(path):
        found = LINE.fullmatch(line)
        if found is not None and (at := dating.at(found["at"])) is not None:
            yield at, found


def _lines(path: Path) -> Iterator[str]:
    """Lines of a usual length; what follows the length of another is no line of its own."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            is_whole = True
            while raw := file.readline(LONGEST_LINE):
                begins, is_whole = is_whole, raw.endswith(b"\n")
                if begins and is_whole:
                    yield raw.rstrip(b"\r\n").decode(errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        problem = Problem("--relay-log", f"{path.name}: {error}")
        do = "Nobody was settled by it. Name a log that can be read"
        raise SettingInvalid("a relay's log cannot be read", [problem], do=do) from None
