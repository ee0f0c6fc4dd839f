"""`lettermill mart …`: list, check, test and make the marts, the tables that people and segments read."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table as Grid

from pipelines.cli.output import console, moment_of, out, workspace
from pipelines.cli.sql_files import check_files, run_cases
from pipelines.errors import LettermillError
from pipelines.segments.marts import make
from pipelines.segments.project import discover_marts, load_mart, sql_files
from pipelines.segments.segment import Mart
from pipelines.settings import Settings

app = typer.Typer(help="Marts: documented tables made from core tables.", no_args_is_help=True)
AsOf = Annotated[str | None, typer.Option(help="The time $as_of stands for; now otherwise.")]
Name = Annotated[str | None, typer.Argument()]


@app.command("list")
def list_marts() -> None:
    """List the marts of the project with what they hold."""
    grid = Grid("mart", "grain", "description", box=None, pad_edge=False)
    for name, entry in discover_marts(Settings.load().project).items():
        if isinstance(entry, Mart):
            grid.add_row(name, escape(entry.header.grain), escape(entry.description))
        else:
            grid.add_row(name, "[red]unreadable[/]", f"lettermill mart check {name}")
    out.print(grid)


@app.command()
def check(name: Name = None) -> None:
    """Read one mart, or all, bind it to the lake's tables, and say everything that is wrong."""
    check_files(Mart, name)


@app.command("test")
def run_mart_cases(name: Name = None) -> None:
    """Run the cases of one mart, or of all."""
    run_cases(Mart, name)


@app.command()
def run(name: Name = None, as_of: AsOf = None) -> None:
    """Make one mart, or all, anew and keep it as marts.NAME."""
    space = workspace()
    files = sql_files(space.project)
    names = [name] if name else list(discover_marts(space.project))
    failed = 0
    for each in names:
        try:
            mart = load_mart(space.project, each)
            found, version = make(mart, lake=space.lake, as_of=moment_of(as_of, space), files=files)
        except LettermillError as error:
            if name:
                raise
            failed += 1
            console.print(f"[red]✗[/] {each}")
            console.print(str(error), markup=False)
            continue
        told = f"{found.frame.height:,} rows in {found.seconds:.2f} s, version {version}"
        console.print(f"[green]✓[/] {mart.table}: {told}")
    if failed:
        raise typer.Exit(1)
