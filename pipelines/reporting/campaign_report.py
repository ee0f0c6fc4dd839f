"""The report of one campaign: what was counted, how sure it is, and the rows that keep it.

Puts counts (tally.py) and intervals (statistics.py) together. Words and pictures are wording.py's,
charts.py's and contents.py's; a report is the same for the same lake versions and the same approval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

import polars as pl

from pipelines.campaigns import bundle as bundles
from pipelines.campaigns.bundle import Bundle
from pipelines.clock import Clock
from pipelines.errors import CampaignInvalid, Problem
from pipelines.lake import Lake, Pins
from pipelines.reporting import statistics
from pipelines.reporting.arms import AMONG, money_per_person
from pipelines.reporting.statistics import Comparison, Interval, SplitCheck
from pipelines.reporting.tally import TABLES, Arm, Question, Tally, tally
from pipelines.settings import Home

ALL, HOLD_OUT = "all", "hold_out"
MAIL, EXCLUDED = "mail", "excluded"
SENT_STATES = ("accepted", "confirmed_sent")
UNCLAIMED = "unclaimed"


@dataclass(frozen=True)
class Versus:
    """Two arms against each other by one measure: first minus second."""

    measure: str
    first: str
    second: str
    comparison: Comparison


@dataclass(frozen=True)
class Revenue:
    """Money per person in minor units: those to be mailed, those held out, and the difference."""

    currency: str
    mailed: Interval
    held_out: Interval | None
    difference: Interval | None


@dataclass(frozen=True)
class CampaignReport:
    """Everything a page, a mail or a table of this campaign is made from."""

    key: str
    bundle: Bundle
    made_at: datetime
    versions: Mapping[str, int]
    tally: Tally
    # Arms in the order of the campaign's variants, without 'all' and the hold-out.
    variants: tuple[Arm, ...]
    versus: tuple[Versus, ...]
    uplift: Comparison | None
    revenue: Revenue | None
    variant_split: SplitCheck | None
    hold_out_split: SplitCheck | None

    @property
    def all(self) -> Arm:
        return self.tally.arms[ALL] if ALL in self.tally.arms else _nobody(ALL)

    @property
    def held_out(self) -> Arm | None:
        return self.tally.arms.get(HOLD_OUT)

    @property
    def excluded(self) -> dict[str, int]:
        """Reason → people left out, most first."""
        counts: dict[str, int] = {}
        for (decision, reason, _), people in self.tally.fates.items():
            if decision == EXCLUDED:
                counts[reason or "other"] = counts.get(reason or "other", 0) + people
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def states(self) -> dict[str, int]:
        """State of the ledger, or unclaimed → people to be mailed."""
        counts: dict[str, int] = {}
        for (decision, _, state), people in self.tally.fates.items():
            if decision == MAIL and state is not None:
                counts[state] = counts.get(state, 0) + people
        return counts

    @property
    def candidates(self) -> int:
        return sum(self.tally.fates.values())

    @property
    def is_window_open(self) -> bool:
        """Whether orders still count towards the campaign."""
        return self.tally.window is None or self.made_at < self.tally.window[1]

    def funnel_problems(self) -> list[Problem]:
        """What does not add up.

        Candidates are mailed, held out or excluded; those mailed are in the ledger or unclaimed.
        """
        mail, unclaimed = self.tally.people(MAIL), self.states.get(UNCLAIMED, 0)
        parts = mail + self.tally.people(HOLD_OUT) + self.tally.people(EXCLUDED)
        problems = []
        if parts != self.candidates:
            what = f"{self.candidates} candidates, {parts} mailed, held out or excluded"
            problems.append(Problem("campaigns.audience", what))
        if self.tally.repeated:
            what = f"{self.tally.repeated} rows beyond one per contact"
            problems.append(Problem("campaigns.sends", what))
        if self.tally.settled + unclaimed != mail:
            what = f"{self.tally.settled} in the ledger and {unclaimed} not yet, of {mail} to mail"
            problems.append(Problem("campaigns.sends", what))
        return problems


def build(
    key: str, *, lake: Lake, home: Home, clock: Clock, pins: Pins | None = None
) -> CampaignReport:
    """Count a campaign at these versions of the tables, by default the newest.

    Raises CampaignInvalid when it has no approval in this home, so nothing to report on.
    """
    versions = {**lake.pin(TABLES), **(pins or {})}
    bundle = _approval(key, lake=lake, home=home, version=versions.get("campaigns.audience"))
    campaign = bundle.campaign
    links = tuple(bundle.message.get("links", ()))
    question = Question(key, campaign.as_of, campaign.conversion_days, links)
    counted = tally(question, lake=lake, pins=versions)
    variants = tuple(
        counted.arms.get(variant.name, _nobody(variant.name)) for variant in campaign.variants
    )
    everyone, held_out = counted.arms.get(ALL), counted.arms.get(HOLD_OUT)
    shares = [variant.share for variant in campaign.variants]
    return CampaignReport(
        key=key,
        bundle=bundle,
        made_at=clock.now(),
        versions={name: versions[name] for name in TABLES if name in versions},
        tally=counted,
        variants=variants,
        versus=tuple(_versus(variants)),
        uplift=_uplift(everyone, held_out),
        revenue=_revenue(everyone, held_out),
        variant_split=statistics.split_check([arm.people for arm in variants], shares),
        hold_out_split=_hold_out_split(everyone, held_out, campaign.hold_out),
    )


def _approval(key: str, *, lake: Lake, home: Home, version: int | None) -> Bundle:
    """The approval the audience was planned under, as amended; before that, the current one."""
    planned = lake.read("campaigns.audience", version).filter(pl.col("campaign") == key)
    hashes = pl.DataFrame(planned.select("bundle").drop_nulls().unique().collect())["bundle"]
    bundle = bundles.load_planned(key, home.approvals, hashes.to_list() if len(hashes) == 1 else [])
    if bundle is None:
        do = f"Approve it: lettermill campaign approve {key}"
        raise CampaignInvalid(f"{key} was never approved here: there is nothing to report", do=do)
    return bundle


def _nobody(name: str) -> Arm:
    return Arm(name)


def _versus(variants: tuple[Arm, ...]) -> Iterator[Versus]:
    pairs = list(combinations(variants, 2))
    for measure in ("opened", "clicked"):
        for first, second in pairs:
            groups = (
                (getattr(arm, measure), getattr(arm, AMONG[measure])) for arm in (first, second)
            )
            comparison = statistics.compare(*groups, comparisons=len(pairs))
            if comparison is not None:
                yield Versus(measure, first.arm, second.arm, comparison)


def _uplift(mailed: Arm | None, held_out: Arm | None) -> Comparison | None:
    # Everybody who was to be mailed counts, delivered or not: without them the two groups would no
    # longer be alike in everything but the mail.
    if mailed is None or held_out is None:
        return None
    groups = ((arm.ordered, arm.people) for arm in (mailed, held_out))
    return statistics.compare(*groups)


def _revenue(mailed: Arm | None, held_out: Arm | None) -> Revenue | None:
    one = money_per_person(mailed)
    if mailed is None or one is None or mailed.currency is None:
        return None
    other = money_per_person(held_out)
    difference = statistics.mean_difference(one, other) if other else None
    return Revenue(mailed.currency, one, other, difference)


def _hold_out_split(mailed: Arm | None, held_out: Arm | None, share: float) -> SplitCheck | None:
    if not share or mailed is None:
        return None
    sizes = [held_out.people if held_out else 0, mailed.people]
    return statistics.split_check(sizes, [share, 1 - share])
