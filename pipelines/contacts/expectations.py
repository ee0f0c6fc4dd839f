"""What must hold of the contacts before they are written: a Great Expectations suite.

The only module that imports Great Expectations and pandas; importing it takes seconds, so whoever
checks imports it then. It sees contact ids and counts, and passes on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import great_expectations as gx
import pandas as pd
import polars as pl
from great_expectations import expectations
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from pipelines.contacts.gate import EXPECTED, WARNINGS

MOST_ODD = 0.01
ADDRESS = r"^[^\s@]+@[^\s@]+\.[^\s@.]+$"


class Severity(StrEnum):
    BLOCKING = "blocking"
    WARNING = "warning"


@dataclass(frozen=True)
class Outcome:
    """What came of one expectation."""

    name: str
    success: bool
    severity: Severity
    observed: str
    failing: int

    @property
    def blocks(self) -> bool:
        return not self.success and self.severity is Severity.BLOCKING


# Its names come and go with the registry, which type checkers cannot see.
gxe: Any = expectations
Make = Callable[[], Any]
SUITE: dict[str, Make] = {
    "there_are_contacts": lambda: gxe.ExpectTableRowCountToBeBetween(min_value=1),
    "contact_id_is_there": lambda: gxe.ExpectColumnValuesToNotBeNull(column="contact_id"),
    "contact_id_is_unique": lambda: gxe.ExpectColumnValuesToBeUnique(column="contact_id"),
    "address_is_there": lambda: gxe.ExpectColumnValuesToNotBeNull(column="address_normalised"),
    "address_is_unique": lambda: gxe.ExpectColumnValuesToBeUnique(column="address_normalised"),
    "address_can_be_mailed": lambda: gxe.ExpectColumnValuesToMatchRegex(
        column="address_normalised", regex=ADDRESS
    ),
    "country_is_two_letters": lambda: gxe.ExpectColumnValuesToMatchRegex(
        column="country", regex="^[A-Z]{2}$", mostly=1 - MOST_ODD
    ),
}
assert tuple(SUITE) == tuple(EXPECTED)
COLUMNS = ["contact_id", "address_normalised", "country"]


def check(contacts: pl.DataFrame) -> list[Outcome]:
    """One outcome per expectation, in the order of the suite. Nothing is written anywhere."""
    # Only the columns needed, and kept in Arrow's memory: a fifth of the conversion.
    table = contacts.select(COLUMNS).to_arrow()
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    quiet = DataContextConfig(
        analytics_enabled=False, store_backend_defaults=InMemoryStoreBackendDefaults()
    )
    context = gx.get_context(mode="ephemeral", project_config=quiet)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("candidate").add_dataframe_asset("contacts")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    return [_outcome(name, batch.validate(make())) for name, make in SUITE.items()]


def _outcome(name: str, validated: Any) -> Outcome:
    found = validated.result
    failing = int(found.get("unexpected_count") or 0)
    # observed_value is a count here; examples of failing values would be addresses.
    observed = found.get(
        "observed_value", f"{failing} of {found.get('element_count', 0)} rows fail"
    )
    severity = Severity.WARNING if name in WARNINGS else Severity.BLOCKING
    return Outcome(name, bool(validated.success), severity, str(observed), failing)
