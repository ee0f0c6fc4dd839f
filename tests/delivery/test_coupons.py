"""Coupon codes: one for each person, for ever."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.delivery.coupons import Coupons, Pool, with_codes
from pipelines.errors import CampaignInvalid, SendHeld
from pipelines.schema import IDENTITIES

AT = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


@pytest.fixture
def coupons(tmp_path: Path) -> Coupons:
    made = Coupons(tmp_path / "coupons.sqlite")
    made.load("fern", ["A-1", "A-2", "A-3"])
    return made


def given_out(coupons: Coupons, *contacts: int, campaign: str = "spring") -> dict[int, str]:
    rows = coupons.hand_out("fern", pl.Series(contacts, dtype=pl.Int64), campaign=campaign, at=AT)
    return dict(rows.rows())


def test_each_person_gets_a_code_of_their_own(coupons):
    codes = given_out(coupons, 7, 8, 9)

    assert sorted(codes) == [7, 8, 9]
    assert sorted(codes.values()) == ["A-1", "A-2", "A-3"]


def test_whoever_is_asked_for_again_has_the_same_code_in_a_reminder_too(coupons):
    first = given_out(coupons, 7, 8)

    again = given_out(coupons, 8, 7, 9, campaign="reminder")

    assert {7: again[7], 8: again[8]} == first
    assert again[9] not in first.values()


def test_a_code_goes_with_the_person_when_two_contacts_are_merged(coupons, lake):
    first = given_out(coupons, 7, 8)
    identities = {"source": ["merged", "merged"], "external_id": ["7", "8"], "contact_id": [5, 6]}
    lake.append(IDENTITIES, pl.DataFrame(identities))
    merged = Coupons(coupons.path, lake)

    assert merged.lacking("fern", pl.Series([5, 6, 9])) == 0
    again = given_out(merged, 5, 6, 9)

    assert {5: again[5], 6: again[6]} == {5: first[7], 6: first[8]}
    assert coupons.pools() == [Pool("fern", 3, 3)]


def test_of_two_merged_who_both_have_a_code_the_one_who_stays_keeps_theirs(coupons, lake):
    first = given_out(coupons, 5, 7)
    lake.append(
        IDENTITIES, pl.DataFrame({"source": ["merged"], "external_id": ["7"], "contact_id": [5]})
    )

    assert given_out(Coupons(coupons.path, lake), 5) == {5: first[5]}


def test_too_few_codes_hold_the_send_and_hand_out_none(coupons):
    with pytest.raises(SendHeld, match="spring is held") as held:
        given_out(coupons, 1, 2, 3, 4)

    assert "3 codes left for 4 people" in held.value.problems[0].what
    assert coupons.pools() == [Pool("fern", 3, 0)]


def test_loading_a_code_again_adds_nothing_and_takes_it_from_nobody(coupons):
    mine = given_out(coupons, 7)[7]

    assert coupons.load("fern", [mine, "B-1", ""]) == 1
    assert given_out(coupons, 7) == {7: mine}
    assert coupons.pools() == [Pool("fern", 4, 1)]


def test_a_line_that_is_no_code_is_named_and_nothing_is_loaded(coupons):
    with pytest.raises(CampaignInvalid) as refused:
        coupons.load("fern", ["B-1", "B 2", "<b>"])

    assert [each.where for each in refused.value.problems] == ["line 2", "line 3"]
    assert coupons.pools() == [Pool("fern", 3, 0)]


@pytest.mark.parametrize("heading", ["code", "Coupon_Code"])
def test_a_heading_is_handed_out_to_nobody(coupons, heading):
    with pytest.raises(CampaignInvalid) as refused:
        coupons.load("fern", [heading, "B-1"])

    assert "is a heading" in refused.value.problems[0].what


@pytest.mark.parametrize("pool", ["Fern", "", "fern pool", "../fern"])
def test_a_pool_has_a_plain_name(coupons, pool):
    with pytest.raises(CampaignInvalid, match="cannot name a pool"):
        coupons.load(pool, ["B-1"])


def test_an_unknown_pool_is_named_with_one_that_is_near(coupons):
    with pytest.raises(CampaignInvalid, match="Did you mean 'fern'"):
        coupons.lacking("fren", pl.Series([1]))


def test_codes_are_lacking_only_for_those_who_have_none(coupons):
    given_out(coupons, 1, 2)

    assert coupons.lacking("fern", pl.Series([1, 2, 3])) == 0
    assert coupons.lacking("fern", pl.Series([1, 2, 3, 4, 5])) == 2


@settings(max_examples=25, deadline=None)
@given(
    rounds=st.lists(st.sets(st.integers(0, 30), max_size=12), min_size=1, max_size=5),
)
def test_no_code_is_two_peoples_and_nobody_has_two(tmp_path_factory, rounds):
    coupons = Coupons(tmp_path_factory.mktemp("codes") / "coupons.sqlite")
    coupons.load("fern", [f"C{number}" for number in range(31)])
    owners: dict[int, set[str]] = {}

    for contacts in rounds:
        for contact, code in given_out(coupons, *contacts).items():
            owners.setdefault(contact, set()).add(code)

    assert all(len(codes) == 1 for codes in owners.values())
    assert len({code for codes in owners.values() for code in codes}) == len(owners)


def test_a_code_stands_beside_what_the_segment_gave():
    audience = pl.DataFrame(
        {
            "contact_id": [1, 2, 3, 4],
            "fields": ["{}", '{"name":"Ink \\"black\\""}', '{"a":1}', '{"coupon":"ALL"}'],
        }
    )
    codes = pl.DataFrame({"contact_id": [1, 2, 4], "coupon": ["X-1", "X-2", "X-4"]})

    told = with_codes(audience, codes)

    assert [json.loads(each) for each in told["fields"]] == [
        {"coupon": "X-1"},
        {"coupon": "X-2", "name": 'Ink "black"'},
        {"a": 1},
        {"coupon": "X-4"},
    ]
