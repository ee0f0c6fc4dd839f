"""Values read from text: money, times, and what cannot be read."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contacts.rules import Defaults, Kind, Rule, money, read


def value_of(text: str | None, kind: Kind, **rule: object) -> tuple[object, str | None]:
    frame = pl.DataFrame({"x": [text]}, schema={"x": pl.String})
    reading = read(Rule(column="x", **rule), kind, "field", Defaults())
    return frame.select(reading.value.alias("v"), reading.problem.alias("p")).row(0)


@given(st.integers(-(10**12), 10**12))
def test_money_is_exact_to_the_cent(cents: int) -> None:
    text = str(Decimal(cents) / 100)

    assert pl.select(money(pl.lit(text), "EUR")).item() == cents


@pytest.mark.parametrize(
    ("text", "currency", "units"),
    [("12", "EUR", 1200), ("-0.05", "EUR", -5), ("1.500", "EUR", 150), ("1.505", "EUR", None),
     ("100", "JPY", 100), ("1.5", "JPY", None), ("1.234", "KWD", 1234), ("1e3", "EUR", None)],
)  # fmt: skip
def test_money_knows_how_many_decimals_a_currency_has(
    text: str, currency: str, units: int | None
) -> None:
    assert pl.select(money(pl.lit(text), currency)).item() == units


def test_money_is_read_with_the_marks_of_the_source() -> None:
    assert value_of("1.234,50", Kind.MONEY, decimal=",", thousands=".")[0] == 123450


@given(st.datetimes(*(datetime(year, 1, 1) for year in (1950, 2100))))  # noqa: DTZ001
def test_a_wall_clock_time_is_read_in_its_zone(local: datetime) -> None:
    zone = ZoneInfo("Europe/Paris")
    aware = local.replace(second=0, microsecond=0, tzinfo=zone)
    if aware.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != aware.replace(tzinfo=None):
        return  # skipped by the clock in spring
    text = aware.strftime("%d.%m.%Y %H:%M")

    found, _ = value_of(text, Kind.TIMESTAMP, format="%d.%m.%Y %H:%M", time_zone="Europe/Paris")

    assert found == aware.astimezone(UTC)


@pytest.mark.parametrize(
    "text", ["2026-11-02T08:00:00Z", "2026-11-02T09:00:00+01:00", "2026-11-02 08:00", "2026-11-02T08:00"]
)  # fmt: skip
def test_iso_times_need_no_format(text: str) -> None:
    assert value_of(text, Kind.TIMESTAMP)[0] == datetime(2026, 11, 2, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [("2026-02-30", Kind.DATE, "field is not a date like %Y-%m-%d"),
     ("soon", Kind.TIMESTAMP, "field is not a time like ISO 8601"),
     ("1.5", Kind.INTEGER, "field is not a whole number"),
     ("maybe", Kind.BOOLEAN, "field is neither yes nor no")],
)  # fmt: skip
def test_what_cannot_be_read_is_null_and_has_a_reason(text: str, kind: Kind, reason: str) -> None:
    assert value_of(text, kind) == (None, reason)
