"""`lettermill campaign pause|resume|cancel|amend|retry-failed`: a send in a person's hands."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.output import console, workspace
from pipelines.delivery import control
from pipelines.delivery.amending import amend as amend_send

Slug = Annotated[str, typer.Argument(help="The campaign: slug, or slug@occurrence.")]
By = Annotated[str, typer.Option(help="Who says so.")]
Why = Annotated[str, typer.Option(help="Why, for whoever asks later.")]


def pause(slug: Slug, by: By, why: Why = "no reason was given") -> None:
    """Stop a send within two seconds; nothing starts it again but resume."""
    found = control.pause(slug, workspace(), by=by, why=why)
    console.print(f"[green]✓[/] {slug} is {found}", markup=True)
    console.print(f"  Let it go on: lettermill campaign resume {slug}")


def resume(slug: Slug) -> None:
    """Let a paused campaign go on; it starts by itself if it is due, or with send."""
    found = control.resume(slug, workspace())
    console.print(f"[green]✓[/] {slug} may go on; it was {found}")
    console.print(f"  Start it now: lettermill campaign send {slug}")


def cancel(
    slug: Slug,
    by: By,
    why: Why = "no reason was given",
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """End a campaign for good: who has not got it gets nothing. Cannot be undone."""
    if not sure:
        typer.confirm(f"End {slug} for good? Nobody more gets it.", abort=True)
    count = control.cancel(slug, workspace(), by=by, why=why)
    console.print(f"[green]✓[/] {slug} is cancelled; {count:,} people will not get it")


def amend(slug: Slug, by: By) -> None:
    """Finish a paused send with the message as its files are now; who got it gets nothing more."""
    found = amend_send(slug, by=by, workspace=workspace())
    console.print(
        f"[green]✓[/] {slug} amended by {by} ({found.bundle.content_hash[:12]}):"
        f" {found.left:,} people are left for it, {found.reached:,} are done with"
    )
    console.print(f"  It is still paused. Let it go on: lettermill campaign resume {slug}")


def retry_failed(slug: Slug) -> None:
    """Let those be tried again who were refused or given up on; no unknown address, nobody in doubt."""
    count = control.retry_failed(slug, workspace())
    console.print(f"[green]✓[/] {count:,} will be tried again")
    if count:
        console.print(f"  Start it now: lettermill campaign send {slug} --late")
