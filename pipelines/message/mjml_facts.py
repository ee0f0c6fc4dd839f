"""The elements of MJML: what each may hold, where it may stand, and which attributes it has.

The facts are data, mjml.yaml; this knows only how they are read.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

FILE = Path(__file__).with_name("mjml.yaml")
# HTML elements that have no end.
VOID = frozenset(
    "area base br col embed hr img input link meta param source track wbr".split()  # noqa: SIM905
)
EVERYWHERE = frozenset({"css-class", "mj-class"})


class Holds(StrEnum):
    """What may stand in an element."""

    ELEMENTS = "elements"
    HTML = "html"
    TEXT = "text"
    NOTHING = "nothing"


class Fact(BaseModel):
    """One element of MJML. `attributes` is None where it may have any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    holds: Holds
    within: list[str] = Field(alias="in")
    attributes: list[str] | None = None


@cache
def elements() -> dict[str, Fact]:
    """Every element by name, read once."""
    listed = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {name: Fact.model_validate(fact) for name, fact in listed.items()}
