"""Source files, assets/sources/<name>.yaml: which export holds what, and how its columns are read.

Knows the shape of a source; reads no export.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import AwareDatetime, BaseModel, Field, ValidationError, field_validator

from pipelines.contacts.fields import (
    FIELDS,
    Activities,
    Consents,
    Contacts,
    Fields,
    OrderLines,
    Orders,
    Products,
    Suppressions,
)
from pipelines.contacts.formats import FORMATS, Closed, FixedColumn, Format
from pipelines.contacts.rules import Rule
from pipelines.errors import Problem, SourceInvalid, did_you_mean

FOLDER = Path("assets/sources")
NAME = r"^[a-z][a-z0-9_]*$"


class Entity(StrEnum):
    CONTACTS = "contacts"
    ORDERS = "orders"
    ORDER_LINES = "order_lines"
    PRODUCTS = "products"
    ACTIVITIES = "activities"
    CONSENTS = "consents"
    SUPPRESSIONS = "suppressions"


class Export(Closed):
    """One file, how it is written, and what its rows hold."""

    file: str
    format: Format
    contacts: Contacts | None = None
    orders: Orders | None = None
    order_lines: OrderLines | None = None
    products: Products | None = None
    activities: Activities | None = None
    consents: Consents | None = None
    suppressions: Suppressions | None = None

    def entities(self) -> dict[Entity, Fields]:
        found = {entity: getattr(self, entity) for entity in Entity}
        return {entity: fields for entity, fields in found.items() if fields is not None}

    def columns(self) -> set[str]:
        """Every column the mappings name."""
        return {name for fields in self.entities().values() for name in fields.columns()}


class Statement(Closed):
    """Consent declared for everybody of a source at once, with its evidence."""

    topics: Annotated[list[str], Field(min_length=1)]
    status: Literal["granted", "withdrawn"] = "granted"
    lawful_basis: str
    wording_version: str
    recorded_at: AwareDatetime
    proof: str
    fictitious: bool = False
    tracking: bool = False


class Source(Closed):
    """A system that exports contacts and what they did."""

    name: Annotated[str, Field(pattern=NAME)]
    description: str
    owner: str
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    time_zone: str = "UTC"
    fictitious: bool = Field(False, description="its consents are made up for a demonstration")
    consent: Statement | None = None
    exports: Annotated[dict[Annotated[str, Field(pattern=NAME)], Export], Field(min_length=1)]

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("is not an IANA time zone such as Europe/Paris") from None
        return name

    def table(self, export: str) -> str:
        return f"raw.{self.name}_{export}"


def discover(project: Path) -> dict[str, Source | SourceInvalid]:
    """Every source of the project by name; one that cannot be used is the error that says why."""
    found: dict[str, Source | SourceInvalid] = {}
    for path in sorted((project / FOLDER).glob("*.yaml")):
        try:
            found[path.stem] = load(path)
        except SourceInvalid as error:
            found[path.stem] = error
    return found


def find(project: Path, name: str) -> Source:
    """Raises SourceInvalid when there is no such source, or it cannot be used."""
    found = discover(project)
    if name not in found:
        do = "See what there is: lettermill source list"
        raise SourceInvalid(f"there is no source '{name}'.{did_you_mean(name, found)}", do=do)
    source = found[name]
    if isinstance(source, SourceInvalid):
        raise source
    return source


def load(path: Path) -> Source:
    """Read one file. Raises SourceInvalid with every problem in it."""
    do = f"Fix the file, then run: lettermill source check {path.stem}"
    shown = FOLDER / path.name
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        first = " ".join(str(error).split())
        raise SourceInvalid(f"{shown} cannot be read", [Problem("file", first)], do=do) from None
    if not isinstance(values, dict):
        problem = Problem("file", "must hold `field: value` lines")
        raise SourceInvalid(f"{shown} has 1 problem", [problem], do=do)
    try:
        return Source.model_validate({"name": path.stem, **values})
    except ValidationError as invalid:
        problems = [_problem(error) for error in invalid.errors()]
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        raise SourceInvalid(f"{shown} has {count}", problems, do=do) from None


def _problem(error: Any) -> Problem:
    location = [part for part in error["loc"] if not (isinstance(part, str) and part == "[key]")]
    where = ".".join(str(part) for part in location) or "file"
    if error["type"] == "extra_forbidden":
        near = did_you_mean(str(location[-1]), _known(location[:-1]))
        return Problem(where, f"is not a field here.{near}")
    if error["type"] == "missing":
        return Problem(where, "is missing")
    said = str(error["msg"]).removeprefix("Value error, ")
    return Problem(where, said[:1].lower() + said[1:])


def _known(location: list[Any]) -> list[str]:
    """The fields there are at a place of the file, for suggesting one."""
    by_place: dict[str, type[BaseModel]] = {
        **FIELDS, **FORMATS, "consent": Statement, "columns": FixedColumn,
    }  # fmt: skip
    if not location:
        model: type[BaseModel] = Source
    elif location[0] == "exports" and len(location) == 2:
        model = Export
    else:
        model = by_place.get(str(location[-1]), Rule)
    return list(model.model_fields)
