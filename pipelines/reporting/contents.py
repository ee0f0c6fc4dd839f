"""What a report shows, in reading order, before it has a form: the same for the page and the mail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.reporting import charts
from pipelines.reporting.arms import measured
from pipelines.reporting.campaign_report import SENT_STATES, CampaignReport, Versus
from pipelines.reporting.charts import Bar, Range
from pipelines.reporting.statistics import Interval
from pipelines.reporting.tally import Timeline
from pipelines.reporting.wording import (
    NOUNS,
    STATES,
    headline,
    notes,
    number,
    percent,
    plain,
    points,
    range_text,
    rate_text,
    subject,
    verdict_text,
)

TOP_LINKS = 10
# Fewer events than this make no picture, only a sentence.
FEWEST_IN_A_CHART = 12

Draw = Callable[[int], Any]


@dataclass(frozen=True)
class Table:
    """Cells as they are read. Columns after the first hold figures, but for those named as prose."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    prose: frozenset[int] = frozenset()

    @property
    def numbers(self) -> frozenset[int]:
        return frozenset(range(1, len(self.columns))) - self.prose


@dataclass(frozen=True)
class Part:
    """A section: a title, a sentence, a chart (drawn at the width asked for), tables.

    `lines` say what the chart shows, for whoever does not see it.
    """

    name: str
    title: str
    lead: str = ""
    draw: Draw | None = None
    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Figure:
    name: str
    value: str
    note: str


@dataclass(frozen=True)
class Content:
    """Everything a reader sees, before it has a form."""

    title: str
    description: str
    brand: str
    headline: str
    figures: tuple[Figure, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    sent_on: str
    made_at: str
    versions: Mapping[str, int]
    approval: str


def content(report: CampaignReport) -> Content:
    """What the report shows, in reading order; parts without anything to show are left out."""
    campaign = report.bundle.campaign
    parts = (_funnel(report), _variants(report), _hold_out(report), _time(report), _links(report))
    return Content(
        title=report.key,
        description=campaign.description,
        brand=report.bundle.brand.sender_name,
        headline=headline(report),
        figures=_figures(report),
        parts=tuple(part for part in (*parts, _excluded(report), _raw(report)) if part),
        notes=tuple(notes(report)),
        sent_on=_sent_on(report),
        made_at=f"{report.made_at:%-d %B %Y %H:%M} UTC",
        versions=report.versions,
        approval=report.bundle.content_hash[:12],
    )


def _sent_on(report: CampaignReport) -> str:
    first = report.tally.first_sent_at
    return f"Sent from {first:%-d %B %Y %H:%M} UTC" if first else "Not sent yet"


def _figures(report: CampaignReport) -> tuple[Figure, ...]:
    everyone = report.all
    rates = {name: measured(everyone, name) for name in ("opened", "clicked", "unsubscribed")}
    shown = [Figure("Delivered", number(everyone.delivered), f"of {number(everyone.sent)} sent")]
    for name, rate in rates.items():
        note = f"{number(rate.count)} of {number(rate.of)}"
        shown.append(Figure(name.capitalize(), rate_text(rate), note))
    return tuple(shown)


def _funnel(report: CampaignReport) -> Part:
    everyone, tally = report.all, report.tally
    steps = [
        ("Candidates", report.candidates),
        ("To be mailed", everyone.people),
        ("Sent", everyone.sent),
        ("Delivered", everyone.delivered),
        ("Opens can be seen", everyone.tracked),
        ("Opened", everyone.opened),
        ("Clicked", everyone.clicked),
    ]
    drawn = [Bar(name, count, _of(count, report.candidates)) for name, count in steps]
    left = [
        ("Excluded", tally.people("excluded")),
        ("Held out for comparison", tally.people("hold_out")),
        *(
            (STATES.get(state, plain(state)).capitalize(), people)
            for state, people in report.states.items()
            if state not in SENT_STATES
        ),
        ("Bounced", everyone.bounced),
        ("Unsubscribed", everyone.unsubscribed),
        ("Complained", everyone.complained),
        ("Left the list since, by any way", everyone.suppressed),
    ]
    rows = tuple((name, number(count)) for name, count in left)
    table = Table(("Who did not, and who left", "People"), rows)
    return Part(
        "funnel",
        "From the segment to the click",
        draw=_bars(drawn),
        lines=_bar_lines(drawn),
        tables=(table,),
    )


def _variants(report: CampaignReport) -> Part | None:
    if len(report.variants) < 2:
        return None
    texts = {variant.name: subject(variant.subject) for variant in report.bundle.campaign.variants}
    ranges = [
        _range(arm.arm, noun.capitalize(), rate.interval)
        for measure, noun in NOUNS.items()
        for arm in report.variants
        if (rate := measured(arm, measure)).interval
    ]
    rows = tuple(
        (
            f"{arm.arm}: “{texts[arm.arm]}”",
            number(arm.delivered),
            rate_text(measured(arm, "opened")),
            rate_text(measured(arm, "clicked")),
            rate_text(measured(arm, "unsubscribed")),
        )
        for arm in report.variants
    )
    shown = Table(("Subject", "Delivered", "Opened", "Clicked", "Left"), rows)
    pairs = Table(
        ("Difference", "Points (95 %)", "Verdict"),
        tuple(_pair(each) for each in report.versus),
        prose=frozenset({2}),
    )
    lead = "The bars show how far each rate may be off by chance."
    if report.variant_split and report.variant_split.is_suspect:
        lead = "The groups are not the sizes they were meant to be: something sorted them. Beware."
    draw: Draw = lambda width: charts.ranges(ranges, width=width)  # noqa: E731
    lines = _range_lines(ranges)
    return Part("variants", "One subject against the other", lead, draw, lines, (shown, pairs))


def _pair(versus: Versus) -> tuple[str, ...]:
    name = f"{NOUNS[versus.measure].capitalize()}: {versus.first} against {versus.second}"
    comparison = versus.comparison
    return name, points(comparison.difference), verdict_text(comparison)


def _hold_out(report: CampaignReport) -> Part | None:
    held_out, uplift = report.held_out, report.uplift
    if held_out is None or uplift is None:
        return None
    groups = (("Mailed", report.all), ("Not mailed", held_out))
    found = [(name, arm, measured(arm, "ordered")) for name, arm in groups]
    rows = tuple(
        (name, number(arm.people), number(rate.count), rate_text(rate), range_text(rate.interval))
        for name, arm, rate in found
    )
    shown = Table(("Group", "People", "Ordered", "Rate", "Range"), rows)
    tables = (shown, *_money(report))
    ranges = [_range(name, "Ordered", rate.interval) for name, _, rate in found]
    lead = f"Ordered after the mail: {points(uplift.difference)}, {verdict_text(uplift)}."
    if report.hold_out_split and report.hold_out_split.is_suspect:
        lead = "The hold-out is not the size it was meant to be. Beware. " + lead
    draw: Draw = lambda width: charts.ranges(ranges, width=width)  # noqa: E731
    lines = _range_lines(ranges)
    return Part("hold-out", "Did the mail make a difference?", lead, draw, lines, tables)


def _money(report: CampaignReport) -> tuple[Table, ...]:
    revenue = report.revenue
    if revenue is None:
        return ()
    named = (
        ("Mailed", revenue.mailed),
        ("Not mailed", revenue.held_out),
        ("Difference", revenue.difference),
    )
    rows = tuple(
        (name, f"{each.value / 100:,.2f}", f"{each.low / 100:,.2f} to {each.high / 100:,.2f}")
        for name, each in named
        if each
    )
    return (Table((f"Revenue per person, {revenue.currency}", "Mean", "Range"), rows),)


def _time(report: CampaignReport) -> Part | None:
    timeline = report.tally.timeline
    if not timeline.counts:
        return None
    if sum(count for _, _, count in timeline.counts) < FEWEST_IN_A_CHART:
        return Part("time", "When people read it", lead=" · ".join(_timeline_lines(timeline)))
    draw: Draw = lambda width: charts.timeline(timeline, width=width)  # noqa: E731
    return Part("time", "When people read it", draw=draw, lines=_timeline_lines(timeline))


def _timeline_lines(timeline: Timeline) -> tuple[str, ...]:
    lines = []
    for kind, noun in (("open", "Opens"), ("click", "Clicks")):
        events = sum(count for _, each, count in timeline.counts if each == kind)
        if events:
            lines.append(f"{noun}: {number(events)}, {_peak(timeline, kind)}")
    return tuple(lines)


def _links(report: CampaignReport) -> Part | None:
    links = report.tally.links[:TOP_LINKS]
    rows = tuple((link.url, number(link.people), number(link.clicks)) for link in links)
    table = Table(("Link", "People", "Clicks"), rows)
    return Part("links", "What people clicked", tables=(table,)) if rows else None


def _excluded(report: CampaignReport) -> Part | None:
    total = sum(report.excluded.values())
    drawn = [Bar(plain(why), people, _of(people, total)) for why, people in report.excluded.items()]
    if not drawn:
        return None
    return Part("excluded", "Who was left out, and why", draw=_bars(drawn), lines=_bar_lines(drawn))


def _raw(report: CampaignReport) -> Part | None:
    rows = tuple(
        (
            "Deliveries told" if kind == "delivery" else f"{kind.capitalize()}s",
            number(each.events),
            number(each.human_events),
            number(each.human_people),
        )
        for kind, each in report.tally.events.items()
    )
    table = Table(("Event", "All recorded", "By people", "Different people"), rows)
    return Part("raw", "Everything recorded", tables=(table,)) if rows else None


def _bars(drawn: list[Bar]) -> Draw:
    return lambda width: charts.bars(drawn, width=width)


def _bar_lines(drawn: list[Bar]) -> tuple[str, ...]:
    return tuple(f"{bar.name}: {bar.label}" for bar in drawn)


def _range_lines(ranges: list[Range]) -> tuple[str, ...]:
    return tuple(
        f"{each.measure}, {each.group}: {percent(each.value)}"
        f" ({range_text(Interval(each.value, each.low, each.high))})"
        for each in ranges
    )


def _peak(timeline: Timeline, kind: str) -> str:
    """When most events of a kind came, in the unit that reads best."""
    step, _, _ = max(
        (each for each in timeline.counts if each[1] == kind), key=lambda each: each[2]
    )
    size, unit = charts.unit_of(max(1, step + 1) * timeline.step_seconds)
    first, last = (at * timeline.step_seconds / size for at in (step, step + 1))
    return f"most from {first:.3g} to {last:.3g} {unit} after the first message"


def _range(group: str, measure: str, interval: Interval | None) -> Range:
    found = interval or Interval(0, 0, 0)
    return Range(group, measure, found.value, found.low, found.high)


def _of(count: int, whole: int) -> str:
    return f"{number(count)}  ({percent(count / whole)})" if whole else number(count)
