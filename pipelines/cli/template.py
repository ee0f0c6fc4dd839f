"""`lettermill template …`: what messages are made from, and where to begin one."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table as Grid

from pipelines.campaigns.brands import FOLDER, brand_names
from pipelines.campaigns.campaign import FOLDER as CAMPAIGNS
from pipelines.cli.output import console, emit_json, out, workspace
from pipelines.errors import CampaignInvalid
from pipelines.message.gallery import FILE, gallery_page
from pipelines.message.library import blocks, copy_starter, starters
from pipelines.settings import Settings

app = typer.Typer(help="Templates: starters and blocks.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_templates(as_json: Json = False) -> None:
    """List the starters a campaign can begin from, and the blocks a message is made of."""
    project = Settings.load().project
    whole = {each.name: each.campaign.description for each in starters(project)}
    parts = {each.name: each.description for each in blocks(project)}
    if as_json:
        emit_json({"starters": whole, "blocks": parts})
        return
    for title, listed in (("starter", whole), ("block", parts)):
        grid = Grid(title, "what it is", box=None, pad_edge=False)
        for name, description in listed.items():
            grid.add_row(name, escape(description))
        out.print(grid)
        out.print()


@app.command()
def new(
    slug: Annotated[str, typer.Argument(help="The name of the new campaign, and of its folder.")],
    starter: Annotated[str, typer.Option("--from", help="A starter: lettermill template list")],
    owner: Annotated[
        str | None, typer.Option(help="Who gets its report: an address; the starter's otherwise.")
    ] = None,
) -> None:
    """Begin a campaign: a copy of a starter in a folder of its own."""
    files = copy_starter(Settings.load().project, slug, starter, owner=owner)
    for file in files:
        console.print(f"[green]✓[/] {CAMPAIGNS / slug / file.name}")
    console.print(f"  Next: write it, then lettermill campaign check {slug}")
    console.print(f"  See it: lettermill campaign preview {slug}")


@app.command()
def gallery(
    brand: Annotated[
        str | None, typer.Option(help="In whose colours; the first brand's otherwise.")
    ] = None,
    open_it: Annotated[
        bool, typer.Option("--open/--no-open", help="Open it in a browser.")
    ] = False,
) -> None:
    """Write the gallery: every block and starter, wide and narrow, in a page that needs no server."""
    space = workspace()
    names = brand_names(space.project)
    if brand is None and not names:
        do = f"Write one: {FOLDER / 'NAME.yaml'}"
        raise CampaignInvalid("there is no brand to show the templates in", do=do)
    page = space.home.reports / FILE
    text = gallery_page(space.project, brand=brand or names[0], made_at=space.clock.now())
    page.write_text(text, encoding="utf-8")
    out.print(str(page), soft_wrap=True)
    if open_it:
        typer.launch(page.as_uri())
