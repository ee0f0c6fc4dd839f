"""A SQL file of the project: a header in a comment, then one SELECT.

A segment returns contacts, one row each; a mart is a table others read. Knows how to read one file
and what is wrong with it; what files mean to each other is project.py's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from string import Template
from typing import ClassVar, Self

from pipelines.errors import Problem, SegmentInvalid, did_you_mean
from pipelines.schema import TABLES
from pipelines.segments.header import (
    MUST_BE_NAMED,
    NAME,
    Checks,
    Header,
    Status,
    Value,
    read_header,
)
from pipelines.segments.statement import AS_OF, bind, read_statement

__all__ = ["Header", "Mart", "Segment", "SqlFile", "Status", "parse"]


@dataclass(frozen=True)
class SqlFile:
    """One readable file. `inputs` are the tables it reads, as `layer.table`."""

    layer: ClassVar[str]
    folder: ClassVar[Path]
    # Tables that are there only while it runs, named without a schema.
    passing: ClassVar[tuple[str, ...]] = ()
    is_checked: ClassVar[bool] = False

    name: str
    text: str
    sql: str
    header: Header
    path: Path
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    code_version: str
    warnings: tuple[Problem, ...] = ()

    @property
    def table(self) -> str:
        return f"{self.layer}.{self.name}"

    @property
    def uses_as_of(self) -> bool:
        return AS_OF in self.parameters

    @property
    def description(self) -> str:
        """The header's description, with each `$parameter` as its default."""
        declared = self.header.parameters
        return Template(self.header.description).safe_substitute(
            {name: each.default for name, each in declared.items()}
        )

    def values(self, given: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """Every declared parameter with its value. Raises SegmentInvalid for what cannot be one."""
        given, declared = given or {}, self.header.parameters
        problems = [
            Problem(name, f"is no parameter of {self.name}.{did_you_mean(name, declared)}")
            for name in given
            if name not in declared
        ]
        problems += [
            Problem(name, f"must be {declared[name].kind}, not '{value}'")
            for name, value in given.items()
            if name in declared and not declared[name].accepts(value)
        ]
        if problems:
            raise SegmentInvalid(f"{self.path} cannot be run with these parameters", problems)
        return {name: each.taken(given.get(name, each.default)) for name, each in declared.items()}

    def bound(self, as_of: datetime, given: Mapping[str, Value] | None = None) -> str:
        """Its SELECT with the time and every parameter put in."""
        try:
            return bind(self.sql, {AS_OF: as_of, **self.values(given)})
        except ValueError as error:
            raise SegmentInvalid(
                f"{self.path} cannot be run", [Problem("parameters", str(error))]
            ) from None

    @classmethod
    def checked_by(cls, name: str) -> str:
        """The command that says what is wrong with such a file."""
        return f"{cls.layer.removesuffix('s')} check {name}"

    @classmethod
    def misnamed(cls, name: str) -> list[Problem]:
        """What is wrong with the name of the file, which is that of its table."""
        if f"{cls.layer}.{name}" in TABLES:
            return [Problem(name, "is a table that Lettermill keeps; name the file otherwise")]
        if not re.fullmatch(NAME, name):
            return [Problem(name, f"{MUST_BE_NAMED}; rename the file")]
        return []

    @classmethod
    def parse(cls, name: str, text: str, path: Path) -> Self:
        """Read one file from its text. Raises SegmentInvalid with every problem found."""
        problems = cls.misnamed(name)
        header, start = read_header(text, problems)
        if header is not None and header.checks != Checks() and not cls.is_checked:
            problems.append(
                Problem("checks", "are for segments; cases say what a mart must return")
            )
        # What an unreadable header declares is not known.
        declared = header.parameters if header else None
        statement = read_statement(text, start, declared, problems, passing=cls.passing)
        if problems or header is None or statement is None:
            count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
            do = f"Mend the file, then run: lettermill {cls.checked_by(name)}"
            raise SegmentInvalid(f"{path} has {count}", problems, do=do)
        defaults = repr(sorted((n, p.default) for n, p in header.parameters.items()))
        version = hashlib.sha256(f"{statement.code_hash}{defaults}".encode()).hexdigest()[:16]
        return cls(
            name=name,
            text=text,
            sql=statement.sql,
            header=header,
            path=path,
            inputs=statement.inputs,
            parameters=statement.parameters,
            code_version=version,
            warnings=statement.warnings,
        )

    @classmethod
    def read(cls, path: Path, project: Path | None = None) -> Self:
        """Read one file; its path is shown as it stands in the project."""
        shown = path.relative_to(project) if project else path
        try:
            text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
        except (OSError, UnicodeDecodeError) as error:
            told = [Problem(str(shown), str(error))]
            raise SegmentInvalid(f"{shown} cannot be read", told) from None
        return cls.parse(path.stem, text, shown)


class Segment(SqlFile):
    """Who is interesting: contact_id, one row each, and columns for personalisation."""

    layer = "segments"
    is_checked = True
    folder = Path("sql/segments")


class Mart(SqlFile):
    """A documented table that segments and people read, made from core tables."""

    layer = "marts"
    folder = Path("sql/marts")


class Assertion(SqlFile):
    """A shared check: the rows of `members`, the candidate members, that must not be."""

    layer = "checks"
    folder = Path("sql/checks")
    passing = ("members",)

    @classmethod
    def checked_by(cls, name: str) -> str:  # noqa: ARG003 - with the segments that use it
        return "segment check"


def parse(name: str, text: str, path: Path) -> Segment:
    """Read one segment from its text."""
    return Segment.parse(name, text, path)
