"""Addresses: what is the same, what is refused, and what is shown."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contacts import address
from pipelines.contacts.address import address_hash, hash_series, mask, normalise, normalise_series

LOCAL = st.text("abcXYZ0189+_-ÄÉß", min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        (" Ada@Shop.Example ", "ada@shop.example"),
        ("bert@brückner.example", "bert@xn--brckner-o2a.example"),
        ("BERT@BRÜCKNER.example", "bert@xn--brckner-o2a.example"),
        ("o'neill+news@shop.example", "o'neill+news@shop.example"),
    ],
)
def test_an_address_is_compared_without_case_and_blanks_and_in_ascii(typed: str, same: str) -> None:
    assert normalise(typed) == same


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", address.MISSING),
        ("ada at shop.example", address.NO_AT),
        ("a@b@shop.example", address.NO_AT),
        ("a..b@shop.example", address.BAD_LOCAL),
        ("ada\r\nBcc:x@shop.example", address.BAD_LOCAL),
        ("ada@shop", address.BAD_DOMAIN),
        ("ada@-shop.example", address.BAD_DOMAIN),
        ("ada@127.0.0.1", address.BAD_DOMAIN),
        (f"{'a' * 65}@shop.example", address.TOO_LONG),
    ],
)
def test_a_broken_address_is_refused_with_its_reason(typed: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        normalise(typed)


@given(LOCAL)
def test_normalising_twice_changes_nothing_more(local: str) -> None:
    once = normalise(f"{local}@Shop.Example")

    assert normalise(once) == once


@given(st.lists(st.text(max_size=30) | st.none()))
def test_every_text_is_either_an_address_or_has_a_reason(typed: list[str | None]) -> None:
    judged = normalise_series(pl.Series(typed, dtype=pl.String))

    assert judged.height == len(typed)
    assert (judged["address_normalised"].is_null() != judged["problem"].is_null()).all()


def test_a_hash_needs_the_key_and_is_the_same_for_one_and_for_many() -> None:
    one = address_hash("ada@shop.example", b"key")

    assert hash_series(pl.Series(["ada@shop.example"]), b"key").to_list() == [one]
    assert one != address_hash("ada@shop.example", b"another")
    assert mask("ada@shop.example") == "a•••@shop.example"
