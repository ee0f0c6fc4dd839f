"""Which campaigns start by themselves, and when it is too late for that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.campaigns.bundle import Bundle, save
from pipelines.clock import FrozenClock
from pipelines.delivery import approval
from pipelines.delivery.due import Due, due, hold_when_overdue, overdue
from pipelines.delivery.lock import CampaignLock
from pipelines.demo.prepare import Demo
from pipelines.errors import SendHeld
from pipelines.settings import Home, Settings
from pipelines.workspace import Workspace, open_workspace

NINE = datetime(2026, 11, 2, 9, 0)  # noqa: DTZ001 (a wall-clock time; its zone stands beside it)
PARIS = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
FIRST, LAST = datetime(2026, 11, 1, 19, tzinfo=UTC), datetime(2026, 11, 2, 21, tzinfo=UTC)
APPROVED = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATE_BY = timedelta(hours=3)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def bundle(shop: Demo, home: Home) -> Bundle:
    """An approval of this home that any test may reschedule."""
    approved = approval.approved(shop.campaign, shop.workspace)
    return approved.model_copy(update={"home_id": home.identity().home_id})


def timed(
    bundle: Bundle, send_at: datetime | None, zone: str | None, key: str = "spring"
) -> Bundle:
    changes: dict[str, Any] = {"send_at": send_at, "time_zone": zone, "late_by": LATE_BY}
    campaign = bundle.campaign.model_copy(update={**changes, "slug": key})
    changed = {"campaign": campaign, "key": key, "approved_at": APPROVED}
    return bundle.model_copy(update=changed)


def at(home: Home, now: datetime) -> Workspace:
    return open_workspace(Settings(home=home.root), FrozenClock(now))


@pytest.mark.parametrize(
    ("zone", "now", "found"),
    [
        ("Europe/Paris", PARIS - MINUTE, (False, "due from 2026-11-02 08:00 UTC")),
        ("Europe/Paris", PARIS, (True, "due")),
        ("Europe/Paris", PARIS + LATE_BY, (True, "due")),
        ("Europe/Paris", PARIS + LATE_BY + MINUTE, (False, "overdue; it does not start by itself")),
        ("recipient", FIRST - MINUTE, (False, "due from 2026-11-01 19:00 UTC")),
        ("recipient", FIRST, (True, "due")),
        ("recipient", LAST + LATE_BY, (True, "due")),
        ("recipient", LAST + LATE_BY + MINUTE, (False, "overdue; it does not start by itself")),
    ],
)
def test_a_campaign_is_due_from_its_first_time_until_late_by_after_its_last(
    home: Home, bundle: Bundle, zone: str, now: datetime, found: tuple[bool, str]
):
    save(timed(bundle, NINE, zone), home.approvals)

    assert due(at(home, now)) == [Due("spring", *found)]


@pytest.mark.parametrize(("later", "starts"), [(LATE_BY, True), (LATE_BY + MINUTE, False)])
def test_a_campaign_without_a_time_is_due_from_its_approval(
    home: Home, bundle: Bundle, later: timedelta, starts: bool
):
    save(timed(bundle, None, None), home.approvals)

    assert [each.start for each in due(at(home, APPROVED + later))] == [starts]


def test_a_campaign_that_is_being_sent_is_not_started_again(home: Home, bundle: Bundle):
    save(timed(bundle, NINE, "Europe/Paris"), home.approvals)
    lock = CampaignLock(home.ledgers / "spring.lock")

    during = due(at(home, PARIS))
    lock.release()

    assert during == [Due("spring", start=False, why="being sent")]
    assert due(at(home, PARIS)) == [Due("spring", start=True, why="due")]


def test_every_approved_campaign_is_told_in_order_of_its_key(home: Home, bundle: Bundle):
    for key in ("winter", "autumn", "spring"):
        save(timed(bundle, NINE, "Europe/Paris", key), home.approvals)

    assert [each.key for each in due(at(home, PARIS))] == ["autumn", "spring", "winter"]


def test_an_approval_of_another_home_is_never_due_and_holds_no_other_up(home: Home, bundle: Bundle):
    foreign = timed(bundle, NINE, "Europe/Paris", "autumn")
    save(foreign.model_copy(update={"home_id": "another"}), home.approvals)
    save(timed(bundle, NINE, "Europe/Paris"), home.approvals)

    assert due(at(home, PARIS)) == [
        Due("autumn", start=False, why="autumn was approved in another home; nobody is mailed"),
        Due("spring", start=True, why="due"),
    ]


def test_an_approval_that_was_edited_is_never_due_and_holds_no_other_up(home: Home, bundle: Bundle):
    path = save(timed(bundle, NINE, "Europe/Paris", "autumn"), home.approvals)
    path.write_text(path.read_text().replace("Winter", "Summer").replace("winter", "summer"))
    save(timed(bundle, NINE, "Europe/Paris"), home.approvals)

    assert [(each.key, each.start) for each in due(at(home, PARIS))] == [
        ("autumn", False),
        ("spring", True),
    ]


def test_a_home_where_nothing_is_approved_has_nothing_due(home: Home):
    assert due(at(home, PARIS)) == []


def test_an_overdue_send_is_held_with_its_last_time_and_the_way_to_send_it(
    home: Home, bundle: Bundle
):
    late = timed(bundle, NINE, "Europe/Paris")

    with pytest.raises(SendHeld, match=r"2026-11-02 08:00 UTC(.|\n)*send spring --late"):
        hold_when_overdue(late, at(home, PARIS + LATE_BY + MINUTE))


@pytest.mark.parametrize("now", [PARIS - timedelta(days=9), PARIS, PARIS + LATE_BY])
def test_a_send_that_is_not_overdue_is_not_held(home: Home, bundle: Bundle, now: datetime):
    timely = timed(bundle, NINE, "Europe/Paris")

    hold_when_overdue(timely, at(home, now))

    assert not overdue(timely, at(home, now))
