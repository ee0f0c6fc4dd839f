"""`lettermill campaign …`: check, approve, send and look after campaigns."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from pipelines.campaigns.bundle import Bundle, load_current
from pipelines.campaigns.campaign import Campaign, discover, load, slug_of
from pipelines.campaigns.kinds import InDoubt
from pipelines.campaigns.sources import changed_since
from pipelines.cli.campaign_check import finding_as_json, show
from pipelines.cli.campaign_rehearsal import tell
from pipelines.cli.output import Workspace, console, emit_json, out, workspace
from pipelines.delivery import approval, overview, sending
from pipelines.delivery.due import due, hold_when_overdue
from pipelines.delivery.news import ACCEPTED, News, read
from pipelines.delivery.rehearsal import rehearse
from pipelines.delivery.send_times import RECIPIENT, first_due
from pipelines.errors import SendHeld
from pipelines.message.compiled import CompiledMessage
from pipelines.message.lint.rules import findings
from pipelines.reporting.campaign_report import build
from pipelines.reporting.pages import report_page
from pipelines.reporting.wording import headline

POLICIES = {
    InDoubt.SKIP: "nobody is sent a second copy",
    InDoubt.ASK: "the campaign pauses when it is over, and asks",
    InDoubt.RESEND: "after {after} without evidence they are sent a second copy",
}

app = typer.Typer(help="Campaigns: one folder each.", no_args_is_help=True)
Slug = Annotated[str, typer.Argument(help="The campaign: slug, or slug@occurrence.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
# Destinations of a send under way that fit on a screen; the first have nearly all of it.
MOST_DESTINATIONS = 12


@app.command("list")
def list_campaigns() -> None:
    """List the campaign folders of the project and what stands with each."""
    grid = Grid("campaign", "topic", "segments", "approved", box=None, pad_edge=False)
    space = workspace()
    for slug, campaign in discover(space.project).items():
        if not isinstance(campaign, Campaign):
            grid.add_row(slug, "[red]unreadable[/]", "", f"lettermill campaign check {slug}")
            continue
        segments = ", ".join(campaign.audience.include)
        grid.add_row(slug, campaign.topic, segments, _approval(slug, space))
    out.print(grid)


def _approval(slug: str, space: Workspace) -> str:
    try:
        bundle = load_current(slug, space.home.approvals)
    except SendHeld:
        return f"[red]not usable[/], see: lettermill campaign status {slug}"
    return f"by {bundle.approved_by}" if bundle else "–"


@app.command()
def audience(slug: Slug, as_json: Json = False) -> None:
    """The audience as the files stand now: how many, and why others are left out. Writes nothing."""
    counts = approval.draft(slug, workspace()).counts
    if as_json:
        emit_json(counts)
        return
    if not counts:
        console.print("0 candidates: nobody is in its segments, or nothing was loaded yet")
    grid = Grid(box=None, show_header=False, pad_edge=False)
    for name, count in counts.items():
        grid.add_row(name.replace("_", " "), f"{count:,}")
    out.print(grid)


@app.command()
def approve(
    slug: Slug, by: Annotated[str, typer.Option(help="Who approves it.")], as_json: Json = False
) -> None:
    """Freeze message, segments and settings: only what is approved is sent."""
    bundle = approval.approve(slug, by=by, workspace=workspace())
    message = CompiledMessage.model_validate(bundle.message)
    found = findings(message, allowed=bundle.campaign.lint.allow)
    if as_json:
        emit_json(
            {
                "key": bundle.key,
                "hash": bundle.content_hash,
                "expected": bundle.expected_recipients,
                "findings": [finding_as_json(each) for each in found],
            }
        )
        return
    show(found)
    console.print(
        f"[green]✓[/] {bundle.key} approved by {by} for {bundle.expected_recipients:,} recipients"
        f" ({bundle.content_hash[:12]})"
    )
    console.print(_when(bundle))


def _when(bundle: Bundle) -> str:
    """When an approved campaign goes out, in words."""
    first, late_by = first_due(bundle.campaign), bundle.campaign.late_by
    if first is None:
        return f"It has no send_at: it starts at once, and by itself until {late_by} from now."
    zone = ", at each recipient's own time" if bundle.campaign.time_zone == RECIPIENT else ""
    return f"It goes out from {first:%Y-%m-%d %H:%M} UTC{zone}."


@app.command()
def send(
    slug: Slug,
    late: Annotated[bool, typer.Option("--late", help="Send though it is overdue.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Accept a missing or older ledger.")
    ] = False,
    rehearsal: Annotated[
        bool, typer.Option("--rehearse", help="Do all but the last dot: nobody is mailed.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Rehearse for so many people only.")
    ] = None,
) -> None:
    """Send what is due of an approved campaign; who got it already gets nothing."""
    space = workspace()
    if rehearsal:
        tell(slug, rehearse(slug, space, limit=limit, late=late))
        return
    if limit is not None:
        raise typer.BadParameter("--limit is of a rehearsal; a send goes to everybody")
    bundle = approval.approved(slug, space)
    if not late:
        hold_when_overdue(bundle, space)
    approval.freeze_audience(slug, space)
    columns = (
        TextColumn("sending"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[told]}"),
    )
    consent = sending.Consent(late=late, ledger=accept)
    with ExitStack() as shown:
        bars = Progress(*columns, console=console)
        task = bars.add_task("sending", told="")

        def progress(news: News) -> None:
            # A send that is held says so in words, without a bar above them.
            if not bars.live.is_started:
                shown.enter_context(bars)
            bars.update(task, completed=news.done, total=news.size, told=str(news))

        result = sending.send_campaign(slug, space, consent=consent, progress=progress)
    console.print(f"[green]✓[/] {result.sent_this_run:,} sent in {result.seconds:.1f} s")
    if result.paused is not None:
        console.print(f"[yellow]![/] {slug} is {result.paused}")
    if result.sent_this_run == 0:
        console.print("Nobody was left to be sent to now; what became of each is below.")
    _show(overview.status(slug, space))


@app.command()
def status(slug: Slug, as_json: Json = False) -> None:
    """Where a campaign stands: approved, changed since, and how many are in each state."""
    space = workspace()
    found = overview.status(slug, space)
    bundle = load_current(slug, space.home.approvals)
    if bundle is None and not found.counts:
        load(space.project, slug_of(slug))  # says so when there is no such campaign
    changed = changed_since(bundle, space.project) if bundle else []
    now = read(space.home.ledgers, slug)
    if as_json:
        by = bundle.approved_by if bundle else None
        under_way = now.model_dump() if now else None
        told = {"approved_by": by, "changed_since_approval": changed, "under_way": under_way}
        emit_json({**found.as_json(), **told})
        return
    if bundle is None:
        out.print(f"{slug} is not approved")
        return
    out.print(f"approved by {bundle.approved_by}, {bundle.approved_at:%Y-%m-%d %H:%M} UTC")
    state = next((each for each in due(space) if each.key == bundle.key), None)
    if now is not None:
        out.print(f"being sent: {now}")
        _show_ways(now)
    if state is not None:
        out.print(f"{_when(bundle)} Now: {state.why}.")
    for name in bundle.versions if bundle.amends else ():
        count = found.bundles.get(name, 0)
        then = "in force" if name == bundle.content_hash else "amended since"
        out.print(f"version {name[:12]}, {then}: {count:,} people", highlight=False)
    if found.in_doubt:
        after = bundle.campaign.resend_after
        out.print(f"whoever is in doubt: {POLICIES[bundle.campaign.in_doubt].format(after=after)}")
    for path in changed:
        out.print(f"[yellow]changed since approval[/] {path}", soft_wrap=True)
    _show(found)


@app.command()
def report(slug: Slug) -> None:
    """Write the report page as the numbers stand now; mails nobody."""
    space = workspace()
    found = build(slug, lake=space.lake, home=space.home, clock=space.clock)
    page = space.home.reports / f"{slug}.html"
    page.write_text(report_page(found), encoding="utf-8")
    console.print(headline(found))
    out.print(str(page), soft_wrap=True)


@app.command()
def why(
    slug: Slug, who: Annotated[str, typer.Argument(help="Their address, or their contact id.")]
) -> None:
    """The whole story of one person in a campaign: planned, sent, and what came after."""
    space = workspace()
    contacts = overview.contacts_of(who, space)
    if not contacts:
        console.print("[red]✗[/] nobody here has this address or id")
        raise typer.Exit(1)
    told = [(contact, overview.why(slug, contact, space)) for contact in contacts]
    for contact, lines in told:
        out.print(f"contact {contact}", highlight=False)
        for line in lines or [f"is no candidate of {slug}"]:
            out.print(f"  {line}", highlight=False)
    if not any(lines for _, lines in told):
        raise typer.Exit(1)


def _show_ways(now: News) -> None:
    """How the run that is under way does by relay and by destination."""
    grid = Grid(box=None, show_header=False, pad_edge=False)
    for name, count in now.relays.items():
        grid.add_row(f"by {name}", f"{count:,}")
    for name, count, states in now.by_destination()[:MOST_DESTINATIONS]:
        others = (f"{each:,} {state}" for state, each in states.items() if state != ACCEPTED)
        grid.add_row(f"to {name}", f"{count:,}", ", ".join(others))
    out.print(grid)


def _show(found: overview.Status) -> None:
    grid = Grid(box=None, show_header=False, pad_edge=False)
    for name, count in found.counts.items():
        grid.add_row(name.replace("_", " "), f"{count:,}")
    out.print(grid)
    if found.seeds:
        told = ", ".join(f"{count:,} {state}" for state, count in sorted(found.seeds.items()))
        out.print(f"copies for seeds, beside these: {told}")
    if found.resent:
        out.print(f"{found.resent:,} of them were let have a second copy: they were in doubt")
    for contact_id in found.in_doubt:
        out.print(f"in doubt: contact {contact_id}")
    if found.in_doubt:
        console.print(f"Settle them: lettermill campaign resolve {found.campaign}")
