"""What the contacts of the demonstration's shop looked at and put into their carts.

Most carts stand a few hours before an order that was made, the others were left; the nearer to
now, the more there are of all.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from pipelines.demo.faults import activity_faults

# Per contact: with the view before each cart about two activities.
CARTS, OTHER_VIEWS = 0.6, 0.8
BOUGHT = 0.7
HOURS_TO_ORDER = 20
OTHER_DAYS = 90
ISO = "%Y-%m-%dT%H:%M:%SZ"
Random = np.random.Generator


def activities(
    random: Random, *, contacts: int, orders: pl.DataFrame, lines: pl.DataFrame, as_of: datetime
) -> pl.DataFrame:
    """activity_id, customer_id, kind, at, sku: the oldest first.

    orders  the oldest first: order_number, customer_id, ordered_at
    lines   order_number, sku
    """
    skus = lines["sku"].unique().sort()
    bought = _before_orders(random, round(contacts * CARTS * BOUGHT), orders, lines)
    left = _at_any_time(random, round(contacts * CARTS * (1 - BOUGHT)), contacts, skus, as_of)
    carts = pl.concat([bought, left])
    minutes = pl.Series(random.integers(1, 45, carts.height))
    seen_first = carts.with_columns(pl.col("at") - pl.duration(minutes=pl.lit(minutes)))
    seen = _at_any_time(random, round(contacts * OTHER_VIEWS), contacts, skus, as_of)
    views = pl.concat([seen_first, seen])
    kinds = [carts.with_columns(kind=pl.lit("cart")), views.with_columns(kind=pl.lit("view"))]
    told = pl.concat(kinds).sort("at", "customer_id", "kind", "sku").with_row_index("n", offset=1)
    return activity_faults(
        random,
        told.select(
            pl.format("A{}", "n").alias("activity_id"),
            "customer_id",
            "kind",
            pl.col("at").dt.strftime(ISO),
            "sku",
        ),
    )


def _before_orders(
    random: Random, count: int, orders: pl.DataFrame, lines: pl.DataFrame
) -> pl.DataFrame:
    """customer_id, at, sku: a product of an order, some hours before it; of the newest orders only."""
    newest = orders.tail(count * 2)
    chosen = newest[random.permutation(newest.height)[:count]]
    first = lines.unique("order_number", keep="first", maintain_order=True)
    with_sku = chosen.join(first, on="order_number", how="inner", maintain_order="left")
    seconds = pl.Series(random.integers(60, HOURS_TO_ORDER * 3600, with_sku.height))
    ordered_at = pl.col("ordered_at").str.to_datetime(ISO, time_unit="us", time_zone="UTC")
    at = ordered_at - pl.duration(seconds=pl.lit(seconds))
    return with_sku.select("customer_id", at.alias("at"), "sku")


def _at_any_time(
    random: Random, count: int, contacts: int, skus: pl.Series, as_of: datetime
) -> pl.DataFrame:
    """customer_id, at, sku: anybody, anything; squared, so the nearer, the more."""
    who = pl.Series("who", random.integers(1, contacts + 1, count))
    ago = pl.Series("ago", (60 + OTHER_DAYS * 86_400 * random.random(count) ** 2).astype(np.int64))
    sku = skus.gather(random.integers(0, len(skus), count))
    return pl.DataFrame([who, ago, sku]).select(
        pl.format("C{}", pl.col("who").cast(pl.String).str.zfill(6)).alias("customer_id"),
        (pl.lit(as_of) - pl.duration(seconds="ago")).alias("at"),
        "sku",
    )
