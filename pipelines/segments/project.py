"""What the SQL files of a project are to each other: which there are, and which stand on which.

A file that reads another one runs that file's SQL at the same time, not its last result, so a
segment is exact for any `$as_of` and a campaign needs nothing but the approved texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipelines.errors import Problem, SegmentInvalid, did_you_mean
from pipelines.schema import TABLES
from pipelines.segments.segment import Assertion, Mart, Segment, SqlFile, Status

KINDS: tuple[type[SqlFile], ...] = (Segment, Mart, Assertion)
Kind = TypeVar("Kind", bound=SqlFile)
# Where a remark on missing cases stands: a live file without one is not ready.
CASES = "cases"


@dataclass(frozen=True)
class SqlFiles:
    """SQL files by table name, such as `segments.vip`; one that cannot be read is its error.

    stored  names that are read as tables of the lake all the same, as a case gives them
    """

    by_table: Mapping[str, SqlFile | SegmentInvalid]
    stored: frozenset[str] = frozenset()

    def behind(self, *files: SqlFile) -> tuple[SqlFile, ...]:
        """The files these stand on, each after those that it stands on itself.

        Raises SegmentInvalid when one is missing or unreadable, or when they go round in a circle.
        """
        found: dict[str, SqlFile] = {}
        for file in files:
            self._visit(file, (file.table,), found)
        return tuple(found.values())

    def stack(self, file: SqlFile) -> tuple[SqlFile, ...]:
        """All that running a file runs: what it stands on, itself, and its shared checks."""
        asserted = [self.assertion(each) for each in file.header.checks.no_rows]
        return (*self.behind(file, *asserted), file, *asserted)

    def code_version(self, file: SqlFile) -> str:
        """One hash of a file, of all it stands on and of its checks: what it means now."""
        versions = [each.code_version for each in self.stack(file)]
        versions.append(file.header.checks.model_dump_json())
        return hashlib.sha256(" ".join(versions).encode()).hexdigest()[:16]

    def asks_the_time(self, file: SqlFile) -> bool:
        """Whether it, or what runs with it, uses `$as_of`: its rows change while nothing else does."""
        return any(each.uses_as_of for each in self.stack(file))

    def tables(self, files: Iterable[SqlFile]) -> list[str]:
        """The tables of the lake that these files read."""
        return sorted({n for file in files for n in file.inputs if self._is_table(n)})

    def needed_by(self, names: Iterable[str]) -> list[SqlFile]:
        """The readable segments of these names, all they stand on, and their shared checks."""
        found: dict[str, SqlFile] = {}
        for name in names:
            entry = self.by_table.get(f"{Segment.layer}.{name}")
            if isinstance(entry, SqlFile):
                found |= {each.table: each for each in self.stack(entry)}
        return list(found.values())

    def assertion(self, name: str) -> Assertion:
        """A shared check by name. Raises SegmentInvalid when it is missing or cannot be read."""
        entry = self.by_table.get(f"checks.{name}")
        if isinstance(entry, Assertion):
            return entry
        told = "cannot be read" if entry else self._missing(f"checks.{name}")
        more = entry.problems if isinstance(entry, SegmentInvalid) else ()
        problems = [Problem("checks.no_rows", told), *more]
        raise SegmentInvalid(f"sql/checks/{name}.sql cannot be used", problems)

    def _is_table(self, name: str) -> bool:
        return name in TABLES or name in self.stored

    def get(self, kind: type[SqlFile], name: str) -> SqlFile | SegmentInvalid:
        """One file by kind and name. Raises SegmentInvalid, with the name that may have been meant."""
        entry = self.by_table.get(f"{kind.layer}.{name}")
        if entry is None:
            raise _nowhere(kind, name, (t.partition(".")[2] for t in self.by_table))
        return entry

    def read_by(self, table: str) -> list[SqlFile]:
        """The readable files that read a table directly."""
        return [
            each
            for each in self.by_table.values()
            if isinstance(each, SqlFile) and table in each.inputs
        ]

    def _visit(self, file: SqlFile, path: tuple[str, ...], found: dict[str, SqlFile]) -> None:
        for name in file.inputs:
            if self._is_table(name) or name in found:
                continue
            if name in path:
                circle = " → ".join([*path[path.index(name) :], name])
                told = [Problem(name, f"is built on itself: {circle}")]
                raise SegmentInvalid(f"{file.path} cannot be run", told, do=_mend(file))
            entry = self.by_table.get(name)
            if entry is None:
                told = [Problem(_line(file, name), self._missing(name, but=path))]
                raise SegmentInvalid(f"{file.path} cannot be run", told, do=_mend(file))
            if isinstance(entry, SegmentInvalid):
                told = [Problem(_line(file, name), f"reads {name}, which cannot be read")]
                raise SegmentInvalid(
                    f"{file.path} cannot be run", [*told, *entry.problems], do=entry.do
                )
            self._visit(entry, (*path, name), found)
            found[name] = entry

    def _missing(self, name: str, *, but: Collection[str] = ()) -> str:
        folder, _, stem = name.partition(".")
        known = [
            table.removeprefix(f"{folder}.")
            for table in self.by_table
            if table.startswith(f"{folder}.") and table not in but
        ]
        return f"reads {name}, and there is no sql/{folder}/{stem}.sql.{did_you_mean(stem, known)}"


def sql_files(project: Path) -> SqlFiles:
    """Every segment and mart of a project."""
    found: dict[str, SqlFile | SegmentInvalid] = {}
    for kind in KINDS:
        found |= {f"{kind.layer}.{name}": entry for name, entry in _read_all(kind, project).items()}
    return SqlFiles(found)


def parsed(texts: Mapping[str, str]) -> SqlFiles:
    """Files from their texts by table name: what an approval keeps. A bare name is a segment's."""
    found: dict[str, SqlFile | SegmentInvalid] = {}
    for given, text in texts.items():
        table = given if "." in given else f"{Segment.layer}.{given}"
        layer, _, name = table.partition(".")
        kind = next(each for each in KINDS if each.layer == layer)
        try:
            found[table] = kind.parse(name, text, kind.folder / f"{name}.sql")
        except SegmentInvalid as invalid:
            found[table] = invalid
    return SqlFiles(found)


def discover(project: Path) -> dict[str, Segment | SegmentInvalid]:
    """Every segment file of a project by name; one that cannot be read is the error it raised."""
    return _read_all(Segment, project)


def discover_marts(project: Path) -> dict[str, Mart | SegmentInvalid]:
    """Every mart of a project by name, likewise."""
    return _read_all(Mart, project)


def load(project: Path, name: str) -> Segment:
    """One segment by name. Raises SegmentInvalid, with the name that may have been meant."""
    return _load(Segment, project, name)


def load_mart(project: Path, name: str) -> Mart:
    """One mart by name."""
    return _load(Mart, project, name)


def remarks(file: SqlFile, files: SqlFiles, *, cases: int) -> list[Problem]:
    """What a reviewer would say of a readable file; none of it stops a run. cases: how many it has."""
    said = list(file.warnings)
    if file.header.status is Status.LIVE and not cases:
        told = f"is live and has no case under tests/sql/{file.layer}/{file.name}/"
        said.append(Problem(CASES, told))
    for name in file.inputs:
        entry = files.by_table.get(name)
        if isinstance(entry, SegmentInvalid) or entry is None:
            continue
        if entry.header.status is Status.DEPRECATED:
            by = entry.header.replaced_by
            told = f"reads {name}, which is deprecated" + (f"; read {by} instead" if by else "")
            said.append(Problem(_line(file, name), told))
        if entry.header.status is Status.DRAFT and file.header.status is Status.LIVE:
            said.append(Problem(_line(file, name), f"is live and reads {name}, which is a draft"))
    replaced = file.header.replaced_by
    if replaced and f"{file.layer}.{replaced}" not in files.by_table:
        said.append(Problem("replaced_by", f"there is no {file.layer}.{replaced}"))
    return said


def _read_all(kind: type[Kind], project: Path) -> dict[str, Kind | SegmentInvalid]:
    found: dict[str, Kind | SegmentInvalid] = {}
    for path in sorted((project / kind.folder).glob("*.sql")):
        try:
            found[path.stem] = kind.read(path, project)
        except SegmentInvalid as invalid:
            found[path.stem] = invalid
    return found


def _load(kind: type[Kind], project: Path, name: str) -> Kind:
    path = project / kind.folder / f"{name}.sql"
    if path.parent == project / kind.folder and path.is_file():
        return kind.read(path, project)
    raise _nowhere(kind, name, (other.stem for other in path.parent.glob("*.sql")))


def _nowhere(kind: type[SqlFile], name: str, known: Iterable[str]) -> SegmentInvalid:
    noun = kind.layer.removesuffix("s")
    do = f"See which there are: lettermill {noun} list"
    return SegmentInvalid(f"there is no {noun} '{name}'.{did_you_mean(name, known)}", do=do)


def _line(file: SqlFile, name: str) -> str:
    """The line of the file on which a table is first named."""
    lines = file.sql.splitlines()
    at = next((n for n, line in enumerate(lines, 1) if name in line.replace('"', "")), None)
    return f"line {at}" if at else name


def _mend(file: SqlFile) -> str:
    return f"Mend it, then run: lettermill {file.checked_by(file.name)}"
