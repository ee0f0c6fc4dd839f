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
    """One thing every message is looked at for: what it is about and how it is mended.

    may_be_allowed  whether a campaign may say why it is all right there; never what the law asks
                    for, what deceives or harms a reader, or what cannot work for anybody
    """

    name: str
    severity: Severity
    about: str
    fix: str
    may_be_allowed: bool = True

    def found(self, where: str, what: str, *, fix: str = "") -> Finding:
        return Finding(self, where, what, fix or self.fix)


@dataclass(frozen=True)
class Finding:
    """One rule that one message breaks: where, what is the matter, and what to do.

    allowed  why the campaign's people say it is all right; empty where they do not
    """

    rule: Rule
    where: str
    what: str
    fix: str
    allowed: str = ""

    @property
    def is_error(self) -> bool:
        return self.rule.severity is Severity.ERROR and not self.allowed

    def line(self) -> str:
        """The finding in one line of Markdown."""
        then = f"allowed: {self.allowed}" if self.allowed else self.fix
        told = f"{self.rule.severity}, `{self.rule.name}`: **{self.where}** {self.what}"
        return f"{told} — {then}"

    def problem(self) -> Problem:
        return Problem(self.where, self.what)
