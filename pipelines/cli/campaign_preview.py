"""`lettermill campaign preview`: the page to look at before approving, with screenshots when asked for."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from pipelines.cli.output import console, out, workspace
from pipelines.message.browser import NAMES, find_browser
from pipelines.message.previewing import Desk, write_preview


def preview(
    slug: Annotated[str, typer.Argument(help="The campaign: slug, or slug@occurrence.")],
    screenshots: Annotated[
        bool, typer.Option("--screenshots", help="Take pictures in Chromium, if it is installed.")
    ] = False,
) -> None:
    """Write the preview page: every variant for three contacts, wide and narrow, by day and by night."""
    space = workspace()
    desk = Desk(space.lake, space.home, space.project, space.settings.public_url)
    browser = find_browser() if screenshots else None
    made = write_preview(slug, desk, now=space.clock.now(), browser=browser)
    out.print(str(made.path), soft_wrap=True)
    if screenshots and browser is None:
        known = ", ".join(NAMES)
        console.print(
            f"[yellow]![/] no screenshots: none of {known} is on the PATH. "
            "Install one, for example with: apt-get install chromium"
        )
    if made.unshot:
        console.print(f"[yellow]![/] no screenshots: {escape(made.unshot)}")
        raise typer.Exit(1)
    if made.shots:
        console.print(f"[green]✓[/] {made.shots} screenshots in {made.path.with_suffix('')}")
