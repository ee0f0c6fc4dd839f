"""`lettermill init`, `doctor`, `tables` and `sql`: the home and what lies in it."""

from __future__ import annotations

import code
import json
import shutil
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import duckdb
import polars as pl
import typer
from rich.table import Table as Grid

from pipelines.cli.doctor import Finding, examine
from pipelines.cli.output import console, emit_json, moment_of, out, workspace
from pipelines.clock import SystemClock
from pipelines.errors import Problem, SettingInvalid
from pipelines.lake import Lake
from pipelines.schema import TABLES
from pipelines.segments.project import KINDS, sql_files
from pipelines.settings import CHECKOUT, Environment, Home, HomeKind, Settings, make_home

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def add_to(app: typer.Typer) -> None:
    for command in (init, doctor, tables, sql):
        app.command()(command)


def init(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to make it; the setting LETTERMILL_HOME otherwise.")
    ] = None,
) -> None:
    """Make a home: the folder that holds all state, with an identity and keys of its own."""
    settings = Settings.load()
    production = settings.environment is Environment.PRODUCTION
    kind = HomeKind.PRODUCTION if production else HomeKind.DEVELOPMENT
    prepared = prepare_home(folder or settings.home, kind)
    console.print(f"[green]✓[/] {prepared.root} is a home for {prepared.identity().kind}")
    if prepared.root != settings.home:
        console.print(f"  Use it: export LETTERMILL_HOME={prepared.root}")
    console.print("  Next: lettermill doctor")


def prepare_home(root: Path, kind: HomeKind) -> Home:
    """Make the home with Dagster's settings in it; what is already there stays."""
    home = make_home(root, kind=kind, at=SystemClock().now())
    home.identity()
    if not (home.dagster / "dagster.yaml").exists():
        shutil.copy(CHECKOUT / "dagster.yaml", home.dagster / "dagster.yaml")
    return home


def doctor(as_json: Json = False) -> None:
    """Check settings, home, keys, relay, edge and stream, and say what to do about each."""
    findings = examine(Settings.load())
    if as_json:
        emit_json([finding.__dict__ for finding in findings])
    else:
        _show(findings)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


def _show(findings: list[Finding]) -> None:
    marks = {"fine": "[green]✓[/]", "note": "[yellow]–[/]", "problem": "[red]✗[/]"}
    grid = Grid.grid(padding=(0, 2))
    for finding in findings:
        grid.add_row(marks[finding.state], finding.what, finding.told)
        if finding.do:
            grid.add_row("", "", f"[dim]→ {finding.do}[/]")
    out.print(grid)


def tables(as_json: Json = False) -> None:
    """List the tables of the lake: version, rows, grain."""
    lake = workspace().lake
    rows = [_described(lake, name) for name in lake.names()]
    if as_json:
        emit_json(rows)
        return
    grid = Grid("table", "rows", "version", "grain", box=None, pad_edge=False)
    for row in rows:
        version = "–" if row["version"] is None else str(row["version"])
        grid.add_row(str(row["table"]), f"{row['rows']:,}", version, str(row["grain"]))
    out.print(grid)


def _described(lake: Lake, name: str) -> dict[str, object]:
    version = lake.version(name)
    rows = lake.count(name, version)
    declared = TABLES.get(name)
    if declared is not None:
        grain = declared.grain
    else:
        layer = name.partition(".")[0]
        grain = {
            "raw": "one row per source row",
            "quarantine": "one row per refused source row",
        }.get(layer, "one row per member")
    return {"table": name, "version": version, "rows": rows, "grain": grain}


def sql(
    query: Annotated[
        str | None, typer.Argument(help="A SELECT, or a file; an interactive shell otherwise.")
    ] = None,
    as_of: Annotated[str | None, typer.Option(help="The time $as_of stands for.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.")] = False,
) -> None:
    """Query the lake with DuckDB: every table is a view, `$as_of` is set, nothing can be written."""
    space = workspace()
    connection = space.lake.connect(space.lake.names())
    files = [file for name in space.lake.names() for file in space.lake.files(name)]
    # The views' files stay readable; every other file and the network are shut out.
    connection.execute("set allowed_paths = $files", {"files": files})
    connection.execute("set enable_external_access = false; set lock_configuration = true")
    moment = moment_of(as_of, space)
    if query is None:
        _shell(connection, moment)
        return
    text = _text(query, connection, space.project, moment)
    _run(connection, text, moment, form="json" if as_json else "csv" if as_csv else "table")


def _text(query: str, connection: duckdb.DuckDBPyConnection, project: Path, as_of: datetime) -> str:
    """The query itself, or what stands in the file it names: of a segment or mart its SELECT with its
    parameters, over the files it reads as they are now.
    """
    if not query.endswith(".sql"):
        return query
    path = Path(query).resolve()
    for kind in KINDS:
        if path.parent == (project / kind.folder).resolve() and path.exists():
            file = kind.read(path, project.resolve())
            for each in sql_files(project).behind(file):
                connection.execute(f"create schema if not exists {each.layer}")
                connection.execute(f"create or replace view {each.table} as {each.bound(as_of)}")
            return file.bound(as_of)
    try:
        return Path(query).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingInvalid(
            f"{query} cannot be read",
            [Problem("file", str(error))],
            do="Check the path of the file",
        ) from None


def _run(
    connection: duckdb.DuckDBPyConnection, text: str, as_of: datetime, *, form: str = "table"
) -> None:
    try:
        found = connection.sql(text, params={"as_of": as_of} if "$as_of" in text else None)
        if found is not None:
            _print(found, form)  # runs it: what a value does to it shows here
    except duckdb.Error as error:
        do = "See which tables there are: lettermill tables"
        raise SettingInvalid("the query cannot be run: " + str(error).strip(), do=do) from None


def _print(found: duckdb.DuckDBPyRelation, form: str) -> None:
    if form == "json":
        emit_json(found.pl().to_dicts())
    elif form == "csv":
        sys.stdout.write(_flat(found.pl()).write_csv())
    elif sys.stdout.isatty():
        found.show(max_rows=40)
    else:  # into a pipe or a file: every row, nothing cut
        found.show(max_rows=max(1, len(found)), max_width=10_000, max_col_width=1_000)


def _flat(rows: pl.DataFrame) -> pl.DataFrame:
    """Lists and structs as JSON text: CSV has no others."""
    nested = [name for name, kind in rows.schema.items() if kind.is_nested()]
    return rows.with_columns(
        pl.Series(
            name,
            [
                None if each is None else json.dumps(each, default=str)
                for each in rows[name].to_list()
            ],
            dtype=pl.String,
        )
        for name in nested
    )


def _shell(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> None:
    console.print(f"$as_of = {as_of.isoformat()} · end a statement with ; · leave with Ctrl-D")
    pending = ""
    reader = code.InteractiveConsole()
    while True:
        try:
            line = reader.raw_input("   … " if pending else "sql> ")
        except (EOFError, KeyboardInterrupt):
            return
        pending += line + "\n"
        if not pending.strip().endswith(";"):
            continue
        try:
            _run(connection, pending, as_of)
        except SettingInvalid as error:
            console.print(str(error), markup=False)
        pending = ""
