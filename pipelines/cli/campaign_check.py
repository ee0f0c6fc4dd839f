"""`lettermill campaign check`: what stands in the way of approving a campaign, and what lint says of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.markup import escape

from pipelines.campaigns.brands import load_brand
from pipelines.campaigns.campaign import FILE, folder_of, load, slug_of
from pipelines.campaigns.reading import headline
from pipelines.cli.output import console
from pipelines.delivery.look import look
from pipelines.errors import CampaignInvalid
from pipelines.message.link_check import Answer, Outcome, check_links
from pipelines.message.lint.rules import Finding
from pipelines.settings import Settings

MARKS = {"error": "[red]✗[/]", "warning": "[yellow]![/]", "note": "[dim]·[/]"}
ALLOWED = "[green]○[/]"
LINK_MARKS = {Outcome.MOVED: "[yellow]![/]", Outcome.PERSONAL: "[dim]·[/]"}


def check(
    slug: Annotated[str, typer.Argument(help="The campaign: slug, or slug@occurrence.")],
    links: Annotated[
        bool, typer.Option("--links", help="Ask every link and picture over the network, too.")
    ] = False,
) -> None:
    """Say everything that stands in the way of approving a campaign, and what lint warns of."""
    project, folder = Settings.load().project, slug_of(slug)
    try:
        campaign = load(project, folder)
    except CampaignInvalid as invalid:
        path = folder_of(project, folder) / FILE
        if not path.exists():
            raise
        problems = look(folder, project).problems
        raise CampaignInvalid(headline(path, problems, project), problems, do=invalid.do) from None
    found = look(folder, project)
    show(found.findings)
    silent = 0
    if links and found.message is not None:
        website = load_brand(project, campaign.brand).website
        silent = _answered(check_links(found.message, website=website))
    if found.problems:
        count = f"{len(found.problems)} problem{'' if len(found.problems) == 1 else 's'}"
        do = f"Mend them, then run: lettermill campaign check {slug}"
        shown = {each.problem() for each in found.findings}
        others = [each for each in found.problems if each not in shown]
        raise CampaignInvalid(f"{slug} cannot be approved: {count}", others, do=do)
    console.print(
        f"[green]✓[/] {slug} can be approved: lettermill campaign approve {slug} --by NAME"
    )
    if silent:
        count = f"{silent} address{'' if silent == 1 else 'es'}"
        console.print(f"[red]✗[/] {count} of the message cannot be followed now")
        raise typer.Exit(1)


def _answered(answers: Iterable[Answer]) -> int:
    """Tell what every address answered; how many cannot be followed."""
    silent = 0
    for each in answers:
        silent += each.is_problem
        mark = "[red]✗[/]" if each.is_problem else LINK_MARKS.get(each.outcome, "[green]✓[/]")
        console.print(f"{mark} {escape(f'{each.address[:200]}  {each.told}')}")
    return silent


def show(findings: Iterable[Finding]) -> None:
    """Each finding with what to do, or with the reason for which it is allowed."""
    for each in findings:
        mark = ALLOWED if each.allowed else MARKS[each.rule.severity]
        console.print(f"{mark} {escape(f'{each.rule.name}  {each.where} {each.what}')}")
        then = f"allowed: {each.allowed}" if each.allowed else f"→ {each.fix}"
        console.print(f"  [dim]{escape(then)}[/]")


def finding_as_json(finding: Finding) -> dict[str, str]:
    return {
        "rule": finding.rule.name,
        "severity": finding.rule.severity.value,
        "where": finding.where,
        "what": finding.what,
        "fix": finding.fix,
        "allowed": finding.allowed,
    }
