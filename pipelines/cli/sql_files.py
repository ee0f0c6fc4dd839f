"""What `segment` and `mart` commands share: checking SQL files and running their cases."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.markup import escape

from pipelines.cli.output import console
from pipelines.errors import LettermillError, Problem, SegmentInvalid
from pipelines.segments.cases import case_files, outcome, read_case
from pipelines.segments.project import CASES, SqlFiles, remarks, sql_files
from pipelines.segments.run import declared_columns
from pipelines.segments.segment import SqlFile
from pipelines.settings import Settings


def check_files(kind: type[SqlFile], name: str | None, *, missing: Sequence[Problem] = ()) -> None:
    """Check one file of a kind, or all; exit with 1 when something is wrong."""
    project = Settings.load().project
    files = sql_files(project)
    wrong = len(missing)
    for problem in missing:
        console.print(f"[red]✗[/] {problem.where}")
        console.print(problem.line(0), markup=False)
    found = _of(kind, name, files)
    for stem, entry in found.items():
        told = problems_of(entry, files)
        said = (
            remarks(entry, files, cases=len(case_files(project, entry)))
            if isinstance(entry, SqlFile)
            else []
        )
        if told is not None:
            wrong += 1
            console.print(f"[red]✗[/] {stem}")
            console.print(str(told), markup=False)
        elif any(each.where == CASES for each in said):
            wrong += 1
            console.print(f"[red]✗[/] {stem}")
        elif said:
            console.print(f"[yellow]![/] {stem}")
        width = max((len(each.where) for each in said), default=0)
        for each in said:
            console.print(each.line(width), markup=False)
    if wrong:
        raise typer.Exit(1)
    console.print(f"[green]✓[/] {len(found)} of {len(found)} can be run")


def problems_of(entry: SqlFile | SegmentInvalid, files: SqlFiles) -> LettermillError | None:
    """What keeps a file from being run: as it reads, by what it stands on, and by its columns."""
    if isinstance(entry, SegmentInvalid):
        return entry
    try:
        declared_columns(entry, files)
    except LettermillError as invalid:
        return invalid
    return None


def run_cases(kind: type[SqlFile], name: str | None) -> None:
    """Run the cases of one file of a kind, or of all; exit with 1 when one fails."""
    project = Settings.load().project
    files = sql_files(project)
    passed = failed = 0
    for stem, entry in _of(kind, name, files).items():
        if isinstance(entry, SegmentInvalid):
            console.print(f"[red]✗[/] {stem}")
            console.print(str(entry), markup=False)
            failed += 1
            continue
        for path in case_files(project, entry):
            told = _case(entry, files, path)
            passed, failed = passed + (told is None), failed + (told is not None)
    if failed:
        console.print(f"[red]✗[/] {failed} of {passed + failed} failed")
        raise typer.Exit(1)
    if not passed:
        console.print("[yellow]![/] there is no case to run")
    else:
        console.print(f"[green]✓[/] {passed} cases")


def _case(file: SqlFile, files: SqlFiles, path: Path) -> str | None:
    shown = f"{file.name}/{path.stem}"
    with tempfile.TemporaryDirectory(prefix="lettermill-case-") as folder:
        try:
            case = read_case(path)
            told = outcome(file, files, case, Path(folder))
            shown += f": {case.description}"
        except LettermillError as error:
            told = str(error)
    mark = "[green]✓[/]" if told is None else "[red]✗[/]"
    console.print(f"{mark} {escape(shown)}")
    if told is not None:
        console.print(f"  {told}", markup=False)
    return told


def _of(
    kind: type[SqlFile], name: str | None, files: SqlFiles
) -> dict[str, SqlFile | SegmentInvalid]:
    if name is not None:
        return {name: files.get(kind, name)}
    found = ((table.partition("."), entry) for table, entry in files.by_table.items())
    return {name: entry for (layer, _, name), entry in found if layer == kind.layer}
