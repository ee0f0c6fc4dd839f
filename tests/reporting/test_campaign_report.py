"""The report of a campaign that really lies in a lake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from pipelines.clock import FrozenClock
from pipelines.errors import CampaignInvalid
from pipelines.lake import Lake
from pipelines.reporting.campaign_report import build
from pipelines.reporting.results import content_hash, result_rows
from pipelines.reporting.statistics import Verdict
from pipelines.schema import CAMPAIGN_RESULTS, ORDERS, SENDS
from pipelines.settings import Home

if TYPE_CHECKING:
    from conftest import Shop

KEY = "autumn-thanks"


def test_a_funnel_that_was_counted_whole_adds_up(
    shop: Shop, lake: Lake, home: Home, clock: FrozenClock
) -> None:
    shop.fill(400)

    report = build(KEY, lake=lake, home=home, clock=clock)

    assert report.candidates == 400
    assert report.funnel_problems() == []
    assert sum(report.states.values()) == report.all.people
    assert sum(arm.people for arm in report.variants) == report.all.people


def test_a_second_row_for_a_contact_and_a_stranger_do_not_add_up(
    shop: Shop, lake: Lake, home: Home, clock: FrozenClock
) -> None:
    shop.fill(50)
    sends = pl.DataFrame(lake.read("campaigns.sends").head(1).collect())
    stranger = sends.with_columns(contact_id=pl.lit(10_000, pl.Int64))
    lake.append(SENDS, pl.concat([sends, stranger]))

    problems = build(KEY, lake=lake, home=home, clock=clock).funnel_problems()

    assert {problem.where for problem in problems} == {"campaigns.sends"}
    assert len(problems) == 2


def test_only_people_on_tracking_who_got_the_mail_can_open_it(
    shop: Shop, lake: Lake, home: Home, clock: FrozenClock
) -> None:
    shop.fill(400)

    everyone = build(KEY, lake=lake, home=home, clock=clock).all

    assert everyone.opened <= everyone.tracked < everyone.delivered
    assert everyone.delivered == everyone.sent - everyone.bounced


def test_machine_opens_stand_beside_human_ones_and_count_for_nobody(
    shop: Shop, lake: Lake, home: Home, clock: FrozenClock
) -> None:
    shop.fill(400)

    report = build(KEY, lake=lake, home=home, clock=clock)

    opens = report.tally.events["open"]
    assert opens.events > opens.human_events
    assert report.all.opened == opens.human_people


def test_the_better_subject_is_found_among_enough_people(
    shop: Shop, lake: Lake, home: Home, clock: FrozenClock
) -> None:
    shop.fill(2000)

    report = build(KEY, lake=lake, home=home, clock=clock)

    opened = next(versus for versus in report.versus if versus.measure == "opened")
    assert opened.comparison.verdict is Verdict.CLEAR
    assert opened.comparison.difference.high < 0
    assert report.uplift is not None
    assert report.uplift.difference.low > 0


def test_orders_after_the_window_and_cancelled_ones_do_not_count(
    shop: Shop, lake: Lake, home: Home, clock: FrozenClock
) -> None:
    shop.fill(200)
    before = build(KEY, lake=lake, home=home, clock=clock).all
    base = {"contact_id": 199, "amount_minor": 900, "currency": "GBP"}
    late = {"order_id": "late", "ordered_at": clock.now(), "status": "completed"}
    cancelled = {"order_id": "not", "ordered_at": shop.started_at, "status": "cancelled"}
    lake.append(ORDERS, pl.DataFrame([base | late, base | cancelled], schema=ORDERS.schema))

    after = build(KEY, lake=lake, home=home, clock=clock).all

    assert after.ordered == before.ordered
    assert after.revenue_minor == before.revenue_minor


def test_the_same_versions_give_the_same_report_later(
    shop: Shop, lake: Lake, home: Home, clock: FrozenClock
) -> None:
    shop.fill(200)
    first = build(KEY, lake=lake, home=home, clock=clock)
    shop.fill(10)
    clock.sleep(60)

    again = build(KEY, lake=lake, home=home, clock=clock, pins=first.versions)

    assert content_hash(again) == content_hash(first)
    assert again.made_at > first.made_at


def test_rows_are_in_the_declared_shape_and_one_per_arm_and_measure(
    shop: Shop, lake: Lake, home: Home, clock: FrozenClock
) -> None:
    shop.fill(200)

    rows = result_rows(build(KEY, lake=lake, home=home, clock=clock))

    assert rows.schema == CAMPAIGN_RESULTS.schema
    assert not rows.select("arm", "measure").is_duplicated().any()
    assert {"all", "thanks", "winter", "hold_out"} == set(rows["arm"])


@pytest.mark.usefixtures("shop")
def test_a_campaign_that_was_planned_for_nobody_still_has_a_report(
    lake: Lake, home: Home, clock: FrozenClock
) -> None:
    report = build(KEY, lake=lake, home=home, clock=clock)

    assert report.candidates == 0
    assert report.versus == ()
    assert result_rows(report).height > 0


def test_a_campaign_without_approval_has_no_report(
    lake: Lake, home: Home, clock: FrozenClock
) -> None:
    with pytest.raises(CampaignInvalid, match="lettermill campaign approve unknown"):
        build("unknown", lake=lake, home=home, clock=clock)
