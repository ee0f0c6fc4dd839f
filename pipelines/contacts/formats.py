"""How an export is written: CSV, Parquet, NDJSON or columns of fixed width, with its dialect."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CsvFormat(Closed):
    kind: Literal["csv"]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    encoding: str = "utf-8"


class ParquetFormat(Closed):
    kind: Literal["parquet"]


class NdjsonFormat(Closed):
    kind: Literal["ndjson"]


class FixedColumn(Closed):
    name: str
    width: Annotated[int, Field(ge=1)]


class FixedWidthFormat(Closed):
    kind: Literal["fixed_width"]
    header_lines: Annotated[int, Field(ge=0)] = 0
    columns: Annotated[list[FixedColumn], Field(min_length=1)]
    encoding: str = "utf-8"


Format = Annotated[
    CsvFormat | ParquetFormat | NdjsonFormat | FixedWidthFormat, Field(discriminator="kind")
]


FORMATS: dict[str, type[Closed]] = {
    "csv": CsvFormat,
    "parquet": ParquetFormat,
    "ndjson": NdjsonFormat,
    "fixed_width": FixedWidthFormat,
}
