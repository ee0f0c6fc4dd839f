"""Dates, money, numbers and plurals by language: what CLDR says, and what happens without one."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import Refused
from pipelines.message.sandbox import fill_environment

ENVIRONMENT = fill_environment(autoescape=False)
DAY, NIGHT = date(2026, 11, 2), datetime(2026, 11, 2, 23, 30, tzinfo=UTC)


def shown(source: str, **values: Any) -> str:
    return (
        ENVIRONMENT.from_string(source).render(values).replace("\u00a0", " ").replace("\u202f", " ")
    )


@pytest.mark.parametrize(
    ("source", "locale", "told"),
    [
        ("{{ d | date }}", "en-GB", "2 November 2026"),
        ("{{ d | date }}", "en-US", "November 2, 2026"),
        ("{{ d | date('full') }}", "de-DE", "Montag, 2. November 2026"),
        ("{{ d | date }}", "pl", "2 listopada 2026"),
        ("{{ '2026-11-02' | date }}", "fr-FR", "2 novembre 2026"),
        ("{{ 123456 | money('EUR') }}", "de-DE", "1.234,56 €"),
        ("{{ 123456 | money('EUR') }}", "en-IE", "€1,234.56"),
        ("{{ 1234 | money('JPY') }}", "ja-JP", "￥1,234"),
        ("{{ 1234 | money('BHD') }}", "en", "BHD1.234"),
        ("{{ -950 | money('EUR') }}", "fr", "-9,50 €"),
        ("{{ 1234567.5 | number }}", "de-CH", "1’234’567.5"),
    ],
)
def test_each_language_writes_its_own_way(source: str, locale: str, told: str):
    assert shown(source, d=DAY, locale=locale) == told


POLISH = "{{ n | plural(one='{n} list', few='{n} listy', many='{n} listów', other='{n} listu') }}"


@pytest.mark.parametrize(
    ("n", "told"), [(1, "1 list"), (3, "3 listy"), (5, "5 listów"), (1.5, "1,5 listu")]
)
def test_a_language_with_four_forms_gets_the_one_it_uses(n: float, told: str):
    assert shown(POLISH, n=n, locale="pl-PL") == told


def test_a_moment_is_shown_in_the_contact_s_own_time_zone():
    told = "{{ at | date }}, {{ at | moment('short') }}"

    here = shown(told, at=NIGHT, locale="en-GB", time_zone="Europe/Paris")

    assert here == "3 November 2026, 03/11/2026, 00:30"
    assert shown(told, at=NIGHT, locale="en-GB") == "2 November 2026, 02/11/2026, 23:30"
    assert shown(told, at="2026-11-02T23:30:00Z", locale="en-GB", time_zone="Nowhere/At all") == (
        "2 November 2026, 02/11/2026, 23:30"
    )


@pytest.mark.parametrize(
    "locale", ["tlh", "", None, "x" * 5000, "de-DE-1901-weird", "../../etc", "é"]
)
def test_a_language_nobody_knows_is_read_as_the_nearest_one_that_is(locale: str | None):
    found = shown("{{ d | date }}", d=DAY, locale=locale)

    assert found == (
        "2. November 2026" if locale and locale.startswith("de") else "November 2, 2026"
    )


@pytest.mark.parametrize(
    "filtered", ["date", "moment", "money('EUR')", "number", "plural(other='x')"]
)
@pytest.mark.parametrize("value", [None, ""])
def test_what_a_contact_lacks_stays_empty(filtered: str, value: object):
    assert shown(f"{{{{ v | {filtered} }}}}", v=value) == ""


def refusal(filtered: str, value: object) -> str | None:
    """Why a value is refused, None when it is shown."""
    try:
        shown(f"{{{{ v | {filtered} }}}}", v=value)
    except Refused as refused:
        return str(refused)
    return None


@pytest.mark.parametrize("filtered", ["date", "money('EUR')", "number", "plural(other='{n}')"])
@given(
    value=st.one_of(
        st.text(max_size=30), st.floats(), st.integers(), st.booleans(), st.binary(max_size=5)
    )
)
def test_a_value_that_is_none_is_refused_without_being_told(filtered: str, value: object):
    untold = "a value cannot be written as a date, an amount or a number"

    assert refusal(filtered, value) in {None, untold}


def test_a_plural_without_other_is_refused():
    with pytest.raises(Refused, match="plural needs other="):
        shown("{{ 1 | plural(one='x') }}")
