"""A report in plain words: the headline, what the comparisons say, and what the numbers leave out.

Pure text. Says nothing that the intervals do not carry.
"""

from __future__ import annotations

import re

from pipelines.reporting.campaign_report import UNCLAIMED, CampaignReport, Versus
from pipelines.reporting.statistics import Comparison, Interval, Rate, Verdict

STATES = {
    "accepted": "sent",
    "confirmed_sent": "sent (confirmed later)",
    "in_doubt": "in doubt",
    "deferred": "deferred",
    "rejected": "rejected",
    "withheld": "withheld",
    "expired": "expired",
    "cancelled": "cancelled",
    "claimed": "being sent",
    "confirmed_unsent": "not sent (confirmed)",
    "waived_skip": "in doubt, left at that",
    "waived_resend": "in doubt, to get a second copy",
    UNCLAIMED: "not yet sent",
}
# Groups that could show nothing below this difference are no groups.
TOO_FEW = 0.2
NOUNS = {"opened": "opens", "clicked": "clicks"}
FIELD_IN_SUBJECT = re.compile(r"\{\{\s*(\w+)[^}]*\}\}")


def number(value: int) -> str:
    return f"{value:,}"


def percent(value: float) -> str:
    return f"{value * 100:.1f} %"


def rate_text(rate: Rate) -> str:
    return percent(rate.interval.value) if rate.interval else "–"


def range_text(interval: Interval | None) -> str:
    return f"{interval.low * 100:.1f} to {interval.high * 100:.1f} %" if interval else ""


def points(interval: Interval) -> str:
    """`+2.1 points (0.4 to 3.8)`."""
    low, high = f"{interval.low * 100:+.1f}", f"{interval.high * 100:+.1f}"
    return f"{interval.value * 100:+.1f} points ({low} to {high})"


def people(count: int) -> str:
    return "1 person" if count == 1 else f"{number(count)} people"


def plain(name: str) -> str:
    """`no_consent` as `no consent`."""
    return name.replace("_", " ")


def subject(text: str) -> str:
    """A subject with its fields named in ‹ ›: `‹first name›, thank you`."""
    return FIELD_IN_SUBJECT.sub(lambda found: f"‹{plain(found[1])}›", text)


def headline(report: CampaignReport) -> str:
    """The whole report in a few sentences."""
    everyone = report.all
    if not everyone.sent:
        return f"Nobody has been mailed yet: {people(everyone.people)} to go."
    said = [f"{people(everyone.delivered)} got it"]
    if everyone.tracked:
        share = percent(everyone.opened / everyone.tracked)
        said.append(f"{number(everyone.opened)} opened ({share} of those who let us see)")
    said.append(f"{number(everyone.clicked)} clicked")
    sentences = ["; ".join(said) + "."]
    if len(report.variants) > 1:
        sentences.append(variants_sentence(report))
    if report.held_out is not None:
        sentences.append(uplift_sentence(report))
    return " ".join(sentence for sentence in sentences if sentence)


def variants_sentence(report: CampaignReport) -> str:
    """Which subject won by opens, if that can be told."""
    if report.variant_split and report.variant_split.is_suspect:
        return "The variants are not the sizes they should be, so do not compare them."
    opened = [versus for versus in report.versus if versus.measure == "opened"]
    if not opened:
        return ""
    ahead = _best(report, opened)
    if ahead is not None:
        winner, closest = ahead
        gap = abs(closest.comparison.difference.value) * 100
        return f"Subject ‘{winner}’ won: +{gap:.1f} points more opened, 95 % sure."
    nearest = max(opened, key=lambda versus: abs(versus.comparison.difference.value))
    return f"Which subject is better: {verdict_text(nearest.comparison)}."


def uplift_sentence(report: CampaignReport) -> str:
    """What the mail did to orders, against those held out."""
    if report.hold_out_split and report.hold_out_split.is_suspect:
        return "The hold-out is not the size it should be, so do not compare with it."
    if report.uplift is None:
        return ""
    difference = report.uplift.difference
    if report.uplift.verdict is Verdict.CLEAR:
        more = "more" if difference.value > 0 else "fewer"
        gap = abs(difference.value) * 100
        return f"{gap:.1f} in 100 {more} ordered than among those not mailed, 95 % sure."
    return f"Whether the mail brought orders: {verdict_text(report.uplift)}."


def verdict_text(comparison: Comparison) -> str:
    """`clear`, or `too small to tell` with the difference that would have shown."""
    if comparison.verdict is Verdict.CLEAR:
        return "clear"
    if comparison.detectable > TOO_FEW:
        return "too few people to tell anything"
    shown = comparison.detectable * 100
    return f"too small to tell; groups of this size show {shown:.1f} points or more"


def notes(report: CampaignReport) -> list[str]:
    """What a reader must know to believe the numbers no further than they go."""
    everyone = report.all
    unseen = everyone.delivered - everyone.tracked
    said = []
    if unseen:
        said.append(
            f"{people(unseen)} who got it did not agree to tracking: whether they opened or clicked"
            " is unknown, and they are left out of those rates."
        )
    for kind, noun in (("open", "opens"), ("click", "clicks")):
        events = report.tally.events.get(kind)
        if events and events.events > events.human_events:
            left_out = number(events.events - events.human_events)
            said.append(
                f"{left_out} of {number(events.events)} {noun} came from machines, left out."
            )
    if report.states.get("in_doubt"):
        said.append(
            f"{people(report.states['in_doubt'])} may or may not have got it: the connection broke at"
            " the wrong moment. They are not counted as sent, and are not mailed again by themselves."
        )
    if report.tally.resent:
        said.append(
            f"{people(report.tally.resent)} may have got it twice: they were in doubt, and a second copy"
            " was sent to them on purpose, with the same Message-ID."
        )
    if report.bundle.amends:
        said.append(
            "The message was amended while it was being sent: those who got it first have another."
        )
    if report.bundle.campaign.as_of:
        said.append(
            f"This campaign looks at the data as of {report.bundle.campaign.as_of:%-d %B %Y}: whom it"
            " found and what they ordered is counted from then, whenever it was really sent."
        )
    if report.tally.window:
        first, last = (f"{at:%-d %B %Y %H:%M} UTC" for at in report.tally.window)
        said.append(f"Orders count from {first} to {last}; everybody to be mailed is compared.")
    if report.is_window_open:
        said.append("That time is not over: orders will still come in.")
    said += [problem.what + f" ({problem.where})" for problem in report.funnel_problems()]
    return said


def _best(report: CampaignReport, opened: list[Versus]) -> tuple[str, Versus] | None:
    """The variant that is clearly ahead of every other, and its narrowest lead."""
    for arm in report.variants:
        mine = [versus for versus in opened if arm.arm in (versus.first, versus.second)]
        leads = [_low(versus, arm.arm) for versus in mine]
        if len(mine) == len(report.variants) - 1 and all(low > 0 for low in leads):
            return arm.arm, min(mine, key=lambda versus: abs(versus.comparison.difference.value))
    return None


def _low(versus: Versus, name: str) -> float:
    difference = versus.comparison.difference
    return difference.low if versus.first == name else -difference.high
