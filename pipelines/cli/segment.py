"""`lettermill segment …`: list, check, preview, test and run segments."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.table import Table as Grid

from pipelines.cli.output import Workspace, console, emit_json, moment_of, out, workspace
from pipelines.contacts.masking import masked
from pipelines.errors import LettermillError, SegmentInvalid
from pipelines.segments.cases import case_files, members_of, read_case
from pipelines.segments.members import Change, compare, write
from pipelines.segments.run import Members, evaluate
from pipelines.segments.segment import Segment, discover, load
from pipelines.settings import Settings

SAMPLE = 5

app = typer.Typer(help="Segments: one SQL file each.", no_args_is_help=True)
AsOf = Annotated[str | None, typer.Option(help="The time $as_of stands for; now otherwise.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_segments() -> None:
    """List the segments of the project with what they are for."""
    grid = Grid("segment", "status", "owner", "description", box=None, pad_edge=False)
    for name, segment in discover(Settings.load().project).items():
        if isinstance(segment, Segment):
            header = segment.header
            grid.add_row(name, header.status.value, header.owner, header.description)
        else:
            grid.add_row(name, "[red]unreadable[/]", "", f"lettermill segment check {name}")
    out.print(grid)


@app.command()
def check(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """Read one segment, or all, and say everything that is wrong."""
    found = discover(Settings.load().project)
    if name is not None:
        found = {name: load(Settings.load().project, name)}
    wrong = [entry for entry in found.values() if isinstance(entry, SegmentInvalid)]
    for entry in wrong:
        console.print(str(entry), markup=False)
    if wrong:
        raise typer.Exit(1)
    console.print(f"[green]✓[/] {len(found)} of {len(found)} readable")


@app.command()
def preview(name: str, as_of: AsOf = None, as_json: Json = False) -> None:
    """Size, masked sample and the difference from the last run; writes nothing."""
    space = workspace()
    segment = load(space.project, name)
    members = evaluate(segment, lake=space.lake, as_of=moment_of(as_of, space), clock=space.clock)
    change = compare(segment, members, space.lake)
    sample = _masked_sample(members, space)
    if as_json:
        emit_json(
            {
                "segment": name,
                "as_of": members.as_of,
                **change.__dict__,
                "sample": sample,
            }
        )
        return
    out.print(f"[bold]{name}[/] as of {members.as_of.isoformat()}")
    out.print(f"{change.size:,} contacts, {change.share:.1%} of all · {members.seconds:.2f} s")
    out.print(_difference(change))
    if not sample:
        return
    grid = Grid(*sample[0], box=None, pad_edge=False)
    for row in sample:
        grid.add_row(*row.values())
    out.print(grid)


@app.command()
def run(name: str, as_of: AsOf = None) -> None:
    """Evaluate a segment and keep its members."""
    space = workspace()
    segment = load(space.project, name)
    members = evaluate(segment, lake=space.lake, as_of=moment_of(as_of, space), clock=space.clock)
    change = write(segment, members, space.lake)
    console.print(
        f"[green]✓[/] {name}: {change.size:,} contacts, +{change.joined:,} −{change.left:,}"
    )


@app.command("test")
def run_cases(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """Run the cases of one segment, or of all."""
    project = Settings.load().project
    names = [name] if name else list(discover(project))
    failed = sum(_failures(project, each) for each in names)
    if failed:
        raise typer.Exit(1)


def _failures(project: Path, name: str) -> int:
    try:
        segment = load(project, name)
    except SegmentInvalid as invalid:
        console.print(f"[red]✗[/] {name}")
        console.print(str(invalid), markup=False)
        return 1
    failures = 0
    for path in case_files(project, name):
        with tempfile.TemporaryDirectory(prefix="lettermill-case-") as folder:
            try:
                case = read_case(path)
                found = members_of(segment, case, Path(folder))
            except LettermillError as error:
                console.print(f"[red]✗[/] {name}/{path.stem}")
                console.print(str(error), markup=False)
                failures += 1
                continue
        if found == sorted(case.expect):
            console.print(f"[green]✓[/] {name}/{path.stem}: {case.description}")
            continue
        failures += 1
        wrongly, missing = (
            sorted(set(found) - set(case.expect)),
            sorted(set(case.expect) - set(found)),
        )
        console.print(f"[red]✗[/] {name}/{path.stem}: {case.description}")
        console.print(f"  missing {missing}, not expected {wrongly}", markup=False)
    return failures


def _difference(change: Change) -> str:
    if change.since is None:
        return "never run before: nothing to compare with"
    moves = f"{change.joined:,} joined, {change.left:,} left"
    return f"since the run of {change.since:%Y-%m-%d %H:%M} UTC: {moves}"


def _masked_sample(members: Members, space: Workspace) -> list[dict[str, str]]:
    """The first members with their address, masked like everything that is shown of people."""
    sample = members.frame.head(SAMPLE).cast({"contact_id": pl.Int64})
    if "address" not in sample.columns:
        contacts = space.lake.read("core.contacts", members.pins.get("core.contacts"))
        known = contacts.select("contact_id", "address")
        shown = known.join(sample.lazy().select("contact_id"), on="contact_id", how="semi")
        sample = sample.join(pl.DataFrame(shown.collect()), on="contact_id", how="left")
    return masked(sample)
