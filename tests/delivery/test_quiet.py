"""Quiet hours: nobody's mail begins inside them, by the clocks they live by, and nobody is lost by that."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.campaigns.bundle import Bundle, save
from pipelines.campaigns.campaign import load
from pipelines.campaigns.kinds import InDoubt
from pipelines.clock import FrozenClock
from pipelines.delivery import approval
from pipelines.delivery.destinations import to
from pipelines.delivery.due import due, overdue
from pipelines.delivery.pace import Limit, Pace
from pipelines.delivery.queues import Queues
from pipelines.delivery.quiet import Quiet, quiet_of
from pipelines.delivery.routes import FILE, by_relay
from pipelines.delivery.sending import Consent, send_campaign
from pipelines.demo.prepare import Demo
from pipelines.errors import CampaignInvalid, SendHeld
from pipelines.lake import Lake
from pipelines.schema import CONTACTS
from pipelines.settings import DeliveryMode
from pipelines.workspace import Workspace, open_workspace

ZONES = ("Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC")
NIGHT = "21:00-08:00"


def quiet(hours: str = NIGHT, fallback: str = "UTC", at: datetime | None = None) -> Quiet:
    return Quiet(hours, fallback, FrozenClock(at or datetime(2026, 11, 2, 12, tzinfo=UTC)))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "at", "is_quiet"),
    [
        ("Europe/Paris", "2026-11-02T19:59:59", False),
        ("Europe/Paris", "2026-11-02T20:00", True),
        ("Europe/Paris", "2026-11-03T06:59:59", True),
        ("Europe/Paris", "2026-11-03T07:00", False),
        # In summer its clocks are an hour further.
        ("Europe/Paris", "2026-07-02T19:00", True),
        ("Asia/Kolkata", "2026-11-02T15:30", True),
        (None, "2026-11-02T20:59", False),
        ("Nowhere/Land", "2026-11-02T21:00", True),
    ],
)
def test_it_is_quiet_by_the_clocks_of_the_recipient_over_midnight(zone, at, is_quiet):
    assert quiet().is_quiet(zone, utc(at)) is is_quiet


def test_whoever_has_no_zone_lives_by_that_of_the_campaign():
    paris = quiet(fallback="Europe/Paris")

    assert paris.is_quiet(None, utc("2026-11-02T20:00"))
    assert not paris.is_quiet("UTC", utc("2026-11-02T20:00"))


@settings(deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    hours=st.sampled_from([NIGHT, "12:00-13:30", "01:30-02:30", "22:15-02:10"]),
)
def test_no_moment_before_their_end_is_awake_on_any_night_of_the_year(zone, at, hours):
    found = quiet(hours)
    first, last = (time.fromisoformat(each) for each in hours.split("-"))
    shown = at.astimezone(ZoneInfo(zone)).time()
    inside = first <= shown < last if first < last else shown >= first or shown < last

    end = found.ends(zone, at)

    assert found.is_quiet(zone, at) is inside
    assert not found.is_quiet(zone, end)
    assert found.is_quiet(zone, end - timedelta(seconds=1)) or end == at
    assert end - at <= timedelta(hours=13)


def test_it_is_asked_anew_in_every_minute():
    clock = FrozenClock(utc("2026-11-02T20:59:30"))
    found = Quiet(NIGHT, "UTC", clock)

    before = found.holds("UTC")
    clock.sleep(30)

    assert (before, found.holds("UTC")) == (False, True)


@pytest.fixture
def lined() -> Callable[..., tuple[Queues, FrozenClock, list[dict[str, Any]]]]:
    """Lines of recipients in these zones, without any limit; and who is still to be claimed."""

    class Free:
        berths: ClassVar[dict[str, Any]] = {}

        def seconds_to(self, _destination: str, *, waiting: int) -> float:
            assert waiting
            return 0.0

        def destination(self, _address: str) -> str:
            return "other"

    def make(*zones: str) -> tuple[Queues, FrozenClock, list[dict[str, Any]]]:
        clock = FrozenClock(utc("2026-11-02T20:59:59"))
        rows: list[dict[str, Any]] = [
            {"contact_id": number, "address": "a@shop.example", "time_zone": zone}
            for number, zone in enumerate(zones)
        ]

        def a_pass(wanted: Callable[[Any], bool]) -> Iterator[list[dict[str, Any]]]:
            yield [row for row in rows if wanted(row)]

        return Queues(a_pass, Free(), lambda _rows: None, Quiet(NIGHT, "UTC", clock)), clock, rows  # type: ignore[arg-type]

    return make


def test_whoever_is_quiet_is_not_claimed_and_the_others_are(lined):
    queues, _, _ = lined("Europe/Paris", "UTC", "Europe/Paris", "America/New_York")

    found = list(iter(queues.next, None))

    assert [row["contact_id"] for row in found] == [1, 3]
    assert queues.is_done
    assert queues.rest() == []


def test_whose_quiet_hours_begin_while_they_are_in_line_is_given_back_unsent(lined):
    queues, clock, _ = lined("UTC", "UTC", "America/New_York", "UTC")
    begun = queues.next()

    clock.sleep(1)
    later = queues.next()

    assert (begun["contact_id"], later["contact_id"]) == (0, 2)
    assert queues.next() is None
    assert queues.is_done
    # The first lost its connection before its envelope, and waited for another.
    assert queues.leaves(begun)
    assert [row["contact_id"] for row in queues.rest()] == [1, 3, 0]


def test_whose_quiet_hours_end_while_it_is_sent_is_begun_in_the_same_run(lined):
    queues, clock, rows = lined("Europe/Paris", "UTC", "Europe/Paris")
    clock.at = utc("2026-11-03T06:59:59")
    rows[1]["time_zone"] = "Asia/Kolkata"
    first = queues.next()
    rows.remove(first)

    clock.sleep(1)
    later = []
    while not queues.is_done:
        later += [row["contact_id"] for row in iter(queues.next, None)]

    assert first["contact_id"] == 1
    assert later == [0, 2]


@pytest.fixture
def night(demo: Demo) -> Callable[[str], Demo]:
    """The shop's campaign approved and frozen with quiet hours."""

    def make(hours: str) -> Demo:
        path = demo.settings.project / "assets/campaigns" / demo.campaign / "campaign.yaml"
        path.write_text(path.read_text() + f"\nquiet_hours: {hours}\n")
        approval.approve(demo.campaign, by="test", workspace=demo.workspace)
        approval.freeze_audience(demo.campaign, demo.workspace)
        return demo

    return make


def around(now: datetime, zone: str) -> str:
    """Hours of this zone that began before this moment and end long after it."""
    shown = now.astimezone(ZoneInfo(zone))
    return f"{shown - timedelta(hours=2):%H:%M}-{shown + timedelta(hours=3):%H:%M}"


def zones(demo: Demo, contacts: list[int]) -> set[str | None]:
    rows = Lake(demo.home.lake).read("core.contacts").collect()
    return set(rows.filter(pl.col("contact_id").is_in(contacts))["time_zone"].to_list())


def move(demo: Demo, zone: str) -> None:
    """Every second contact lives in this zone from now on, the others in UTC."""
    lake = Lake(demo.home.lake)
    rows = pl.DataFrame(lake.read(CONTACTS.name).collect())
    new = pl.when(pl.col("contact_id") % 2 == 0).then(pl.lit(zone)).otherwise(pl.lit("UTC"))
    lake.replace(CONTACTS, rows.with_columns(time_zone=new))


def test_a_send_leaves_out_whoever_is_quiet_and_a_later_one_mails_them(night):
    zone = "Pacific/Auckland"
    now = datetime.now(UTC)
    demo = night(around(now, zone))
    move(demo, zone)
    whole = send_campaign(demo.campaign, demo.workspace, consent=Consent(late=True))
    sends = pl.DataFrame(Lake(demo.home.lake).read("campaigns.sends").collect())
    mailed = sends.filter(state="accepted")["contact_id"].to_list()

    told = due(demo.workspace)

    assert zones(demo, mailed) == {"UTC"}
    assert 0 < whole.unclaimed < whole.audience
    assert f"{whole.unclaimed:,} wait until" in told[0].why
    assert told[0].why.endswith("UTC: quiet hours")
    assert not told[0].start
    morning = open_workspace(demo.settings, FrozenClock(now + timedelta(hours=3, minutes=2)))
    assert [(each.start, each.why) for each in due(morning)] == [(True, "due")]


def test_while_everybody_to_be_sent_to_again_is_quiet_no_run_is_started(night):
    zone = "Pacific/Auckland"
    demo = night(around(datetime.now(UTC), zone))
    move(demo, "UTC")
    send_campaign(demo.campaign, demo.workspace)
    move(demo, zone)
    bundle = approval.approved(demo.campaign, demo.workspace)
    resends = bundle.campaign.model_copy(update={"in_doubt": InDoubt.RESEND})
    save(
        bundle.model_copy(update={"campaign": resends, "amends": bundle.versions}),
        demo.home.approvals,
    )

    for state in ("claimed", "confirmed_unsent", "waived_resend", "in_doubt"):
        with sqlite3.connect(demo.home.ledgers / f"{demo.campaign}.sqlite") as ledger:
            ledger.execute("update sends set state = 'accepted'")
            ledger.execute(
                "update sends set state = ?, settled_at = 0 where contact_id ="
                " (select min(contact_id) from sends where contact_id % 2 = 0)",
                (state,),
            )
        (told,) = due(demo.workspace)
        assert (told.start, told.why[:13]) == (False, "1 waits until"), state


def at(demo: Demo, now: datetime) -> Workspace:
    return open_workspace(demo.settings, FrozenClock(now))


def test_who_waits_for_the_morning_is_not_overdue_then(night):
    now = datetime.now(UTC)
    demo = night(around(now, "UTC"))
    move(demo, "UTC")
    late_by = approval.approved(demo.campaign, demo.workspace).campaign.late_by
    end = (now + timedelta(hours=3)).replace(second=0, microsecond=0)

    in_time, too_late = due(at(demo, end + late_by)), due(at(demo, end + late_by * 1.02))

    assert in_time[0].start
    assert not too_late[0].start
    assert too_late[0].why == "overdue; it does not start by itself"
    with pytest.raises(SendHeld, match="was its last time"):
        send_campaign(demo.campaign, at(demo, end + late_by * 1.02))


def test_a_campaign_by_day_is_overdue_as_if_there_were_no_quiet_hours(night):
    now = datetime.now(UTC)
    demo = night(around(now, "UTC"))
    move(demo, "UTC")
    bundle = approval.approved(demo.campaign, demo.workspace)
    noon = (now - timedelta(hours=12)).replace(tzinfo=None)
    by_day = bundle.model_copy(
        update={
            "campaign": bundle.campaign.model_copy(
                update={"send_at": noon, "time_zone": "recipient"}
            ),
            "approved_at": now - timedelta(days=2),
        }
    )
    # In the last zone of all it is time at UTC-12: quiet in UTC, where everybody was due long before.
    last = noon.replace(tzinfo=UTC) + timedelta(hours=12)

    assert not overdue(by_day, at(demo, last))
    assert overdue(by_day, at(demo, last + by_day.campaign.late_by * 1.02))


def test_a_campaign_says_more_than_its_brand(shop: Demo):
    bundle = approval.approved(shop.campaign, shop.workspace)
    branded = bundle.model_copy(
        update={"brand": bundle.brand.model_copy(update={"quiet_hours": NIGHT})}
    )

    def of(bundle: Bundle, **changes: Any) -> Quiet | None:
        campaign = bundle.campaign.model_copy(update=changes)
        return quiet_of(
            bundle.model_copy(update={"campaign": campaign}), FrozenClock(utc("2026-11-02"))
        )

    assert of(bundle) is None
    assert of(branded, quiet_hours="none") is None
    found, own = of(branded), of(branded, quiet_hours="12:00-13:00", time_zone="Europe/Paris")
    assert found is not None
    assert found.is_quiet(None, utc("2026-11-02T22:00"))
    assert own is not None
    assert own.is_quiet(None, utc("2026-11-02T11:30"))
    assert not own.is_quiet(None, utc("2026-11-02T22:00"))


@pytest.mark.parametrize("hours", ["21-08", "21:00-21:00", "24:00-08:00", "never", "21:00 - 08:00"])
def test_hours_nobody_can_read_are_refused_with_an_example(demo: Demo, hours: str):
    path = demo.settings.project / "assets/campaigns" / demo.campaign / "campaign.yaml"
    path.write_text(path.read_text() + f"\nquiet_hours: {hours}\n")

    with pytest.raises(CampaignInvalid, match="such as 21:00-08:00"):
        load(demo.settings.project, demo.campaign)


def test_hours_are_read_as_they_are_written():
    assert yaml.safe_load(f"quiet_hours: {NIGHT}") == {"quiet_hours": NIGHT}


def capped(demo: Demo, text: str) -> Demo:
    """The same shop behind a relay with these limits."""
    path: Path = demo.settings.project / FILE
    path.write_text(text)
    changes = {"delivery_mode": DeliveryMode.ALLOWLIST}
    return Demo(demo.source, demo.settings.model_copy(update=changes), demo.home)


def test_a_relay_whose_daily_cap_is_reached_starts_nothing_before_midnight(demo: Demo):
    ready = capped(demo, "relays: {main: {host: smtp.relay.example, daily: 10}}\n")
    space = ready.workspace
    with_cap = {by_relay("main"): Limit(daily=10)}
    before = due(space)
    Pace(ready.home.pace, space.clock).lease(with_cap, 10)

    found = due(space)

    midnight = (space.clock.now() + timedelta(days=1)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    assert [each.start for each in before] == [True]
    assert [each.start for each in found] == [False]
    assert found[0].why.endswith(f"until {midnight:%Y-%m-%d %H:%M} UTC: relay main: 10 a day")
    tomorrow = due(at(ready, midnight))
    assert "a day" not in tomorrow[0].why


def test_a_destination_whose_cap_is_reached_holds_up_nobody_else(demo: Demo):
    contacts = pl.DataFrame(demo.workspace.lake.read("core.contacts").collect())
    domain = contacts["address"].str.split("@").list.last().drop_nulls().mode()[0]
    text = "relays: {{main: {{host: a.example}}}}\n"
    text += "destinations: {{big: {{domains: [{}], hourly: 5}}}}\n"
    ready = capped(demo, text.format(domain))
    space = ready.workspace
    Pace(ready.home.pace, space.clock).lease({to("big"): Limit(hourly=5)}, 5)

    found = due(space)

    assert found[0].start
    assert found[0].why.startswith("due; ")
    assert found[0].why.endswith("to big: 5 an hour")


def test_a_delivery_file_nobody_can_read_is_the_reason_and_holds_no_other_up(demo: Demo):
    ready = capped(demo, "relays: [\n")

    found = due(ready.workspace)

    assert [each.start for each in found] == [False]
    assert "assets/delivery.yaml has 1 problem" in found[0].why
