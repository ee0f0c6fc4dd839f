"""The kinds of value a campaign file may hold, beyond text and numbers.

Knows how each is written by a person; nothing of what it is used for.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints

RECIPIENT = "recipient"

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
ContactField = Annotated[str, StringConstraints(pattern=r"^[a-z_]+(\.[A-Za-z0-9_]+)?$")]


def _reasoned(text: str) -> str:
    if len(re.findall(r"\w{2,}", text)) < FEWEST_WORDS:
        raise ValueError(f"say why in a sentence of {FEWEST_WORDS} words or more")
    return text


# A word alone is no reason: whoever approves reads it in place of the finding.
FEWEST_WORDS = 3
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=300), AfterValidator(_reasoned)
]


class Lint(BaseModel):
    """What lint may find in this campaign: rule → why that is all right here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow: dict[str, Reason] = {}


class IfPassed(StrEnum):
    """What becomes of recipients whose local send time has passed when the send begins."""

    SKIP = "skip"
    NEXT_DAY = "next_day"


class InDoubt(StrEnum):
    """What to do about mail nobody can prove was sent or not."""

    SKIP = "skip"
    ASK = "ask"
    RESEND = "resend"


NO_HOURS = "none"
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def hours_of(text: str) -> tuple[time, time] | None:
    """The first time and the one after the last of `21:00-08:00`; None for `none`. Raises ValueError."""
    if text == NO_HOURS:
        return None
    found = _HOURS.fullmatch(text)
    if found is None or found.group(1, 2) == found.group(3, 4):
        raise ValueError("are two times of the day that differ, such as 21:00-08:00, or 'none'")
    first, last = (time(int(found[at]), int(found[at + 1])) for at in (1, 3))
    return first, last


def _hours(text: str) -> str:
    hours_of(text)
    return text


def _duration(value: object) -> object:
    units = {"m": "minutes", "h": "hours", "d": "days"}
    if isinstance(value, str) and (match := re.fullmatch(r"(\d{1,5}) ?([mhd])", value)):
        return timedelta(**{units[match[2]]: int(match[1])})
    return value


def _zone(name: str) -> str:
    try:
        if name != RECIPIENT:
            ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is not an IANA time zone such as Europe/Paris, nor 'recipient'") from None
    return name


def _wall_clock(at: datetime) -> datetime:
    if at.tzinfo is not None:
        raise ValueError("must be a wall-clock time without an offset; time_zone says where")
    return at


def _moment(value: object) -> object:
    # A bare date means its first moment in UTC.
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time(), UTC)
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return value + "T00:00:00Z"
    return value


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("needs an offset, such as 2026-11-02T08:00:00Z")
    return at.astimezone(UTC)


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Hours = Annotated[str, AfterValidator(_hours)]
TimeZone = Annotated[str, AfterValidator(_zone)]
WallClock = Annotated[datetime, AfterValidator(_wall_clock)]
Moment = Annotated[datetime, BeforeValidator(_moment), AfterValidator(_utc)]
