"""`lettermill campaign test`: whether a campaign's message is what its cases say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pipelines.campaigns.campaign import Campaign, discover, load, slug_of
from pipelines.cli.output import console
from pipelines.errors import LettermillError, Problem
from pipelines.message.cases import FOLDER, case_files, outcome, read_case
from pipelines.message.compile import compile_message
from pipelines.settings import Settings


def run_tests(
    slug: Annotated[str | None, typer.Argument(help="One campaign; all otherwise.")] = None,
) -> None:
    """Run the cases of one campaign's message, or of all; exit with 1 when one fails."""
    project = Settings.load().project
    campaigns = {slug_of(slug): load(project, slug_of(slug))} if slug else discover(project)
    passed = failed = 0
    for name, campaign in campaigns.items():
        for path in case_files(project, name):
            told = _told(campaign, path, project)
            passed, failed = passed + (not told), failed + bool(told)
            mark = "[red]✗[/]" if told else "[green]✓[/]"
            console.print(f"{mark} {escape(f'{name}/{path.stem}')}")
            width = max((len(each.where) for each in told), default=0)
            for each in told:
                console.print(each.line(width), markup=False)
    if failed:
        console.print(f"[red]✗[/] {failed} of {passed + failed} failed")
        raise typer.Exit(1)
    if passed:
        console.print(f"[green]✓[/] {passed} cases")
    else:
        console.print(f"[yellow]![/] there is no case to run; write one in {FOLDER}/SLUG/")


def _told(campaign: Campaign | LettermillError, path: Path, project: Path) -> list[Problem]:
    if not isinstance(campaign, Campaign):
        return [Problem("campaign", campaign.what)]
    try:
        return outcome(compile_message(campaign, project=project), read_case(path))
    except LettermillError as error:
        return list(error.problems) or [Problem("message", error.what)]
