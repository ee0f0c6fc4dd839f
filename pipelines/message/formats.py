"""Dates, money, numbers and plurals as a contact's language writes them (CLDR, through Babel).

Filters of the fill phase. They read `locale` and `time_zone` of the contact; what a contact lacks, or
nobody knows, falls back to English and UTC. An empty value stays empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal, get_currency_precision
from jinja2 import pass_context
from jinja2.runtime import Context

from pipelines.errors import Refused

FALLBACK = "en"
STYLES = frozenset({"short", "medium", "long", "full"})
FORMS = frozenset({"zero", "one", "two", "few", "many", "other"})
# Messages of one campaign say the same prices and dates again and again.
REMEMBERED = 4096


@pass_context
def as_date(context: Context, value: Any, style: str = "long") -> str:
    """A day: `{{ birth_on | date }}`. A moment is a day in the contact's time zone."""
    return _shown(value, lambda: _date(_day(value, context), _known(style), _locale(context)))


@pass_context
def as_moment(context: Context, value: Any, style: str = "medium") -> str:
    """A day and a time in the contact's time zone: `{{ starts_at | moment("short") }}`."""

    def shown() -> str:
        found = _moment(value)
        if not isinstance(found, datetime):
            raise Refused("moment is for times; of a day say date")
        return format_datetime(
            found.astimezone(_zone(context)), _known(style), locale=_locale(context)
        )

    return _shown(value, shown)


@pass_context
def as_money(context: Context, minor: Any, currency: str) -> str:
    """An amount in minor units, as tables keep it: `{{ price_minor | money("EUR") }}`."""
    return _shown(minor, lambda: _money(_whole(minor), str(currency).upper(), _locale(context)))


@pass_context
def as_number(context: Context, value: Any) -> str:
    """A number with the language's separators: `{{ points | number }}`."""
    return _shown(value, lambda: _number(_decimal(value), _locale(context)))


@pass_context
def as_plural(context: Context, count: Any, **forms: str) -> str:
    """The form a language uses for a count, `{n}` in it the count itself:
    `{{ orders | plural(one="{n} order", other="{n} orders") }}`.

    A language with more forms names them: zero, two, few, many. `other` must be there.
    """
    if "other" not in forms or not forms.keys() <= FORMS:
        raise Refused(f"plural needs other=, and knows {', '.join(sorted(FORMS))}")

    def shown() -> str:
        locale, number = _locale(context), _decimal(count)
        form = Locale.parse(locale).plural_form(number)
        return str(forms.get(form, forms["other"])).replace("{n}", _number(number, locale))

    return _shown(count, shown)


FILTERS: Mapping[str, Callable[..., str]] = MappingProxyType(
    {
        "date": as_date,
        "moment": as_moment,
        "money": as_money,
        "number": as_number,
        "plural": as_plural,
    }
)


def _shown(value: Any, shown: Callable[[], str]) -> str:
    if value is None or value == "":
        return ""
    try:
        return shown()
    except (ValueError, InvalidOperation, OverflowError):
        # The value is not quoted: it is about somebody.
        raise Refused("a value cannot be written as a date, an amount or a number") from None


def _locale(context: Context) -> str:
    # A letter in another language than the contact's says its dates in its own.
    return _parsed(str(context.get("_locale") or context.get("locale") or FALLBACK))


@lru_cache(maxsize=REMEMBERED)
def _parsed(name: str) -> str:
    """The nearest language that is known: de-DE-x as de_DE, gsw-XX as gsw, tlh as the fallback."""
    parts = name[:40].replace("_", "-").split("-")
    for length in range(len(parts), 0, -1):
        try:
            return str(Locale.parse("-".join(parts[:length]), sep="-"))
        except (UnknownLocaleError, ValueError, TypeError):
            continue
    return FALLBACK


def _zone(context: Context) -> ZoneInfo:
    return _known_zone(str(context.get("time_zone") or "UTC"))


@lru_cache(maxsize=REMEMBERED)
def _known_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def _moment(value: Any) -> date | datetime:
    """A day or a moment; columns of a segment come as ISO 8601 texts."""
    if isinstance(value, str):
        value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return value
    raise ValueError


def _day(value: Any, context: Context) -> date:
    found = _moment(value)
    return found.astimezone(_zone(context)).date() if isinstance(found, datetime) else found


def _known(style: str) -> Any:
    if style not in STYLES:
        raise Refused(f"a date has one of the styles {', '.join(sorted(STYLES))}")
    return style


def _whole(value: Any) -> int:
    found = _decimal(value)
    if found != found.to_integral_value():
        raise ValueError
    return int(found)


def _decimal(value: Any) -> Decimal:
    found = Decimal(str(value)) + 0  # no minus before nothing
    if isinstance(value, bool) or not found.is_finite() or abs(found) > Decimal(10) ** 18:
        raise ValueError
    return found


@lru_cache(maxsize=REMEMBERED)
def _date(day: date, style: Any, locale: str) -> str:
    return format_date(day, style, locale=locale)


@lru_cache(maxsize=REMEMBERED)
def _money(minor: int, currency: str, locale: str) -> str:
    amount = Decimal(minor).scaleb(-get_currency_precision(currency))
    return format_currency(amount, currency, locale=locale)


@lru_cache(maxsize=REMEMBERED)
def _number(value: Decimal, locale: str) -> str:
    return format_decimal(value, locale=locale)
