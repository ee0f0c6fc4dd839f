"""The report as a page: one HTML file that needs no network and runs no script."""

from __future__ import annotations

import jinja2
from markupsafe import Markup

from pipelines.reporting import charts
from pipelines.reporting.campaign_report import CampaignReport
from pipelines.reporting.contents import Part, content
from pipelines.settings import CHECKOUT

TEMPLATES = CHECKOUT / "assets" / "templates" / "reports"


def report_page(report: CampaignReport) -> str:
    """The whole report as HTML."""
    shown = content(report)
    parts = [
        {
            "title": part.title,
            "lead": part.lead,
            "lines": part.lines,
            "tables": part.tables,
            "chart": _drawn(part) if part.draw else None,
        }
        for part in shown.parts
    ]
    page = {**vars(shown), "parts": parts}
    return templates().get_template("campaign.html.j2").render(page=page)


def templates() -> jinja2.Environment:
    """The report's own templates; every value in them is escaped."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    return jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _drawn(part: Part) -> dict[str, Markup]:
    assert part.draw is not None
    # Markup: our own drawing, whose texts Vega has escaped.
    return {
        name: Markup(charts.svg(part.draw(width), name=f"{part.name}-{name}"))  # noqa: S704
        for name, width in (("wide", charts.WIDE + 80), ("narrow", charts.NARROW + 36))
    }
