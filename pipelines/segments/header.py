"""The comment at the top of a SQL file: what it holds, whose it is, when and how it is checked.

Knows the fields of a header and how to tell what is wrong with one; reads no SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from enum import StrEnum
from math import isfinite
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from pipelines.errors import Problem, did_you_mean


def _a_day(given: object) -> object:
    """Only what is written as one: Pydantic would read the text "86400" as a day of 1970."""
    if isinstance(given, str) and not re.fullmatch(r"\d{4}-\d\d-\d\d", given):
        raise ValueError("is no date")
    return given


COMMENT = re.compile(r"\s*/\*(?P<yaml>.*?)\*/", re.DOTALL)
NAME = r"^[a-z][a-z0-9_]*$"
MUST_BE_NAMED = "must be small letters, digits and _, beginning with a letter"
Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]
# What a parameter may be worth; put into the SQL as a literal of its type.
Day = Annotated[date, BeforeValidator(_a_day)]
Value = StrictBool | StrictInt | Number | Day | StrictStr


class Status(StrEnum):
    DRAFT = "draft"
    LIVE = "live"
    DEPRECATED = "deprecated"


class Refresh(StrEnum):
    """How often a segment that asks about the time is evaluated anew."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    ON_CHANGE = "on_change"


# Checks that every segment has; a shared one cannot go by the same name.
ALWAYS = (
    "contact_id_is_there", "contact_id_is_unique", "contact_id_is_known", "not_empty", "not_everybody",
    "grows_within_bounds", "inputs_are_fresh",
)  # fmt: skip


class Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Parameter(Closed):
    """A value the SQL leaves open; its type is that of its default."""

    default: Value
    description: str = ""

    def accepts(self, value: object) -> bool:
        if isinstance(self.default, float):
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            return is_whole or (isinstance(value, float) and isfinite(value))
        return type(value) is type(self.default) or self._is_dated(value)

    def taken(self, value: Value) -> Value:
        return str(value) if self._is_dated(value) else value

    def _is_dated(self, value: object) -> bool:
        """A text that looks like a date is one to YAML, and to whoever reads an approval again."""
        return isinstance(self.default, str) and type(value) is date

    @property
    def kind(self) -> str:
        kinds = {bool: "yes or no", int: "a whole number", float: "a number", date: "a date"}
        return kinds.get(type(self.default), "a text")


class Checks(Closed):
    """What must hold of the members, besides being unique and known; shares are 0 to 1."""

    rows_at_least: Annotated[StrictInt, Field(ge=0)] | None = None
    rows_at_most: Annotated[StrictInt, Field(ge=0)] | None = None
    share_at_most: Annotated[float, Field(strict=True, gt=0, le=1)] | None = None
    growth_at_most: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    no_rows: list[Annotated[str, Field(pattern=NAME)]] = []

    @field_validator("rows_at_most")
    @classmethod
    def _can_hold(cls, most: int | None, others: ValidationInfo) -> int | None:
        least = others.data.get("rows_at_least")
        if most is not None and least is not None and most < least:
            raise ValueError(f"is {most}, and rows_at_least is {least}: no segment has both")
        return most

    @field_validator("no_rows")
    @classmethod
    def _not_one_of_ours(cls, names: list[str]) -> list[str]:
        if taken := [name for name in names if name in ALWAYS or name in cls.model_fields]:
            raise ValueError(
                f"{taken[0]} is the name of a check there is anyway; name it otherwise"
            )
        return names


class Header(Closed):
    """What the comment at the top of a SQL file says about it."""

    description: Annotated[str, Field(min_length=10)]
    owner: Annotated[str, Field(pattern=r"^(team:\S+|[^@\s]+@[^@\s]+)$")]
    grain: str = "one row per contact"
    status: Status = Status.LIVE
    replaced_by: Annotated[str, Field(pattern=NAME)] | None = None
    refresh: Refresh = Refresh.DAILY
    parameters: dict[Annotated[str, Field(pattern=NAME)], Parameter] = {}
    checks: Checks = Checks()

    @field_validator("parameters", mode="before")
    @classmethod
    def _short_form(cls, given: Any) -> Any:
        """`days: 30` stands for `days: {default: 30}`."""
        if not isinstance(given, dict):
            return given
        return {
            n: each if isinstance(each, dict) else {"default": each} for n, each in given.items()
        }

    @field_validator("parameters")
    @classmethod
    def _not_the_time(cls, given: dict[str, Parameter]) -> dict[str, Parameter]:
        if "as_of" in given:
            raise ValueError("as_of is given by whoever runs it, and cannot be declared")
        return given

    @field_validator("replaced_by")
    @classmethod
    def _replaced(cls, name: str | None, others: ValidationInfo) -> str | None:
        if name and others.data.get("status", Status.DEPRECATED) is not Status.DEPRECATED:
            raise ValueError("is said of a deprecated file only; set status: deprecated")
        return name


# What each field must be, in words; Pydantic's own speak of patterns and types.
MUST: Mapping[str, str] = {
    "description": "must say in a sentence who is in it",
    "owner": "must be team:NAME or an e-mail address",
    "grain": "must be a text such as 'one row per contact'",
    "status": f"must be one of {', '.join(Status)}",
    "refresh": f"must be one of {', '.join(Refresh)}",
    "replaced_by": "must be the name of another file",
    "parameters": "must be lines like `days: {default: 30, description: how far back}`",
    "checks": f"must be lines of {', '.join(Checks.model_fields)}",
    "parameters.name": MUST_BE_NAMED,
    "parameters.default": "must be a text, a number, a date, true or false",
    "parameters.description": "must be a text",
    "rows_at_least": "must be a whole number, 0 or more",
    "rows_at_most": "must be a whole number, 0 or more",
    "share_at_most": "must be a share between 0 and 1",
    "growth_at_most": "must be a share above 0; 0.5 allows half as much again",
    "no_rows": "must be a list of names of sql/checks/",
}


def read_header(text: str, problems: list[Problem]) -> tuple[Header | None, int]:
    """The header of a SQL file, and where in the text the SQL begins. Adds what is wrong to problems."""
    match = COMMENT.match(text)
    if match is None:
        told = "begins without a header; write /* description: …, owner: … */ above the SELECT"
        problems.append(Problem("line 1", told))
        return None, 0
    first = text[: match.start("yaml")].count("\n") + 1
    try:
        values = yaml.safe_load(match["yaml"])
        written = yaml.compose(match["yaml"], Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        at = first + getattr(getattr(error, "problem_mark", None), "line", 0)
        told = f"the header is not YAML: {getattr(error, 'problem', None) or 'it cannot be read'}"
        problems.append(Problem(f"line {at}", told))
        return None, match.end()
    if values is not None and not isinstance(values, dict):
        problems.append(Problem(f"line {first}", "the header must be lines of `field: value`"))
        return None, match.end()
    problems += _twice(written, first)
    try:
        return Header.model_validate(values or {}), match.end()
    except ValidationError as invalid:
        # A value of no type that may be is told once for each of these types.
        problems += dict.fromkeys(_problem(dict(e), written, first) for e in invalid.errors())
        return None, match.end()


def _twice(node: yaml.Node | None, first: int) -> Iterator[Problem]:
    """A problem for each field that stands twice: YAML would take the last one."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    names = [key.value for key, _ in pairs]
    for at, (key, value) in enumerate(pairs):
        if key.value in names[:at]:
            yield Problem(f"line {first + key.start_mark.line}, {key.value}", "stands twice")
        yield from _twice(value, first)


def _problem(error: dict[str, Any], written: yaml.Node | None, first: int) -> Problem:
    # Behind the third part Pydantic names the types it tried.
    location = [str(part) for part in error["loc"] if part != "[key]"][:3]
    where = f"line {first + _line(location, written)}, {'.'.join(location)}"
    field = _field(location)
    match error["type"]:
        case "extra_forbidden" | "invalid_key":
            known: dict[str, Any] = {"checks": Checks, "parameters": Parameter}
            model = known.get(location[0], Header) if len(location) > 1 else Header
            return Problem(where, f"is not known.{did_you_mean(location[-1], model.model_fields)}")
        case "missing":
            return Problem(where, f"is missing; it {MUST[field]}")
        case "value_error":
            return Problem(where, str(error["msg"]).removeprefix("Value error, "))
    return Problem(where, f"{MUST[field]}{_near(field, str(error.get('input')))}")


def _field(location: list[str]) -> str:
    """The key of MUST that speaks of a place in the header."""
    if location[0] == "parameters" and len(location) > 1:
        return f"parameters.{location[2]}" if len(location) > 2 else "parameters.name"
    return next((part for part in reversed(location) if part in MUST), location[0])


def _near(field: str, given: str) -> str:
    words: Mapping[str, type[StrEnum]] = {"status": Status, "refresh": Refresh}
    return "." + did_you_mean(given, words[field]) if field in words else f", not '{given[:40]}'"


def _line(location: list[str], node: yaml.Node | None) -> int:
    """The line, from 0, of the innermost part of a place that is written."""
    line = 0
    for part in location:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        found = next(((key, value) for key, value in pairs if key.value == part), None)
        if found is None:
            return line
        line, node = found[0].start_mark.line, found[1]
    return line
