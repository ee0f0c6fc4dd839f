"""One version of one table: its columns and files, and how DuckDB and Polars read exactly these.

A column that no file has yet is null, a table without files is an empty one with its columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType

import duckdb
import polars as pl

SIMPLE: Mapping[pl.DataType, str] = MappingProxyType(
    {
        pl.Int8(): "TINYINT",
        pl.Int16(): "SMALLINT",
        pl.Int32(): "INTEGER",
        pl.Int64(): "BIGINT",
        pl.UInt8(): "UTINYINT",
        pl.UInt16(): "USMALLINT",
        pl.UInt32(): "UINTEGER",
        pl.UInt64(): "UBIGINT",
        pl.Float32(): "FLOAT",
        pl.Float64(): "DOUBLE",
        pl.Boolean(): "BOOLEAN",
        pl.String(): "VARCHAR",
        pl.Date(): "DATE",
        pl.Datetime("us", "UTC"): "TIMESTAMP WITH TIME ZONE",
    }
)


@dataclass(frozen=True)
class Snapshot:
    """One version of one table; version is None for one that is declared and was never written.

    files         Parquet files, as paths
    partitioned   columns that stand in the files' paths and not in the files
    """

    name: str
    version: int | None
    schema: pl.Schema
    files: tuple[str, ...] = ()
    partitioned: tuple[str, ...] = ()

    def select(self) -> str:
        """The SELECT that reads it in DuckDB, with every column and type as declared."""
        types = {column: duckdb_type(kind) for column, kind in self.schema.items()}
        if not self.files:
            columns = ", ".join(f'null::{kind} as "{column}"' for column, kind in types.items())
            return f"select {columns} where false"
        held = {*self.partitioned, *(name for file in self.files for name in _columns(file))}
        columns = ", ".join(
            f'"{column}"::{kind} as "{column}"' if column in held else f'null::{kind} as "{column}"'
            for column, kind in types.items()
        )
        listed = ", ".join("'" + file.replace("'", "''") + "'" for file in self.files)
        options = "union_by_name = true"
        if self.partitioned:
            hive = ", ".join(f"'{column}': '{types[column]}'" for column in self.partitioned)
            options += f", hive_partitioning = true, hive_types = {{{hive}}}"
        return f"select {columns} from read_parquet([{listed}], {options})"

    def scan(self) -> pl.LazyFrame:
        """The same in Polars; the order of columns is the table's own."""
        if not self.files:
            return pl.LazyFrame(schema=self.schema)
        inside = {name: kind for name, kind in self.schema.items() if name not in self.partitioned}
        scan = pl.scan_parquet(
            list(self.files),
            missing_columns="insert",
            extra_columns="ignore",
            schema=pl.Schema(inside),
            hive_partitioning=bool(self.partitioned),
            hive_schema={name: self.schema[name] for name in self.partitioned} or None,
        )
        return scan.select(self.schema.names())


@lru_cache(maxsize=10_000)
def _columns(file: str) -> tuple[str, ...]:
    # A file is written once and never changed.
    return tuple(pl.read_parquet_schema(file))


def duckdb_type(kind: pl.DataType) -> str:
    """What DuckDB calls a type of a column."""
    return SIMPLE.get(kind) or _described(kind)


@cache
def _described(kind: pl.DataType) -> str:
    empty = pl.DataFrame(schema={"one": kind})
    connection = duckdb.connect()
    try:
        connection.register("empty_frame", empty.to_arrow())
        described = connection.execute("describe empty_frame").fetchall()
    finally:
        connection.close()
    return str(described[0][1])
