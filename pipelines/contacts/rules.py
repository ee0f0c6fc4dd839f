"""How one value is made from the columns of a source row, and why it cannot be.

Knows kinds of values and their spellings; everything is an expression over a whole frame of text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

ISO_DATE = "%Y-%m-%d"
YES = ["1", "true", "t", "yes", "y", "on"]
NO = ["0", "false", "f", "no", "n", "off"]
# ISO 4217: currencies whose minor unit is not a hundredth.
MINOR_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX",
                     "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}  # fmt: skip


class Kind(StrEnum):
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    MONEY = "money"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"


class Rule(BaseModel):
    """Where a value comes from (one of column, constant, template) and how it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str | None = None
    constant: str | None = None
    template: str | None = Field(None, description="text with {column} and {row_number} in it")
    type: Kind | None = Field(None, description="only for attributes; fields know their own")
    format: str | None = Field(
        None, description="of dates, such as %d.%m.%Y %H:%M; ISO 8601 if none"
    )
    time_zone: str | None = None
    values: dict[str, str] = {}
    decimal: str = "."
    thousands: str = ""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> Rule:
        if sum(each is not None for each in (self.column, self.constant, self.template)) != 1:
            raise ValueError("needs exactly one of column, constant and template")
        return self

    @property
    def columns(self) -> list[str]:
        """The columns of the export it reads."""
        if self.template is not None:
            return [
                name for name in re.findall(r"{([^{}]+)}", self.template) if name != "row_number"
            ]
        return [self.column] if self.column is not None else []


@dataclass(frozen=True)
class Reading:
    """A value, whether there is text for it, and what is said of text that cannot be read as one."""

    value: pl.Expr
    is_given: pl.Expr
    complaint: str

    @property
    def problem(self) -> pl.Expr:
        return pl.when(self.is_given & self.value.is_null()).then(pl.lit(self.complaint))

    def kept_in(self, column: str) -> Reading:
        """The same, of a value that a column holds: it is not read again for each question."""
        return replace(self, value=pl.col(column))


@dataclass(frozen=True)
class Defaults:
    """What a source says once for all its values."""

    time_zone: str = "UTC"
    currency: str | None = None


def read(rule: Rule, kind: Kind, field: str, defaults: Defaults) -> Reading:
    """The value of a field. Empty text is null, and no problem of this module's."""
    value, complaint = _parsed(_text(rule), kind, rule, defaults)
    return Reading(value, _spelled(rule).is_not_null(), f"{field} {complaint}")


def money(text: pl.Expr, currency: str | None) -> pl.Expr:
    """Decimal text as minor units; null unless it is a number without excess decimals."""
    digits = MINOR_DIGITS.get(currency or "", 2)
    shape = rf"^[+-]?\d{{1,15}}(\.\d{{0,{digits}}}0*)?$"
    fine = text.str.contains(shape)
    whole = text.str.extract(r"^[+-]?(\d+)", 1)
    part = (
        text.str.extract(r"\.(\d*)$", 1).fill_null("").str.slice(0, digits).str.pad_end(digits, "0")
    )
    units = (whole + part).cast(pl.Int64, strict=False)
    signed = pl.when(text.str.starts_with("-")).then(-units).otherwise(units)
    return pl.when(fine).then(signed)


def _spelled(rule: Rule) -> pl.Expr:
    """The text as it stands, trimmed; empty is null."""
    if rule.constant is not None:
        return pl.lit(rule.constant)
    if rule.template is not None:
        names = ["row_number", *rule.columns]
        literal = re.sub(r"{([^{}]+)}", "{}", rule.template)
        order = re.findall(r"{([^{}]+)}", rule.template)
        assert set(order) <= set(names)
        parts = [pl.col(name).cast(pl.String).str.strip_chars().replace("", None) for name in order]
        return pl.format(literal, *parts)
    assert rule.column is not None
    return pl.col(rule.column).str.strip_chars().replace("", None)


def _text(rule: Rule) -> pl.Expr:
    text = _spelled(rule)
    if rule.values:
        text = text.replace_strict(
            list(rule.values), list(rule.values.values()), default=None, return_dtype=pl.String
        )
    if rule.thousands:
        text = text.str.replace_all(rule.thousands, "", literal=True)
    return text if rule.decimal == "." else text.str.replace(rule.decimal, ".", literal=True)


def _parsed(text: pl.Expr, kind: Kind, rule: Rule, defaults: Defaults) -> tuple[pl.Expr, str]:
    match kind:
        case Kind.INTEGER:
            whole = pl.when(text.str.contains(r"^[+-]?\d{1,18}$")).then(text)
            return whole.cast(pl.Int64, strict=False), "is not a whole number"
        case Kind.NUMBER:
            number = pl.when(text.str.contains(r"^[+-]?\d+(\.\d+)?$")).then(text)
            return number.cast(pl.Float64, strict=False), "is not a number"
        case Kind.MONEY:
            return money(text, defaults.currency), "is not an amount of money"
        case Kind.BOOLEAN:
            spelled = text.str.to_lowercase()
            yes = pl.when(spelled.is_in(YES)).then(pl.lit(True))
            return yes.when(spelled.is_in(NO)).then(pl.lit(False)), "is neither yes nor no"
        case Kind.DATE:
            shape = rule.format or ISO_DATE
            return text.str.to_date(shape, strict=False), f"is not a date like {shape}"
        case Kind.TIMESTAMP:
            shape = rule.format or "ISO 8601"
            zone = rule.time_zone or defaults.time_zone
            return _timestamp(text, rule.format, zone), f"is not a time like {shape}"
        case Kind.TEXT:
            return text, "is not one of the values the source file names"


def _timestamp(text: pl.Expr, shape: str | None, zone: str) -> pl.Expr:
    """A moment in UTC. A wall clock's time that comes twice is the first, one left out is null."""
    if shape is None:
        # No wall clock says Z: trying it on one after the other is two thirds of reading a large log.
        local = pl.when(~text.str.ends_with("Z")).then(text)
        return pl.coalesce(
            _aware(text), *(_wall(local, each, zone) for each in ("%Y-%m-%dT%H:%M:%S%.f",
            "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", ISO_DATE))
        )  # fmt: skip
    if "%z" in shape or "%:z" in shape:
        return _utc(text.str.to_datetime(shape, time_unit="us", strict=False))
    return _wall(text, shape, zone)


def _aware(text: pl.Expr) -> pl.Expr:
    offset = text.str.replace(r"[zZ]$", "+00:00").str.replace(" ", "T", literal=True)
    return _utc(offset.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", strict=False))


def _wall(text: pl.Expr, shape: str, zone: str) -> pl.Expr:
    has_clock = any(mark in shape for mark in ("%H", "%I", "%T", "%R"))
    local = (
        text.str.to_datetime(shape, time_unit="us", strict=False)
        if has_clock
        else text.str.to_date(shape, strict=False).cast(pl.Datetime("us"))
    )
    return _utc(local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null"))


def _utc(moment: pl.Expr) -> pl.Expr:
    return moment.dt.convert_time_zone("UTC")
