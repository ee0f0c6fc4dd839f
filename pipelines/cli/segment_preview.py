"""`lettermill segment preview`: a segment as it would be now; writes nothing."""

from __future__ import annotations

from typing import Annotated, Any

import polars as pl
import typer
import yaml
from rich.markup import escape
from rich.table import Table as Grid

from pipelines.cli.output import Workspace, console, emit_json, moment_of, out, workspace
from pipelines.contacts.masking import masked
from pipelines.delivery.reach import Reach, reach
from pipelines.errors import SettingInvalid
from pipelines.segments.audit import CONTACTS
from pipelines.segments.header import Value
from pipelines.segments.history import as_it_was
from pipelines.segments.members import Change, compare, judged, movers
from pipelines.segments.overlap import Overlap, overlaps
from pipelines.segments.project import SqlFiles, load, sql_files
from pipelines.segments.run import run
from pipelines.segments.segment import Segment

SAMPLE = 5
AsOf = Annotated[str | None, typer.Option(help="The time $as_of stands for; now otherwise.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Show = Annotated[bool, typer.Option("--show-addresses", help="Do not mask what is shown.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="A parameter: days=60. Repeatable.")]


def preview(
    name: str,
    as_of: AsOf = None,
    since: Annotated[str | None, typer.Option(help="Also who came and left since then.")] = None,
    given: Set = None,
    show_addresses: Show = False,
    as_json: Json = False,
) -> None:
    """Size, change, sample, overlap and how many could be mailed; writes nothing."""
    space = workspace()
    segment, files = load(space.project, name), sql_files(space.project)
    moment = moment_of(as_of, space)
    pins, gone = pins_at(segment, files, space, as_of)
    found = run(
        segment,
        lake=space.lake,
        as_of=moment,
        files=files,
        pins=pins,
        parameters=_parameters(segment, given or []),
        clock=space.clock,
    )
    change = compare(segment, found, space.lake)
    told: dict[str, Any] = {
        "segment": name,
        "as_of": found.as_of,
        "size": change.size,
        "share": change.share,
        "last_run": change.since,
        "joined": change.joined,
        "left": change.left,
        "contacts": found.contacts,
        "seconds": round(found.seconds, 3),
        "bytes_read": found.bytes_read,
        "versions": found.pins,
        "read_as_now": gone,
        "failed_checks": [
            {"check": each.name, "told": each.told}
            for each in judged(segment, found, space.lake, now=space.clock.now())
            if not each.passed
        ],
    }
    told["who"] = [_who("last run", movers(segment, found, space.lake), show_addresses, space)]
    if since:
        moved = movers(segment, found, space.lake, moment_of(since, space, "--since"))
        told["since"] = since
        told["since_joined"], told["since_left"] = (
            [e.height for e in moved] if moved else (None, None)
        )
        told["who"].append(_who(since, moved, show_addresses, space))
    ids = found.frame.select("contact_id")
    told["overlap"] = [each.__dict__ for each in overlaps(ids, space.lake, but=name)]
    told["reach"] = [each.__dict__ for each in reach(ids, space, {**pins, **found.pins})]
    told["sample"] = sample(found.frame, found.pins, space, show=show_addresses)
    if as_json:
        emit_json(told)
    else:
        _show_preview(segment, change, told)


def _show_preview(segment: Segment, change: Change, told: dict[str, Any]) -> None:
    out.print(f"[bold]{segment.name}[/] as of {told['as_of'].isoformat()}")
    out.print(segment.description, markup=False)
    out.print(
        f"{change.size:,} contacts, {change.share:.1%} of {told['contacts']:,} ·"
        f" {told['bytes_read'] / 1e6:,.1f} MB read in {told['seconds']:.2f} s"
    )
    out.print(_difference(change))
    if told.get("since"):
        joined, left = told["since_joined"], told["since_left"]
        known = (
            f"{joined:,} joined, {left:,} left"
            if joined is not None
            else "not known: no run of then"
        )
        out.print(f"since {told['since']}: {known}")
    show_gone(told["read_as_now"])
    for each in told["failed_checks"]:
        out.print(f"[yellow]![/] {each['check']}: ", end="")
        out.print(each["told"], markup=False)
    _show_reach([Reach(**each) for each in told["reach"]])
    _show_overlap([Overlap(**each) for each in told["overlap"]], change.size)
    show_rows(told["sample"])
    for each in told["who"]:
        for what in ("joined", "left"):
            if each[what]:
                out.print(f"\n{what} since {each['since']}, the first of them:")
                show_rows(each[what])


def _who(
    since: str,
    moved: tuple[pl.DataFrame, pl.DataFrame] | None,
    show: bool,
    space: Workspace,
) -> dict[str, Any]:
    """A sample of who joined and who left; their addresses as they are now."""
    joined, left = moved or (None, None)
    return {
        "since": since,
        "joined": [] if joined is None else sample(joined, {}, space, show=show),
        "left": [] if left is None else sample(left, {}, space, show=show),
    }


def _show_reach(found: list[Reach]) -> None:
    grid = Grid(
        "topic",
        "could be mailed",
        "no consent",
        "withdrawn",
        "suppressed",
        "no address",
        box=None,
        pad_edge=False,
    )
    for each in found:
        counts = (each.mailable, each.no_consent, each.withdrawn, each.suppressed, each.no_address)
        grid.add_row(each.topic, *(f"{count:,}" for count in counts))
    out.print()
    out.print(grid)
    if found and found[0].looked_at < found[0].of:
        out.print(f"[dim]of {found[0].looked_at:,} of the {found[0].of:,}, chosen by hash[/]")


def _show_overlap(found: list[Overlap], size: int) -> None:
    if not found:
        return
    grid = Grid("also in", "contacts", "of these", "of it", box=None, pad_edge=False)
    for each in found:
        of_these, of_it = each.shared / size, each.shared / each.size
        grid.add_row(each.segment, f"{each.shared:,}", f"{of_these:.0%}", f"{of_it:.0%}")
    out.print()
    out.print(grid)


def show_rows(rows: list[dict[str, str]]) -> None:
    if not rows:
        return
    grid = Grid(*(escape(column) for column in rows[0]), box=None, pad_edge=False)
    for row in rows:
        grid.add_row(*(escape(value) for value in row.values()))
    out.print()
    out.print(grid)


def _difference(change: Change) -> str:
    if change.since is None:
        return "never run before: nothing to compare with"
    moves = f"{change.joined:,} joined, {change.left:,} left"
    return f"since the run of {change.since:%Y-%m-%d %H:%M} UTC: {moves}"


def _parameters(segment: Segment, given: list[str]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not equals:
            raise SettingInvalid(f"--set '{each}' has no value", do="Write it like --set days=60")
        declared = segment.header.parameters.get(name)
        is_text = declared is not None and isinstance(declared.default, str)
        found[name] = text if is_text else _typed(text)
    segment.values(found)
    return found


def _typed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def pins_at(
    segment: Segment, files: SqlFiles, space: Workspace, as_of: str | None
) -> tuple[dict[str, int], list[str]]:
    """The versions of the time that was asked for, and the tables of which none of then is kept."""
    if as_of is None:
        return {}, []
    tables = {*files.tables(files.stack(segment)), CONTACTS, "core.consents"}
    return as_it_was(space.lake, sorted(tables), moment_of(as_of, space))


def show_gone(gone: list[str]) -> None:
    """Say of which tables no version of then is kept."""
    if gone:
        names = ", ".join(gone)
        console.print(f"[yellow]![/] read as they are now, for no version of then is kept: {names}")


def sample(
    frame: pl.DataFrame, pins: dict[str, int], space: Workspace, *, show: bool
) -> list[dict[str, str]]:
    """The members of lowest id with their address, masked like everything that is shown of people."""
    sample = frame.bottom_k(SAMPLE, by="contact_id").sort("contact_id")
    if "address" not in sample.columns:
        contacts = space.lake.read(CONTACTS, pins.get(CONTACTS)).select("contact_id", "address")
        known = contacts.filter(pl.col("contact_id").is_in(sample["contact_id"].implode()))
        sample = sample.join(pl.DataFrame(known.collect()), on="contact_id", how="left")
    if show:
        return [
            {c: "" if v is None else str(v) for c, v in row.items()} for row in sample.to_dicts()
        ]
    return masked(sample)
