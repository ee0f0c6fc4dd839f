"""What `lettermill campaign send --rehearse` found, in words."""

from __future__ import annotations

import typer
from rich.markup import escape
from rich.table import Table as Grid

from pipelines.cli.output import console, out
from pipelines.delivery.rehearsal import TO_THE_DOT, Rehearsal


def tell(slug: str, found: Rehearsal) -> None:
    """Everything there is to say of a rehearsal; exits with 1 when the send would not go as it should."""
    for problem in found.held:
        console.print(f"[red]✗[/] {escape(f'{problem.where}: {problem.what}')}")
    grid = Grid(box=None, show_header=False, pad_edge=False)
    grid.add_row("to mail", f"{found.audience:,}")
    for name, count in [*found.done.items(), *found.outcomes.most_common()]:
        grid.add_row(escape(name.replace("_", " ")), f"{count:,}")
    if found.sizes:
        grid.add_row("median size", f"{found.median_bytes:,} bytes")
        grid.add_row("largest", f"{found.largest_bytes:,} bytes")
        grid.add_row("written", f"{found.per_second:,.0f} a second by each of {found.workers}")
    if found.duration is not None:
        rate = f" at {found.rate:g} a second" if found.rate else ""
        grid.add_row("would take", f"{str(found.duration).partition('.')[0]}{rate}")
    out.print(grid)
    for said, count in found.said.items():
        mark = "[green]✓[/]" if said == TO_THE_DOT else "[red]✗[/]"
        console.print(f"{mark} {count} of {found.said.total()} said to the relay: {escape(said)}")
    if not found.is_fine:
        console.print(f"[red]✗[/] {slug} would not go out as it should; nobody was mailed")
        raise typer.Exit(1)
    console.print(f"[green]✓[/] {slug} was rehearsed to the last dot; nobody was mailed")
