"""The pictures of a report: Altair charts in one calm theme, as SVG for pages and PNG for mail.

Knows colours and shapes; the numbers come ready. Rendering is local: no browser, no network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import altair as alt
import vl_convert

from pipelines.reporting.tally import Timeline

INK, QUIET, LINE = "#26332f", "#66736e", "#e2ded3"
ACCENT, WARM, SOFT = "#1f6f5c", "#c7823a", "#a9c2b8"
FONT = "Liberation Sans, Helvetica, Arial, sans-serif"
WIDE, NARROW = 620, 300
ROW_HEIGHT = 34
UNITS = ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its length, and what stands behind it."""

    name: str
    value: float
    label: str


@dataclass(frozen=True)
class Range:
    """A rate of one group, with its interval."""

    group: str
    measure: str
    value: float
    low: float
    high: float


def bars(rows: Sequence[Bar], *, width: int = WIDE, colour: str = ACCENT) -> alt.LayerChart:
    """Horizontal bars in the order given, each with its figure."""
    values = [{"name": row.name, "value": row.value, "label": row.label} for row in rows]
    longest = max((row.value for row in rows), default=0) or 1
    # Figures stand behind the bars: leave them room inside the frame.
    room = longest * (1.35 if width >= WIDE else 1.75)
    base = _chart(values).encode(
        y=alt.Y("name:N", sort=None, title=None),
        x=alt.X("value:Q", axis=None, scale=alt.Scale(domain=[0, room])),
    )
    drawn = base.mark_bar(color=colour, height=18, cornerRadiusEnd=3)
    labels = base.mark_text(align="left", dx=7, color=INK, fontSize=12).encode(text="label:N")
    return cast(
        alt.LayerChart, _sized(alt.layer(drawn, labels), width, ROW_HEIGHT * max(1, len(rows)))
    )


def timeline(counts: Timeline, *, width: int = WIDE) -> alt.Chart:
    """Human opens and clicks by time since the first message."""
    last = max((step for step, _, _ in counts.counts), default=0)
    size, unit = unit_of(max(last, 1) * counts.step_seconds)
    values = [
        {
            "from": step * counts.step_seconds / size,
            "to": (step + 1) * counts.step_seconds / size,
            "kind": {"open": "Opens", "click": "Clicks"}[kind],
            "events": events,
        }
        # Opens first: the fewer clicks are drawn in front of them.
        for step, kind, events in sorted(counts.counts, key=lambda count: count[1] == "click")
    ]
    colours = alt.Scale(domain=["Opens", "Clicks"], range=[SOFT, ACCENT])
    drawn = _chart(values).mark_bar(binSpacing=1)
    encoded = drawn.encode(
        x=alt.X("from:Q", title=f"{unit} after the first message", axis=alt.Axis(grid=False)),
        x2="to:Q",
        y2=alt.Y2Datum(0),
        y=alt.Y(
            "events:Q",
            title=None,
            stack=None,
            axis=alt.Axis(tickCount=4, tickMinStep=1, format=",d"),
        ),
        color=alt.Color(
            "kind:N",
            scale=colours,
            legend=alt.Legend(title=None, orient="top", symbolType="square"),
        ),
    )
    return cast(alt.Chart, _sized(encoded, width, 190))


def sizes(
    points: Sequence[tuple[datetime, int]], *, width: int = WIDE, height: int = 150
) -> alt.LayerChart:
    """The size of a segment, run by run."""
    values = [{"at": at.isoformat(), "size": size} for at, size in points]
    base = _chart(values).encode(
        x=alt.X("at:T", title=None, axis=alt.Axis(grid=False, tickCount=4)),
        y=alt.Y("size:Q", title=None, axis=alt.Axis(tickCount=3, format=",d")),
    )
    line = base.mark_area(color=SOFT, opacity=0.45, line={"color": ACCENT, "strokeWidth": 2})
    dots = base.mark_point(color=ACCENT, filled=True, size=30, opacity=1)
    return cast(alt.LayerChart, _sized(alt.layer(line, dots), width, height))


def unit_of(seconds: int) -> tuple[int, str]:
    """The largest unit of which a stretch of time has two: its seconds and its name."""
    return next((pair for pair in UNITS if seconds >= 2 * pair[0]), UNITS[-1])


def ranges(rows: Sequence[Range], *, width: int = WIDE) -> alt.LayerChart:
    """Rates of groups side by side, each a point within its interval."""
    values = [
        {
            "row": f"{row.measure} · {row.group}",
            "group": row.group,
            "value": row.value,
            "low": row.low,
            "high": row.high,
            "label": f"{row.value * 100:.1f} %",
        }
        for row in rows
    ]
    widest = max((row.high for row in rows), default=0.0)
    axis = alt.Axis(format=".0%" if widest > 0.05 else ".1%", tickCount=5)
    base = _chart(values).encode(y=alt.Y("row:N", sort=None, title=None))
    groups = list(dict.fromkeys(row.group for row in rows))
    tones = [ACCENT, WARM, QUIET, SOFT]
    colour = alt.Color(
        "group:N",
        legend=None,
        scale=alt.Scale(domain=groups, range=[tones[at % len(tones)] for at in range(len(groups))]),
    )
    spans = base.mark_rule(strokeWidth=3, opacity=0.55, strokeCap="round").encode(
        x=alt.X("low:Q", title=None, axis=axis, scale=alt.Scale(zero=True)),
        x2="high:Q",
        color=colour,
    )
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(x="value:Q", color=colour)
    labels = base.mark_text(dy=-13, color=INK, fontSize=12).encode(x="value:Q", text="label:N")
    return cast(
        alt.LayerChart, _sized(alt.layer(spans, dots, labels), width, 44 * max(1, len(rows)))
    )


def svg(chart: alt.TopLevelMixin, *, name: str = "chart") -> str:
    """The chart as an SVG element to stand in a page; `name` keeps its ids apart from others'."""
    drawn = vl_convert.vegalite_to_svg(_specification(chart))
    drawn = re.sub(r'(id="|url\(#)', rf"\g<1>{name}-", str(drawn))
    return drawn.replace('fill="white"', 'fill="none"', 1)


def png(chart: alt.TopLevelMixin) -> bytes:
    """The chart as a PNG at twice its size, sharp on every screen."""
    return bytes(vl_convert.vegalite_to_png(_specification(chart), scale=2))


def _chart(values: Sequence[Mapping[str, object]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=[dict(value) for value in values]))


def _sized(chart: Any, width: int, height: int) -> Any:
    axis = {"labelColor": INK, "titleColor": QUIET, "labelFontSize": 12, "titleFontSize": 12}
    lines = {"domain": False, "ticks": False, "gridColor": LINE, "titleFontWeight": "normal"}
    sizes = {"labelPadding": 8, "titlePadding": 10, "labelLimit": 150 if width < WIDE else 220}
    legend = {"labelColor": INK, "labelFontSize": 12}
    return (
        chart.properties(width="container" if width == 0 else width, height=height)
        .properties(autosize=alt.AutoSizeParams(type="fit", contains="padding"))
        .configure(font=FONT, background="white", padding=4)
        .configure_axis(**axis, **lines, **sizes)
        .configure_legend(**legend)
        .configure_view(stroke=None)
    )


def _specification(chart: alt.TopLevelMixin) -> dict[str, Any]:
    specification: dict[str, Any] = chart.to_dict()
    return specification
