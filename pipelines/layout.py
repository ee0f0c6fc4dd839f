"""How the rows of a table lie in its files: what schema.py says of them, as delta-rs is told.

Measured in docs/decisions/0009. Knows columns and files, no lake.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import polars as pl
from deltalake import ColumnProperties, WriterProperties

from pipelines.schema import UTC_TIME, Table

# Rows of a row group: as many as DuckDB reads at once, so that it leaves out what a filter cannot match in
# fine steps.
ROW_GROUP = 122_880
# Readers hold files of the version they pinned; a vacuum must not take them away (DESIGN: 30 days).
READABLE = "interval 30 days"
PERSONAL_READABLE = "interval 14 days"
Encoding = Literal["DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY"]
ENCODINGS: Mapping[pl.DataType, Encoding] = MappingProxyType(
    {
        UTC_TIME: "DELTA_BINARY_PACKED",
        pl.Int64(): "DELTA_BINARY_PACKED",
        pl.String(): "DELTA_LENGTH_BYTE_ARRAY",
    }
)


def in_order(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of one write as they are to lie in its files."""
    if not table.sorted_by:
        return rows
    quarter = [pl.col(table.by_quarter).dt.truncate("1q")] if table.by_quarter else []
    return rows.sort(*quarter, *table.sorted_by)


def written_as(table: Table) -> dict[str, Any]:
    """How delta-rs is to write a table's files: partitions, encoding, history and statistics."""
    return {
        "partition_by": list(table.partitioned) or None,
        "configuration": _configuration(table),
        "writer_properties": parquet(table),
    }


def parquet(table: Table) -> WriterProperties:
    """Dictionaries only for what repeats, compression that costs least to undo."""
    varied = {
        column: ColumnProperties(dictionary_enabled=False, encoding=encoding)
        for column, kind in table.schema.items()
        if (column in table.varied or kind == UTC_TIME) and (encoding := ENCODINGS.get(kind))
    }
    return WriterProperties(
        compression="LZ4_RAW",
        max_row_group_size=ROW_GROUP,
        data_page_row_count_limit=ROW_GROUP,
        column_properties=varied,
    )


def _configuration(table: Table) -> dict[str, str]:
    readable = PERSONAL_READABLE if table.personal else READABLE
    settings = {
        "delta.deletedFileRetentionDuration": readable,
        "delta.logRetentionDuration": readable,
    }
    if table.personal:
        # Minima and maxima of an address stay in the log after the row is gone.
        settings["delta.dataSkippingNumIndexedCols"] = "0"
    return settings
