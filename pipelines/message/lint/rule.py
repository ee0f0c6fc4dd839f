"""What a lint rule is, and what it says of one message. Knows no rule."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipelines.errors import Problem


class Severity(StrEnum):
    """What follows from a finding: no approval, a word of warning, or a word."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Rule:
    """One thing every message is looked at for: what it is about and how it is mended."""

    name: str
    severity: Severity
    about: str
    fix: str

    def found(self, where: str, what: str, *, fix: str = "") -> Finding:
        return Finding(self, where, what, fix or self.fix)


@dataclass(frozen=True)
class Finding:
    """One rule that one message breaks: where, what is the matter, and what to do."""

    rule: Rule
    where: str
    what: str
    fix: str

    @property
    def is_error(self) -> bool:
        return self.rule.severity is Severity.ERROR

    def problem(self) -> Problem:
        return Problem(self.where, self.what)
