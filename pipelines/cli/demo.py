"""`lettermill demo`: play the whole road in a home of its own, and show what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid
from rich.text import Text

from pipelines.cli.output import console, emit_json, out
from pipelines.demo.figures import Figures
from pipelines.demo.prepare import CAMPAIGNS, CONTACTS, prepare

TITLES = {
    "load": "Load the export",
    "segments": "Evaluate the segment",
    "approve": "Approve the campaign",
    "send": "Plan, preview and send",
    "recipients": "Recipients read, click, leave",
    "stream": "Events become rows",
    "orders": "Orders of the fortnight after",
    "report": "Write and mail the report",
}


class Counted(ProgressColumn):
    """How many of how many, for stages that count."""

    def render(self, task: Task) -> Text:
        counts = task.total is not None and task.total > 1
        return Text(f"{task.completed:>7,.0f}/{task.total:,.0f}" if counts else "")


class Bars:
    """A bar for each stage: it pulses until something can be counted, and is full when the next begins."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks = {
            name: bars.add_task(title, total=1, start=False) for name, title in TITLES.items()
        }
        self._now: str | None = None

    def __call__(self, name: str, done: int | None = None, of: int | None = None) -> None:
        if name != self._now:
            self.finish()
            self._now = name
            self._bars.update(self._tasks[name], total=None)
            self._bars.start_task(self._tasks[name])
        if done is not None:
            self._bars.update(self._tasks[name], completed=done, total=of)

    def finish(self) -> None:
        if self._now is None:
            return
        task = self._bars.tasks[self._tasks[self._now]]
        total = task.total or 1
        self._bars.update(task.id, total=total, completed=total)
        self._bars.stop_task(task.id)


def add_to(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    source: Annotated[str, typer.Option(help=f"Whose export: {', '.join(CAMPAIGNS)}.")] = "shop",
    file: Annotated[Path | None, typer.Option(help="The source's file.")] = None,
    contacts: Annotated[
        int | None, typer.Option(help=f"How many the generated shop has; {CONTACTS:,} otherwise.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="A home for the demo alone; LETTERMILL_HOME is never taken.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run the whole road: export → contacts → segment → mail → events → report. Mails nobody."""
    from pipelines.demo.run import run  # brings in Dagster, which takes seconds to import

    ready = prepare(source, file, contacts=contacts, home=home)
    console.print(f"[bold]Lettermill demo[/] · {source} · home {ready.home.root}")
    with Progress(
        TextColumn("{task.description:<32}"),
        BarColumn(bar_width=30),
        Counted(),
        TimeElapsedColumn(),
        console=console,
    ) as bars:
        figures = run(ready, Bars(bars))
    if as_json:
        emit_json(figures.as_json())
    else:
        _show(figures)
    if figures.sent_this_run == 0:
        console.print(f"Nobody got a second copy: all {figures.sent:,} had been sent before.")


def _show(figures: Figures) -> None:
    grid = Grid(box=None, show_header=False, pad_edge=False)
    grid.add_column(justify="left")
    grid.add_column(justify="right")
    for name in ("read", "quarantined", "contacts"):
        grid.add_row(name, f"{getattr(figures, name):,}")
    grid.add_row("in segment", f"{figures.segment_size:,}")
    for reason, count in figures.excluded.items():
        grid.add_row(f"[dim]excluded: {reason.replace('_', ' ')}[/]", f"[dim]{count:,}[/]")
    grid.add_row("held out", f"{figures.held_out:,}")
    grid.add_row("[bold]sent[/]", f"[bold]{figures.sent:,}[/]")
    for name in ("opened", "clicked", "unsubscribed", "bounced"):
        grid.add_row(name, f"{getattr(figures, name):,}")
    out.print(grid)
    for name in ("preview", "report", "maildir"):
        out.print(f"{name:<8} {getattr(figures, f'{name}_path')}", soft_wrap=True)
