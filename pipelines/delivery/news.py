"""How a send that is under way comes along: for whoever waits for it, and for whoever asks beside it.

The parent of the workers writes it down now and then; a file that is older than its send means nothing.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.delivery.lock import is_held
from pipelines.delivery.states import State

SUFFIX = ".news"
ACCEPTED = State.ACCEPTED.value


class News(BaseModel):
    """Recipients settled in this run and before it, of how many; what stands in the way of more speed.

    settled       whom nobody is going to try again
    later         who is due later, or was put off: a later run has them
    per_second    outcomes in the last ten seconds
    limited_by    a limit of delivery.yaml, in words; '' when the relay or this machine is the limit
    states        of this run, how many came to which state of the ledger
    relays        how many of this run each relay was given
    destinations  states of this run, by destination
    """

    model_config = ConfigDict(frozen=True)

    settled: int
    before: int
    size: int
    seconds: float
    later: int = 0
    per_second: float = 0.0
    relay: str = ""
    limited_by: str = ""
    states: dict[str, int] = {}
    relays: dict[str, int] = {}
    destinations: dict[str, dict[str, int]] = {}

    @property
    def done(self) -> int:
        return self.settled + self.before

    @property
    def seconds_left(self) -> float | None:
        """Until this run has done what it can, at the speed of now; None while there is none."""
        left = max(self.size - self.done - self.later, 0)
        return left / self.per_second if self.per_second else None

    def __str__(self) -> str:
        later = f" ({self.later:,} later)" if self.later else ""
        told = f"{self.done:,} of {self.size:,}{later}, {self.per_second:,.0f} a second"
        if (left := self.seconds_left) is not None:
            told += f", {_shown(left)} left"
        told += f", limited by {self.limited_by or f'relay {self.relay} or this machine'}"
        return "; ".join([told, *(f"{count:,} {name}" for name, count in self.setbacks.items())])

    @property
    def setbacks(self) -> dict[str, int]:
        """How many of this run were not accepted, by state in words; the most first."""
        others = {name: count for name, count in self.states.items() if name != ACCEPTED}
        ordered = sorted(others.items(), key=lambda each: -each[1])
        return {name.replace("_", " "): count for name, count in ordered}

    def by_destination(self) -> list[tuple[str, int, dict[str, int]]]:
        """Each destination, how many of this run went there, and their states; the largest first."""
        found = [(name, sum(each.values()), each) for name, each in self.destinations.items()]
        return sorted(found, key=lambda each: -each[1])


def write(ledgers: Path, key: str, news: News) -> None:
    path = ledgers / f"{key}{SUFFIX}"
    part = path.with_name(path.name + ".part")
    part.write_text(news.model_dump_json(), encoding="utf-8")
    part.replace(path)


def read(ledgers: Path, key: str) -> News | None:
    """The news of a send that is under way now; None when none is, or it has none yet."""
    if not is_held(ledgers / f"{key}.lock"):
        return None
    try:
        return News.model_validate_json((ledgers / f"{key}{SUFFIX}").read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def forget(ledgers: Path, key: str) -> None:
    """Whatever an earlier send has left."""
    (ledgers / f"{key}{SUFFIX}").unlink(missing_ok=True)


def _shown(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{rest} s"
