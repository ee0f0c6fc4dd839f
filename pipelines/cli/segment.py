"""`lettermill segment …`: write, check, test and run segments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table as Grid

from pipelines.campaigns.uses import campaigns_using
from pipelines.cli.output import Workspace, console, emit_json, moment_of, out, workspace
from pipelines.cli.segment_preview import pins_at, show_gone
from pipelines.cli.sql_files import check_files, run_cases
from pipelines.errors import LettermillError, Problem, SegmentInvalid, did_you_mean
from pipelines.segments.checks import GROWTH
from pipelines.segments.history import sizes
from pipelines.segments.members import is_current, judged, write
from pipelines.segments.project import SqlFiles, discover, load, sql_files
from pipelines.segments.run import Members
from pipelines.segments.run import run as evaluate
from pipelines.segments.segment import Segment, Status
from pipelines.segments.skeleton import CASE, SQL
from pipelines.settings import Settings

app = typer.Typer(help="Segments: one SQL file each.", no_args_is_help=True)
AsOf = Annotated[str | None, typer.Option(help="The time $as_of stands for; now otherwise.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_segments(as_json: Json = False) -> None:
    """List the segments of the project with what they are for."""
    found = discover(Settings.load().project)
    if as_json:
        emit_json([_listed(name, entry) for name, entry in found.items()])
        return
    grid = Grid("segment", "status", "owner", "description", box=None, pad_edge=False)
    for name, entry in found.items():
        told = _listed(name, entry)
        status = "[red]unreadable[/]" if told["status"] == "unreadable" else told["status"]
        grid.add_row(name, status, escape(told["owner"]), escape(told["description"]))
    out.print(grid)


def _listed(name: str, entry: Segment | SegmentInvalid) -> dict[str, str]:
    if isinstance(entry, SegmentInvalid):
        told = f"lettermill segment check {name}"
        return {"segment": name, "status": "unreadable", "owner": "", "description": told}
    header = entry.header
    return {
        "segment": name,
        "status": header.status.value,
        "owner": header.owner,
        "description": entry.description,
    }


@app.command()
def new(
    name: str, owner: Annotated[str, typer.Option(help="Who answers for it.")] = "team:analytics"
) -> None:
    """Write a draft of a segment and of its first case, ready to be filled in."""
    project = Settings.load().project
    if problems := Segment.misnamed(name):
        raise SegmentInvalid("that is no name for a segment", problems)
    path = project / Segment.folder / f"{name}.sql"
    case = project / "tests/sql/segments" / name / "first.yaml"
    for file, text in ((path, SQL.format(owner=owner)), (case, CASE)):
        if file.exists():
            do = f"Look at it: lettermill segment check {name}"
            raise SegmentInvalid(f"{file.relative_to(project)} is there already", do=do)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        console.print(f"[green]✓[/] {file.relative_to(project)}")
    console.print(f"  Next: write the SELECT, then lettermill segment check {name}")


@app.command()
def check(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """Read one segment, or all, bind it to the lake's tables, and say everything that is wrong."""
    project = Settings.load().project
    if name is not None:
        try:
            load(project, name)
        except SegmentInvalid as invalid:
            used = _used(name, project)
            if not used or (project / Segment.folder / f"{name}.sql").exists():
                raise
            raise SegmentInvalid(invalid.what, used, do=invalid.do) from None
    check_files(Segment, name, missing=_missing(project) if name is None else [])


def _used(name: str, project: Path) -> list[Problem]:
    """Who needs a segment: campaigns, and files that read it."""
    readers = sql_files(project).read_by(f"{Segment.layer}.{name}")
    return [
        *(Problem(each, "names it") for each in campaigns_using(project).get(name, [])),
        *(Problem(str(each.path), "reads it") for each in readers),
    ]


def _missing(project: Path) -> list[Problem]:
    """Segments that campaigns name and there are not: removed, or named otherwise now."""
    known = discover(project)
    return [
        Problem(
            name, f"is used by {', '.join(users)}, and is not there.{did_you_mean(name, known)}"
        )
        for name, users in campaigns_using(project).items()
        if name not in known
    ]


@app.command()
def run(
    name: Annotated[str | None, typer.Argument(help="All but drafts, without a name.")] = None,
    as_of: AsOf = None,
    force: Annotated[bool, typer.Option(help="Also when nothing it reads has changed.")] = False,
    accept_growth: Annotated[
        bool, typer.Option("--accept-growth", help="Keep it although its size moved too far.")
    ] = False,
) -> None:
    """Evaluate a segment and keep its members; one whose answer cannot have changed is left alone."""
    space = workspace()
    files = sql_files(space.project)
    moment = moment_of(as_of, space)
    chosen = {name: load(space.project, name)} if name else _live(space.project)
    failed = 0
    for each, segment in chosen.items():
        try:
            if isinstance(segment, SegmentInvalid):
                raise segment
            if force or not is_current(segment, files, space.lake):
                pins, gone = pins_at(segment, files, space, as_of)
                show_gone(gone)
                members = evaluate(
                    segment,
                    lake=space.lake,
                    as_of=moment,
                    files=files,
                    pins=pins,
                    clock=space.clock,
                )
                _keep(segment, members, files, space, accept_growth=accept_growth)
                continue
            size = sizes(segment.name, space.lake)[-1]
            told = f"{size:,} contacts, nothing it reads has changed"
            console.print(f"[dim]–[/] {segment.name}: {told}")
        except LettermillError as error:
            if name:
                raise
            failed += 1
            console.print(f"[red]✗[/] {each}")
            console.print(str(error), markup=False)
    if failed:
        console.print(f"[red]✗[/] {failed} of {len(chosen)} failed; their last good members stay")
        raise typer.Exit(1)


def _keep(
    segment: Segment, members: Members, files: SqlFiles, space: Workspace, *, accept_growth: bool
) -> None:
    outcomes = judged(segment, members, space.lake, now=space.clock.now())
    if accept_growth:
        outcomes = tuple(
            replace(each, blocks=False) if each.name == GROWTH else each for each in outcomes
        )
    change = write(segment, members, space.lake, files=files, outcomes=outcomes)
    moved = f"+{change.joined:,} −{change.left:,}"
    console.print(f"[green]✓[/] {segment.name}: {change.size:,} contacts, {moved}")
    for each in outcomes:
        if not each.passed:
            console.print("  [yellow]![/]", escape(f"{each.name}: {each.told}"))


def _live(project: Path) -> dict[str, Segment | SegmentInvalid]:
    """All but drafts, and those nobody can read, which may be live."""
    return {
        name: entry
        for name, entry in discover(project).items()
        if isinstance(entry, SegmentInvalid) or entry.header.status is not Status.DRAFT
    }


@app.command("test")
def run_segment_cases(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """Run the cases of one segment, or of all."""
    run_cases(Segment, name)


@app.command()
def catalogue() -> None:
    """Write the catalogue of segments and marts: a page that opens without a server."""
    # Altair takes most of a second to import; no other command of this noun needs it.
    from pipelines.reporting.catalogue import gather
    from pipelines.reporting.catalogue_page import FILE, catalogue_page

    space = workspace()
    page = space.home.reports / FILE
    page.write_text(catalogue_page(gather(space)), encoding="utf-8")
    console.print(f"[green]✓[/] {page}", markup=True)
