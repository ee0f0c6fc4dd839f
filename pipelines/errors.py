"""The errors a user can meet, and how each is worded.

LettermillError                 what happened, every problem with its place, what to do next
├── SettingInvalid              an environment variable or option that cannot be used
├── HomeInvalid                 no home, a foreign one, or one from another kind of use
├── TableMissing                a table, version or column that is not in the lake
├── SourceInvalid               assets/sources/<name>.yaml
├── ExportMissing               the file a source points at
├── ExpectationsFailed          a candidate table that must not be written
├── SegmentInvalid              sql/segments/<name>.sql, before it runs
├── SegmentFailed               the same, while it runs: limits, wrong columns, unknown contacts
├── CampaignInvalid             assets/campaigns/<slug>/campaign.yaml
├── TemplateInvalid             the message of a campaign, a brand or a block
├── SendHeld                    a send that must not begin: not approved, overdue, paused
├── LedgerRefused               a ledger that is missing, older, foreign or held by another run
├── RelayUnavailable            no SMTP server to talk to
└── StreamInvalid               the event log or the flow's position in it

Refused and Deferred are not errors of the user's: they are what became of one recipient.

Refused(Exception)              permanent; this recipient gets nothing, now or later
Deferred(Exception)             temporary; may be tried again

Messages name contact ids, files, lines and settings; never an address or a secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, in the reader's own words, and what is the matter with it."""

    where: str
    what: str

    def line(self, width: int) -> str:
        return f"  {self.where:<{width}}   {self.what}"


class LettermillError(Exception):
    """What happened, where, and what to do next. Every subclass is worded the same way."""

    def __init__(self, what: str, problems: Iterable[Problem] = (), *, do: str = "") -> None:
        self.what = what
        self.problems = tuple(problems)
        self.do = do
        super().__init__(str(self))

    def __str__(self) -> str:
        width = max((len(problem.where) for problem in self.problems), default=0)
        lines = [f"{type(self).__name__}: {self.what}"]
        lines += [problem.line(width) for problem in self.problems]
        if self.do:
            lines.append(self.do)
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders; the default would pass only the rendered text.
        return (_rebuild, (type(self), self.what, self.problems, self.do))


def _rebuild(
    kind: type[LettermillError], what: str, problems: tuple[Problem, ...], do: str
) -> LettermillError:
    error = kind.__new__(kind)
    LettermillError.__init__(error, what, problems, do=do)
    return error


class SettingInvalid(LettermillError):
    """An environment variable or option that cannot be used."""


class HomeInvalid(LettermillError):
    """No home, a foreign one, or one made for another kind of use."""


class TableMissing(LettermillError):
    """A table, version or column that is not in the lake."""


class SourceInvalid(LettermillError):
    """A source file, assets/sources/<name>.yaml, that cannot be used."""


class ExportMissing(LettermillError):
    """The export a source points at is not there."""


class ExpectationsFailed(LettermillError):
    """A candidate table failed a blocking expectation; nothing was written."""


class SegmentInvalid(LettermillError):
    """A segment file that cannot be run as it stands."""


class SegmentFailed(LettermillError):
    """A segment whose run broke a limit or returned what a segment must not."""


class CampaignInvalid(LettermillError):
    """A campaign folder that cannot be used as it stands."""


class TemplateInvalid(LettermillError):
    """A message, brand or block that cannot be compiled."""


class SendHeld(LettermillError):
    """A send that must not begin, with the reason."""


class LedgerRefused(LettermillError):
    """A ledger that is missing, older than the lake knows, foreign, or held by another run."""


class RelayUnavailable(LettermillError):
    """No SMTP server answers where the settings say one does."""


class StreamInvalid(LettermillError):
    """The event log, or the flow's position in it, cannot be trusted."""


class Refused(Exception):
    """Permanent: this recipient gets nothing from this attempt or a later one."""


class Deferred(Exception):
    """Temporary: this recipient may be tried again."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing when no known name is near."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
