"""The rows of reports.campaign: every number of a report, one per arm and measure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import polars as pl

from pipelines.reporting.arms import AMONG, measured, money_per_person
from pipelines.reporting.campaign_report import ALL, EXCLUDED, HOLD_OUT, MAIL, CampaignReport
from pipelines.reporting.statistics import Rate
from pipelines.schema import CAMPAIGN_RESULTS


def result_rows(report: CampaignReport) -> pl.DataFrame:
    """One row per arm and measure, in the shape of reports.campaign."""
    rows = [{"campaign": report.key, "made_at": report.made_at, **row} for row in _rows(report)]
    return pl.DataFrame(rows, schema=CAMPAIGN_RESULTS.schema)


def content_hash(report: CampaignReport) -> str:
    """Of every number and of the approval, not of when they were put together."""
    numbers = result_rows(report).drop("made_at").sort("arm", "measure").write_ndjson()
    return hashlib.sha256((report.bundle.content_hash + numbers).encode()).hexdigest()


def _rows(report: CampaignReport) -> Iterator[dict[str, object]]:
    arms = [report.all, *report.variants, *([report.held_out] if report.held_out else [])]
    for arm in arms:
        measures = ["ordered"] if arm.arm == HOLD_OUT else list(AMONG)
        for measure in measures:
            yield _row(arm.arm, measure, measured(arm, measure))
        money = money_per_person(arm)
        if money and arm.currency:
            total = Rate(arm.revenue_minor, arm.people, money)
            yield _row(arm.arm, f"revenue_minor_{arm.currency.lower()}", total)
    candidates = report.candidates
    for decision in (MAIL, HOLD_OUT, EXCLUDED):
        yield _row(ALL, decision, Rate(report.tally.people(decision), candidates, None))
    for reason, people in report.excluded.items():
        yield _row(ALL, f"excluded_{reason}", Rate(people, candidates, None))
    for state, people in sorted(report.states.items()):
        yield _row(ALL, f"state_{state}", Rate(people, report.all.people, None))
    yield _row(ALL, "resent", Rate(report.tally.resent, report.all.people, None))
    for kind, events in report.tally.events.items():
        yield _row(ALL, f"{kind}_events", Rate(events.human_events, events.events, None))


def _row(arm: str, measure: str, rate: Rate) -> dict[str, object]:
    counts = {"count": rate.count, "of": rate.of}
    row: dict[str, object] = {"arm": arm, "measure": measure, **counts}
    if rate.interval is None:
        return row
    return row | {"rate": rate.interval.value, "low": rate.interval.low, "high": rate.interval.high}
