"""The faults of the demonstration's exports, such as real ones have; each must end in quarantine.

Broken rows come beside good ones, so that nothing of what the shop says is lost.
"""

from __future__ import annotations

import numpy as np
import polars as pl

BROKEN = 0.01
Random = np.random.Generator


def people_faults(random: Random, people: pl.DataFrame) -> pl.DataFrame:
    """Broken rows among the good ones, and people who signed up twice with other capitals."""
    count = max(4, round(people.height * BROKEN))
    broken = people.sample(count, seed=int(random.integers(1 << 31))).with_row_index("fault")
    new_key = pl.format("X{}", pl.col("fault").cast(pl.String).str.zfill(6))
    kind = pl.col("fault") % 3
    email = pl.format("new.{}", "email")
    broken = broken.with_columns(
        pl.when(kind == 0).then(pl.lit("")).otherwise(new_key).alias("customer_id"),
        pl.when(kind == 1).then(email.str.replace("@", " at ")).otherwise(email).alias("email"),
        pl.when(kind == 2).then(pl.lit("31.02.1980")).otherwise("birthday").alias("birthday"),
    ).select(people.columns)
    twice = people.sample(max(2, people.height // 250), seed=int(random.integers(1 << 31)))
    twice = twice.with_columns(
        pl.col("customer_id").str.replace("C", "D"), pl.col("email").str.to_uppercase()
    )
    return pl.concat([people, twice, broken])


def order_faults(random: Random, orders: pl.DataFrame) -> pl.DataFrame:
    """Orders of customers nobody knows, and with totals that are no number."""
    count = max(2, orders.height // 200)
    sample = orders.sample(count, seed=int(random.integers(1 << 31))).with_row_index("fault")
    odd = pl.col("fault") % 2 == 0
    faulty = sample.with_columns(
        pl.format("F{}", "fault").alias("order_number"),
        pl.when(odd).then(pl.lit("C999999")).otherwise("customer_id").alias("customer_id"),
        pl.when(odd).then("total").otherwise(pl.lit("12,3x")).alias("total"),
    ).select(orders.columns)
    return pl.concat([orders, faulty])


def activity_faults(random: Random, done: pl.DataFrame) -> pl.DataFrame:
    """Things done by customers nobody knows, and at times that are none."""
    count = max(2, done.height // 1000)
    sample = done.sample(count, seed=int(random.integers(1 << 31))).with_row_index("fault")
    odd = pl.col("fault") % 2 == 0
    faulty = sample.with_columns(
        pl.format("F{}", "fault").alias("activity_id"),
        pl.when(odd).then(pl.lit("C999999")).otherwise("customer_id").alias("customer_id"),
        pl.when(odd).then("at").otherwise(pl.lit("0000-00-00 00:00")).alias("at"),
    ).select(done.columns)
    return pl.concat([done, faulty])
