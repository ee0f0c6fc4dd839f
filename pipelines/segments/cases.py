"""Cases of a segment: given these rows and this time, these contacts are in.

tests/sql/segments/<segment>/<case>.yaml. A case runs the segment's own file on real tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pipelines.errors import Problem, SegmentInvalid, did_you_mean
from pipelines.lake import Lake
from pipelines.schema import CONTACTS, TABLES, Table
from pipelines.segments.run import evaluate
from pipelines.segments.segment import Segment

FOLDER = Path("tests/sql/segments")


class Case(BaseModel):
    """One case. `given` holds only the columns that matter; the others are null."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    as_of: AwareDatetime
    given: dict[str, list[dict[str, Any]]]
    expect: list[int]


def case_files(project: Path, segment: str) -> list[Path]:
    return sorted((project / FOLDER / segment).glob("*.yaml"))


def read_case(path: Path) -> Case:
    try:
        case = Case.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise SegmentInvalid(f"{path} is not a case", [Problem(path.name, str(error))]) from None
    unknown = [name for name in case.given if name not in TABLES]
    if unknown:
        problems = [Problem(n, f"is not a table.{did_you_mean(n, TABLES)}") for n in unknown]
        raise SegmentInvalid(f"{path} gives rows of tables there are not", problems)
    return case


def members_of(segment: Segment, case: Case, folder: Path) -> list[int]:
    """Whom the segment returns for the rows of a case, in order of id; `folder` becomes a lake."""
    lake = Lake(folder)
    for name, rows in case.given.items():
        lake.append(TABLES[name], _frame(TABLES[name], rows))
    _make_known(case, lake)
    members = evaluate(segment, lake=lake, as_of=case.as_of)
    return sorted(members.frame["contact_id"].to_list())


def _make_known(case: Case, lake: Lake) -> None:
    """A case need not list contacts to speak of them."""
    rows = [row for rows in case.given.values() for row in rows]
    ids = {row["contact_id"] for row in rows if "contact_id" in row}
    listed = {row["contact_id"] for row in case.given.get(CONTACTS.name, [])}
    lake.append(CONTACTS, _frame(CONTACTS, [{"contact_id": each} for each in sorted(ids - listed)]))


def _frame(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    strange = {column for row in rows for column in row} - set(table.columns)
    if strange:
        problems = [
            Problem(c, f"is not a column.{did_you_mean(c, table.columns)}") for c in strange
        ]
        raise SegmentInvalid(f"a case gives columns that {table.name} does not have", problems)
    whole = [{column: _value(row, column) for column in table.columns} for row in rows]
    return pl.DataFrame(whole, schema=table.schema)


def _value(row: Mapping[str, Any], column: str) -> Any:
    value = row.get(column)
    if isinstance(value, datetime) and value.tzinfo is None:
        told = f"{column}: {value} has no time zone; write it like {value.isoformat()}Z"
        raise SegmentInvalid("a case gives a time without a zone", [Problem(column, told)])
    return value
