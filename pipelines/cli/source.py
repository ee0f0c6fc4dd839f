"""`lettermill source`: list, check and load the sources of the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import console, emit_json, out, workspace
from pipelines.contacts.core import load_all
from pipelines.contacts.source import Source, discover, find
from pipelines.delivery.imported import suppress_imported
from pipelines.errors import ExportMissing
from pipelines.settings import Settings

app = typer.Typer(help="Where contacts come from.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The name of assets/sources/<name>.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Name every source, and whether it can be used."""
    found = discover(Settings.load().project)
    rows = {name: s.description if isinstance(s, Source) else s.what for name, s in found.items()}
    if as_json:
        emit_json(rows)
        return
    for name, told in rows.items():
        mark = "[green]✓[/]" if isinstance(found[name], Source) else "[red]✗[/]"
        out.print(f"{mark} {name:<24} {told}")


@app.command()
def check(name: Name) -> None:
    """Say everything that is wrong with a source file."""
    source = find(Settings.load().project, name)
    console.print(f"[green]✓[/] {name}: {len(source.exports)} exports. {source.description}")


@app.command()
def load(
    name: Name,
    file: Annotated[Path | None, typer.Option(help="The export, if it has only one.")] = None,
    as_json: Json = False,
) -> None:
    """Load a source's exports and make the core tables anew; the same file twice changes nothing."""
    space = workspace()
    source = find(space.project, name)
    files = None
    if file is not None:
        if len(source.exports) != 1:
            do = f"Put the files into {space.home.exports}"
            raise ExportMissing(
                f"{name} has {len(source.exports)} exports, --file names one", do=do
            )
        files = {next(iter(source.exports)): file.resolve()}
    report = load_all(space.project, space.home, space.lake, space.clock, [name], files=files)
    suppressed = suppress_imported(space)
    if as_json:
        emit_json([each.__dict__ for each in report.exports])
        return
    for each in report.exports:
        counts = f"read {each.read:,}, accepted {each.accepted:,}, quarantined {each.quarantined:,}"
        out.print(f"{each.export:<16} {counts}")
        for reason, count in each.reasons.items():
            out.print(f"  {count:>8,}  {reason}", highlight=False)
    out.print(f"{report.contacts:,} contacts in all")
    if suppressed:
        out.print(f"{suppressed:,} more are never mailed: the export names them")
