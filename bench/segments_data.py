"""The lake the segment benchmark runs on: a shop's contacts, orders and events, made by SQL.

sql/lake/ says what the rows are; here they are written as a load or the stream would have, and kept
between runs in the system's temporary folder (TMPDIR moves it). Nothing is drawn at random: the same
scale gives the same rows.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from deltalake import write_deltalake

from pipelines.lake import Lake
from pipelines.layout import ENCODINGS, ROW_GROUP, written_as
from pipelines.schema import (
    ACTIVITIES,
    CONTACTS,
    ENGAGEMENT,
    ENGAGEMENT_EVENTS,
    ORDER_LINES,
    ORDERS,
    PRODUCTS,
    Table,
)

AS_OF = datetime(2026, 11, 2, 6, 0, tzinfo=UTC)
SQL = Path(__file__).parent / "sql" / "lake"
PREFIX = "lettermill-bench-segments-"
# Rows of one append: delta-rs holds the files of an append in memory until it is done.
CHUNK = 4_000_000
# What DuckDB may use while it makes the rows; only the roll-up of the events comes near it.
MEMORY = "5GB"
TABLES = (PRODUCTS, CONTACTS, ORDERS, ORDER_LINES, ACTIVITIES, ENGAGEMENT_EVENTS, ENGAGEMENT)


@dataclass(frozen=True)
class Scale:
    """How many there are; four events in five are of mails, the fifth is a view or a cart."""

    name: str
    contacts: int
    events: int
    orders: int

    def numbers(self, table: Table) -> int:
        """From how many numbers a table is made: rows, but of lines the orders they belong to."""
        return {
            PRODUCTS.name: 504,
            ORDERS.name: self.orders,
            ORDER_LINES.name: self.orders,
            ACTIVITIES.name: self.events // 5,
            ENGAGEMENT_EVENTS.name: self.events - self.events // 5,
        }.get(table.name, self.contacts)


SCALES = {
    scale.name: scale
    for scale in (
        Scale("tiny", 20_000, 200_000, 50_000),
        Scale("small", 2_000_000, 20_000_000, 5_000_000),
        Scale("full", 10_000_000, 100_000_000, 25_000_000),
    )
}


def prepared(scale: Scale) -> Lake:
    """The lake of a scale: the one a former run left, or a new one in place of what is out of date."""
    root = Path(tempfile.gettempdir()) / f"{PREFIX}{scale.name}-{_version(scale)}"
    # Two runs at once would take each other's half-made lake for an outdated one.
    with Lake(root.parent).alone(PREFIX + scale.name):
        if not root.exists():
            for outdated in root.parent.glob(f"{PREFIX}{scale.name}-*"):
                shutil.rmtree(outdated)
            # Made beside and moved, so that a stopped run leaves no half lake behind.
            part = root.with_name(f"{root.name}.part")
            _make(scale, Lake(part))
            part.rename(root)
    size = sum(file.stat().st_size for file in root.rglob("*.parquet"))
    say(f"data: {root}, {size / 1e9:.2f} GB")
    return Lake(root)


def _version(scale: Scale) -> str:
    """Changes with whatever the rows are made from."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(SQL.glob("*.sql"))]
    layout = [repr(table) for table in TABLES] + [f"{ENCODINGS} {ROW_GROUP}"]
    made_from = [*texts, *layout, repr(scale), AS_OF.isoformat(), duckdb.__version__]
    return hashlib.sha256("\n".join(made_from).encode()).hexdigest()[:10]


def _make(scale: Scale, lake: Lake) -> None:
    for table in TABLES:
        started = time.perf_counter()
        total = scale.numbers(table)
        # The stream appends; a load, and the roll-up of the events, replaces the whole table.
        step = CHUNK if table is ENGAGEMENT_EVENTS else total
        for low in range(0, total, step):
            _append(lake, table, scale, low, min(low + step, total))
        say(f"made {table.name}: {lake.count(table.name):,} rows"
             f" in {time.perf_counter() - started:.0f} s")  # fmt: skip


def _append(lake: Lake, table: Table, scale: Scale, low: int, high: int) -> None:
    """Rows of the numbers low ≤ i < high, laid in order as the lake does, passed on as they come."""
    reads = [ENGAGEMENT_EVENTS.name] if table is ENGAGEMENT else []
    with lake.connect(reads, memory=MEMORY) as connection:
        for name, value in {
            "contacts": scale.contacts,
            "orders": scale.orders,
            "activities": scale.numbers(ACTIVITIES),
            "events": scale.numbers(ENGAGEMENT_EVENTS),
            "as_of_us": int(AS_OF.timestamp()) * 1_000_000,
        }.items():
            connection.execute(f"set variable {name} = {value}::bigint")
        connection.execute(_text("macros"))
        rows = _text(table.name.partition(".")[2])
        quarter = [f"date_trunc('quarter', {table.by_quarter})"] if table.by_quarter else []
        order = ", ".join((*quarter, *table.sorted_by))
        in_order = f"from ({rows}) order by {order}" if order else rows
        made = connection.sql(in_order, params={"low": low, "high": high})
        reader = made.to_arrow_reader(500_000)
        assert reader.schema.names == list(table.columns), f"{table.name}: {reader.schema.names}"
        write_deltalake(lake.path(table.name), reader, mode="append", **written_as(table))


def _text(name: str) -> str:
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
