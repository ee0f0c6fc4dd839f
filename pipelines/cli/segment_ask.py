"""`lettermill segment diff|explain|why|members`: questions about a segment; nothing here writes."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import polars as pl
import typer
from rich.markup import escape
from rich.table import Table as Grid

from pipelines.cli.output import Workspace, console, emit_json, moment_of, out, workspace
from pipelines.cli.segment_preview import AsOf, Json, Show, pins_at, sample, show_gone, show_rows
from pipelines.contacts.address import normalise
from pipelines.contacts.masking import masked
from pipelines.errors import Problem, SegmentInvalid, SettingInvalid
from pipelines.segments.audit import CONTACTS
from pipelines.segments.checks import age
from pipelines.segments.history import last_run, members_at
from pipelines.segments.plan import explain as explained
from pipelines.segments.project import load, sql_files
from pipelines.segments.revisions import difference
from pipelines.segments.why import Stage, lost_at
from pipelines.segments.why import why as reasons


def diff(
    name: str,
    revision: Annotated[str, typer.Option("--from", help="A git commit, branch or tag.")],
    as_of: AsOf = None,
    show_addresses: Show = False,
    as_json: Json = False,
) -> None:
    """Run the segment as it is and as a git revision has it, on the same data, and compare."""
    space = workspace()
    moment = moment_of(as_of, space)
    segment, files = load(space.project, name), sql_files(space.project)
    pins, gone = pins_at(segment, files, space, as_of)
    if not as_json:
        show_gone(gone)
    found = difference(
        name, revision, project=space.project, lake=space.lake, as_of=moment, pins=pins
    )
    told: dict[str, Any] = {
        "segment": name,
        "from": revision,
        "as_of": moment,
        "before": found.before.frame.height,
        "after": found.after.frame.height,
        "joined": found.joined.height,
        "left": found.left.height,
        "changed": found.changed,
        "only_now": sample(found.joined, found.after.pins, space, show=show_addresses),
        "only_before": sample(found.left, found.after.pins, space, show=show_addresses),
    }
    if as_json:
        emit_json(told)
        return
    out.print(f"[bold]{name}[/] as of {moment.isoformat()}, ", end="")
    out.print(f"{revision} → now, on the same data", markup=False)
    out.print(f"{told['before']:,} → {told['after']:,} contacts")
    out.print(
        f"{told['joined']:,} only now, {told['left']:,} only before, {told['changed']:,} with other columns"
    )
    for title, rows in (("only now", told["only_now"]), ("only before", told["only_before"])):
        if rows:
            out.print(f"\n[bold]{title}[/]")
            show_rows(rows)


def explain(name: str, as_of: AsOf = None, as_json: Json = False) -> None:
    """What a segment reads, how old that is, and which steps of the query cost most."""
    space = workspace()
    segment, files = load(space.project, name), sql_files(space.project)
    pins, gone = pins_at(segment, files, space, as_of)
    found = explained(
        segment, lake=space.lake, as_of=moment_of(as_of, space), files=files, pins=pins
    )
    if not as_json:
        show_gone(gone)
    if as_json:
        told = {"inputs": found.inputs, "steps": found.steps}
        shown: dict[str, Any] = {n: [e.__dict__ for e in each] for n, each in told.items()}  # type: ignore[attr-defined]
        emit_json(
            {"segment": name, **shown, "stands_on": found.stands_on, "bytes_read": found.bytes_read}
        )
        return
    grid = Grid("reads", "version", "written", "rows", "size", box=None, pad_edge=False)
    for each in found.inputs:
        written = f"{age(space.clock.now() - each.changed_at)} ago" if each.changed_at else "never"
        version = "–" if each.version is None else str(each.version)
        grid.add_row(
            each.table, version, written, f"{each.rows:,}", f"{each.size_bytes / 1e6:,.1f} MB"
        )
    out.print(grid)
    if found.stands_on:
        out.print(f"stands on {', '.join(found.stands_on)}, which run with it")
    out.print(
        f"\n{found.bytes_read / 1e6:,.1f} MB read, {found.peak_mib:,.0f} MiB of memory,"
        f" {found.seconds:.2f} s of processor time"
    )
    steps = Grid("processor time", "rows out", "step", box=None, pad_edge=False)
    for step in found.steps:
        share = step.seconds / found.seconds if found.seconds else 0
        steps.add_row(f"{step.seconds:.3f} s {share:>4.0%}", f"{step.rows:,}", escape(step.what))
    out.print(steps)


def why(
    name: str, email: str, as_of: AsOf = None, show_addresses: Show = False, as_json: Json = False
) -> None:
    """Where one contact is present on the way through a segment's query, and with which rows."""
    space = workspace()
    segment, files = load(space.project, name), sql_files(space.project)
    contact = _contact(email, space)
    moment = moment_of(as_of, space)
    pins, gone = pins_at(segment, files, space, as_of)
    stages = reasons(segment, contact, lake=space.lake, as_of=moment, files=files, pins=pins)
    if not as_json:
        show_gone(gone)
    if as_json:
        rows = [None if s.rows is None else _shown_rows(s, show=show_addresses) for s in stages]
        emit_json([{**s.__dict__, "rows": shown} for s, shown in zip(stages, rows, strict=True)])
        return
    lost = lost_at(stages)
    inside = "is in" if lost is None else "is not in"
    out.print(f"contact {contact} {inside} [bold]{name}[/] as of {moment.isoformat()}")
    for stage in stages:
        _show_stage(stage, show=show_addresses)
    if lost is not None:
        where = "the final SELECT" if lost.kind == "result" else f"{lost.kind} {lost.name}"
        out.print(f"\nFirst missing from {where}.")


def _show_stage(stage: Stage, *, show: bool) -> None:
    name = "the final SELECT" if stage.kind == "result" else f"{stage.kind} {stage.name}"
    if stage.rows is None:
        out.print(f"[dim]–[/] {name}: has no contact_id to look for")
        return
    if not stage.rows:
        out.print(f"[red]✗[/] {name}: not there")
        return
    out.print(f"[green]✓[/] {name}: {len(stage.rows)} row{'' if len(stage.rows) == 1 else 's'}")
    for row in _shown_rows(stage, show=show)[:3]:
        values = ", ".join(
            f"{column} {value}" for column, value in row.items() if value and column != "contact_id"
        )
        out.print(f"    {values}", markup=False)


def _shown_rows(stage: Stage, *, show: bool) -> list[dict[str, str]]:
    frame = pl.DataFrame(stage.rows or [], schema=stage.columns, orient="row", strict=False)
    if not show:
        return masked(frame)
    return [{c: "" if v is None else str(v) for c, v in row.items()} for row in frame.to_dicts()]


def members(
    name: str,
    at: Annotated[str | None, typer.Option(help="A time; now otherwise.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Json = False,
    show_addresses: Annotated[
        bool, typer.Option("--show-addresses", help="With each one's address.")
    ] = False,
) -> None:
    """Who was in a segment at a time, by its runs: contact ids, and since when."""
    space = workspace()
    load(space.project, name)
    moment = moment_of(at, space, "--at")
    found = members_at(name, moment, space.lake)
    if found is None:
        last = last_run(name, space.lake)
        told = "it was never run" if last is None else "its first run came later"
        do = (
            f"Run it: lettermill segment run {name}" if last is None else "Ask with preview --as-of"
        )
        raise SettingInvalid(
            f"nobody knows who was in {name} at {moment.isoformat()}", [Problem(name, told)], do=do
        )
    if show_addresses:
        contacts = space.lake.read(CONTACTS).select("contact_id", "address")
        found = pl.DataFrame(
            found.lazy().join(contacts, on="contact_id", how="left").sort("contact_id").collect()
        )
    console.print(f"{found.height:,} contacts in {name} at {moment.isoformat()}")
    if as_json:
        emit_json(found.to_dicts())
    else:
        sys.stdout.write(
            found.write_csv()
            if as_csv
            else found.drop("joined_at").write_csv(include_header=False, separator=" ")
        )


def _contact(email: str, space: Workspace) -> int:
    try:
        wanted = normalise(email)
    except ValueError as error:
        raise SettingInvalid("that is no e-mail address", [Problem("EMAIL", str(error))]) from None
    contacts = space.lake.read(CONTACTS).filter(pl.col("address_normalised") == wanted)
    found = pl.DataFrame(contacts.select("contact_id").collect())
    if found.is_empty():
        raise SegmentInvalid("no contact has that address", do="See who is there: lettermill sql")
    return int(found["contact_id"].min())  # type: ignore[arg-type]


COMMANDS = (diff, explain, why, members)
