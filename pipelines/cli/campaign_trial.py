"""`lettermill campaign test-send`: a campaign in an inbox before anybody gets it."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.output import console, workspace
from pipelines.contacts.address import mask
from pipelines.delivery.trial import send_trial


def send_test(
    slug: Annotated[str, typer.Argument(help="The campaign, as its files are now.")],
    to: Annotated[str, typer.Option(help="The address that gets the test.")],
    contact: Annotated[
        int | None, typer.Option("--as", help="The contact whose values it carries.")
    ] = None,
) -> None:
    """Send every variant to one address, marked as a test; it counts nowhere and tracks nobody."""
    for each in send_trial(slug, to, workspace(), contact=contact):
        console.print(
            f"[green]✓[/] {each.variant} as contact {each.contact_id} to {mask(each.target)}: ",
            end="",
        )
        console.print(each.reply, markup=False)
