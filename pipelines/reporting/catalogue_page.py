"""The catalogue of segments as a page: one HTML file that needs no server and runs no script."""

from __future__ import annotations

from markupsafe import Markup

from pipelines.reporting import charts
from pipelines.reporting.catalogue import Catalogue, Entry
from pipelines.reporting.pages import templates
from pipelines.segments.checks import age

FILE = "segments.html"
SPARK_WIDTH, SPARK_HEIGHT, SPARK_RUNS = 110, 26, 60


def catalogue_page(catalogue: Catalogue) -> str:
    """The whole catalogue as HTML."""
    entries = [*catalogue.segments, *catalogue.marts]
    page = {
        "segments": [_shown(each, catalogue) for each in catalogue.segments],
        "marts": [_shown(each, catalogue) for each in catalogue.marts],
        "figures": _figures(catalogue),
        "known": {each.table for each in entries},
        "tables": catalogue.shown_tables,
        "made_at": f"{catalogue.made_at:%Y-%m-%d %H:%M} UTC",
    }
    return templates().get_template("segments.html.j2").render(page=page)


def _figures(catalogue: Catalogue) -> list[dict[str, str]]:
    segments = catalogue.segments
    live = sum(each.status == "live" for each in segments)
    failing = sum(bool(each.failed) for each in segments)
    unread = sum(each.status == "unreadable" for each in segments)
    never = sum(not each.runs for each in segments)
    return [
        {"name": "Segments", "value": f"{len(segments):,}", "note": f"{live} live"},
        {"name": "Contacts", "value": f"{catalogue.contacts:,}", "note": "in core.contacts"},
        {"name": "Checks failing", "value": f"{failing:,}", "note": "segments, by their last run"},
        {"name": "Never run", "value": f"{never:,}", "note": f"{unread} cannot be read"},
    ]


def _shown(entry: Entry, catalogue: Catalogue) -> dict[str, object]:
    last = entry.runs[-1] if entry.runs else None
    since = f"{age(catalogue.made_at - last.at)} ago" if last else "never"
    return {
        "entry": entry,
        "size": f"{last.size:,}" if last else "–",
        "share": f"{last.size / last.contacts:.1%}" if last and last.contacts else "–",
        "change": f"+{last.joined:,} −{last.left:,}" if last and len(entry.runs) > 1 else "",
        "since": since,
        "spark": _spark([run.size for run in entry.runs[-SPARK_RUNS:]]),
        "chart": _chart(entry) if len(entry.runs) > 1 else None,
        "told": _told(entry),
    }


def _told(entry: Entry) -> str:
    """What a reader of the index should know at once: how its checks went."""
    if entry.problem:
        return "cannot be read"
    if entry.failed:
        return f"{len(entry.failed)} of {len(entry.checks)} checks fail"
    return "checks hold" if entry.runs else "not run yet"


def _chart(entry: Entry) -> dict[str, Markup]:
    points = [(run.at, run.size) for run in entry.runs]
    return {
        # Markup: our own drawing, whose texts Vega has escaped.
        name: Markup(charts.svg(charts.sizes(points, width=width), name=f"{entry.name}-{name}"))  # noqa: S704
        for name, width in (("wide", charts.WIDE + 80), ("narrow", charts.NARROW + 36))
    }


def _spark(sizes: list[int]) -> Markup:
    """The sizes as a line the height of a row of text."""
    if len(sizes) < 2:
        return Markup("")
    low, high = min(sizes), max(sizes)
    step = SPARK_WIDTH / (len(sizes) - 1)
    rise = (SPARK_HEIGHT - 4) / (high - low) if high > low else 0
    points = " ".join(
        f"{number * step:.1f},{SPARK_HEIGHT - 2 - (size - low) * rise:.1f}"
        for number, size in enumerate(sizes)
    )
    label = f"size from {sizes[0]:,} to {sizes[-1]:,}"
    # Markup: numbers and nothing else are put in.
    return Markup(  # noqa: S704
        f'<svg class="spark" width="{SPARK_WIDTH}" height="{SPARK_HEIGHT}" role="img" aria-label="{label}">'
        f'<polyline points="{points}" fill="none" stroke="#1f6f5c" stroke-width="1.6"/></svg>'
    )
