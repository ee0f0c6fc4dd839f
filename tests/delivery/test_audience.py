"""Who may receive a campaign, and why everybody else does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.campaigns.campaign import Campaign
from pipelines.contacts.address import address_hash
from pipelines.delivery.audience import Decision, Keys, People, Why, counts, plan
from pipelines.delivery.send_times import in_utc
from pipelines.schema import CONSENTS, CONTACTS

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
KEYS = Keys(b"a" * 32, b"v" * 32)


def campaign(**changes: Any) -> Campaign:
    values: dict[str, Any] = {
        "slug": "spring",
        "owner": "owner@shop.example",
        "topic": "news",
        "brand": "mill",
        "audience": {"include": ["everybody"]},
        "variants": [{"name": "a", "subject": "A"}, {"name": "b", "subject": "B"}],
    }
    return Campaign.model_validate({**values, **changes})


def contacts(*rows: dict[str, Any]) -> pl.DataFrame:
    whole = [{"address": row.get("address_normalised"), "time_zone": None, **row} for row in rows]
    return pl.DataFrame(whole, schema_overrides=dict(CONTACTS.schema)).select(
        pl.col(name) if name in set().union(*whole) else pl.lit(None, dtype=kind).alias(name)
        for name, kind in CONTACTS.schema.items()
    )


def consents(*rows: tuple[int, str, str, datetime]) -> pl.DataFrame:
    whole = [
        {
            "contact_id": who,
            "purpose": purpose,
            "topic": "news",
            "status": status,
            "recorded_at": at,
        }
        for who, purpose, status, at in rows
    ]
    empty = CONSENTS.empty()
    if not whole:
        return empty
    return pl.concat(
        [empty, pl.DataFrame(whole).cast({"recorded_at": pl.Datetime("us", "UTC")})], how="diagonal"
    )


def people(rows: pl.DataFrame, agreed: pl.DataFrame, **others: Any) -> People:
    blank: dict[str, Any] = {
        "suppressed": set(), "suppressed_contacts": set(), "no_tracking": set(), "mailed": set(),
    }  # fmt: skip
    return People(contacts=rows.lazy(), consents=agreed.lazy(), **{**blank, **others})


def everybody(count: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = contacts(
        *({"contact_id": n, "address_normalised": f"p{n}@shop.example"} for n in range(count))
    )
    return rows, consents(
        *((n, "marketing", "granted", NOW - timedelta(days=9)) for n in range(count))
    )


def ids(count: int) -> pl.DataFrame:
    return pl.DataFrame({"contact_id": list(range(count))}, schema={"contact_id": pl.Int64})


def test_everybody_left_out_is_told_why():
    rows = contacts(
        {"contact_id": 0, "address_normalised": "fine@shop.example"},
        {"contact_id": 1, "address_normalised": None},
        {"contact_id": 2, "address_normalised": "silent@shop.example"},
        {"contact_id": 3, "address_normalised": "left@shop.example"},
        {"contact_id": 4, "address_normalised": "gone@shop.example"},
        {"contact_id": 5, "address_normalised": "fine@shop.example"},
        {"contact_id": 6, "address_normalised": "had@shop.example"},
    )
    old, new = NOW - timedelta(days=9), NOW - timedelta(days=1)
    agreed = [(n, "marketing", "granted", old) for n in (0, 1, 3, 4, 5, 6)]
    decided = plan(
        campaign(),
        ids(7),
        people(
            rows,
            consents(*agreed, (3, "marketing", "withdrawn", new)),
            suppressed={address_hash("gone@shop.example", KEYS.addresses)},
            mailed={6},
        ),
        keys=KEYS,
        now=NOW,
    )

    assert dict(decided.select("contact_id", "reason").rows()) == {
        0: None,
        1: Why.NO_ADDRESS.value,
        2: Why.NO_CONSENT.value,
        3: Why.CONSENT_WITHDRAWN.value,
        4: Why.SUPPRESSED.value,
        5: Why.DUPLICATE_ADDRESS.value,
        6: Why.MAILED_RECENTLY.value,
    }


def test_consent_given_again_after_a_withdrawal_counts():
    rows, _ = everybody(1)
    agreed = consents(
        (0, "marketing", "withdrawn", NOW - timedelta(days=9)),
        (0, "marketing", "granted", NOW - timedelta(days=1)),
    )

    decided = plan(campaign(), ids(1), people(rows, agreed), keys=KEYS, now=NOW)

    assert decided["decision"].to_list() == [Decision.MAIL.value]


def test_tracking_needs_its_own_consent():
    rows, agreed = everybody(3)
    tracked = consents(*((n, "tracking", "granted", NOW) for n in (1, 2)))
    both = pl.concat([agreed, tracked])

    decided = plan(campaign(), ids(3), people(rows, both, no_tracking={2}), keys=KEYS, now=NOW)

    assert decided["is_tracked"].to_list() == [False, True, False]


@given(
    suppressed=st.sets(st.integers(0, 39)),
    consenting=st.sets(st.integers(0, 39)),
    hold_out=st.floats(0, 0.5),
    limit=st.none() | st.integers(1, 50),
)
def test_decisions_add_up_and_nobody_suppressed_or_without_consent_is_mailed(
    suppressed: set[int], consenting: set[int], hold_out: float, limit: int | None
):
    rows, _ = everybody(40)
    agreed = consents(*((n, "marketing", "granted", NOW) for n in consenting))
    hashes = {address_hash(f"p{n}@shop.example", KEYS.addresses) for n in suppressed}
    asked = campaign(hold_out=hold_out, audience={"include": ["everybody"], "limit": limit})

    decided = plan(asked, ids(40), people(rows, agreed, suppressed=hashes), keys=KEYS, now=NOW)

    mailed = decided.filter(decision="mail")
    assert decided.height == 40
    assert sum(n for name, n in counts(decided).items() if not name.startswith("excluded:")) == 40
    assert set(mailed["contact_id"]) <= consenting - suppressed
    assert mailed["recipient"].to_list() == list(range(mailed.height))
    assert mailed["variant"].null_count() == 0
    assert limit is None or mailed.height + decided.filter(decision="hold_out").height <= limit


def test_the_same_people_are_held_out_however_often_and_with_whomever_it_is_planned():
    rows, agreed = everybody(2_000)
    asked = campaign(hold_out=0.1)

    whole = plan(asked, ids(2_000), people(rows, agreed), keys=KEYS, now=NOW)
    half = plan(asked, ids(1_000), people(rows, agreed), keys=KEYS, now=NOW)

    held = whole.filter(decision="hold_out")["contact_id"]
    assert set(half.filter(decision="hold_out")["contact_id"]) == {n for n in held if n < 1_000}
    assert 140 < held.len() < 260


def test_variants_get_their_shares():
    rows, agreed = everybody(4_000)
    asked = campaign(
        variants=[
            {"name": "a", "subject": "A", "share": 0.8},
            {"name": "b", "subject": "B", "share": 0.2},
        ]
    )

    decided = plan(asked, ids(4_000), people(rows, agreed), keys=KEYS, now=NOW)

    assert 0.77 < (decided["variant"] == "a").mean() < 0.83


def test_everybody_is_due_at_the_same_time_of_their_own_day():
    rows = contacts(
        {"contact_id": 0, "address_normalised": "a@shop.example", "time_zone": "Europe/Paris"},
        {"contact_id": 1, "address_normalised": "b@shop.example", "time_zone": "America/New_York"},
        {"contact_id": 2, "address_normalised": "c@shop.example", "time_zone": None},
        {"contact_id": 3, "address_normalised": "d@shop.example", "time_zone": "Moon/Crater"},
    )
    agreed = consents(*((n, "marketing", "granted", NOW - timedelta(days=9)) for n in range(4)))
    asked = campaign(send_at=datetime(2026, 11, 27, 9), time_zone="recipient")  # noqa: DTZ001

    decided = plan(asked, ids(4), people(rows, agreed), keys=KEYS, now=NOW)

    assert [at.hour for at in decided["send_at"]] == [8, 14, 9, 9]


@pytest.mark.parametrize(
    ("wall_clock", "expected"),
    [
        # 2027-03-28 02:30 does not exist in Paris: the clocks go from 02:00 to 03:00.
        (datetime(2027, 3, 28, 2, 30), datetime(2027, 3, 28, 1, 30, tzinfo=UTC)),  # noqa: DTZ001
        # 2026-10-25 02:30 happens twice in Paris: the first is summer time.
        (datetime(2026, 10, 25, 2, 30), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),  # noqa: DTZ001
    ],
    ids=["skipped in spring", "twice in autumn"],
)
def test_a_time_the_clocks_skip_or_repeat_is_one_time(wall_clock: datetime, expected: datetime):
    assert in_utc(wall_clock, "Europe/Paris") == expected


def test_where_reads_fields_of_the_contact_and_of_its_attributes():
    rows = contacts(
        {
            "contact_id": 0,
            "address_normalised": "a@shop.example",
            "country": "FR",
            "attributes": '{"tier": "gold"}',
        },
        {
            "contact_id": 1,
            "address_normalised": "b@shop.example",
            "country": "FR",
            "attributes": '{"tier": "tin"}',
        },
        {
            "contact_id": 2,
            "address_normalised": "c@shop.example",
            "country": "DE",
            "attributes": '{"tier": "gold"}',
        },
        {
            "contact_id": 3,
            "address_normalised": "d@shop.example",
            "country": "FR",
            "attributes": None,
        },
    )
    agreed = consents(*((n, "marketing", "granted", NOW - timedelta(days=9)) for n in range(4)))
    where = {"country": ["FR", "BE"], "attributes.tier": "gold"}
    asked = campaign(audience={"include": ["everybody"], "where": where})

    decided = plan(asked, ids(4), people(rows, agreed), keys=KEYS, now=NOW)

    assert decided.filter(decision="mail")["contact_id"].to_list() == [0]


@pytest.mark.parametrize(
    ("if_passed", "tokyo"),
    [("skip", None), ("next_day", datetime(2026, 11, 3, 0, tzinfo=UTC))],
)
def test_whose_morning_was_over_when_it_was_approved_is_left_out_or_mailed_a_day_later(
    if_passed: str, tokyo: datetime | None
):
    rows = contacts(
        {"contact_id": 0, "address_normalised": "a@shop.example", "time_zone": "Asia/Tokyo"},
        {"contact_id": 1, "address_normalised": "b@shop.example", "time_zone": "America/New_York"},
    )
    agreed = consents(*((n, "marketing", "granted", NOW - timedelta(days=9)) for n in range(2)))
    nine = datetime(2026, 11, 2, 9)  # noqa: DTZ001
    asked = campaign(send_at=nine, time_zone="recipient", if_passed=if_passed)

    # Planned when the first zone is due, a minute after its nine o'clock: that is not late.
    decided = plan(
        asked,
        ids(2),
        people(rows, agreed),
        keys=KEYS,
        now=datetime(2026, 11, 2, 14, 1, tzinfo=UTC),
        approved_at=datetime(2026, 11, 2, 8, tzinfo=UTC),
    )

    due = dict(decided.filter(decision="mail").select("contact_id", "send_at").rows())
    assert due == {
        **({} if tokyo is None else {0: tokyo}),
        1: datetime(2026, 11, 2, 14, tzinfo=UTC),
    }
    reasons = decided.filter(decision="excluded")["reason"].to_list()
    assert reasons == ([Why.TIME_PASSED.value] if tokyo is None else [])
