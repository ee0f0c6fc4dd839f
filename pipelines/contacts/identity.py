"""Who is who: contact ids that stay for ever, however many systems know a person.

The same normalised address is the same contact. When two known contacts come to share one, the
older id stays and both identities point at it; the other id is kept under the source MERGED, so it
is never given to anybody else. Pure: takes frames, returns frames.
"""

from __future__ import annotations

import polars as pl

from pipelines.schema import IDENTITIES

MERGED = "merged"


def assign(contacts: pl.DataFrame, identities: pl.DataFrame) -> pl.DataFrame:
    """All identities, old and new: source, external_id, contact_id.

    contacts    oldest first, later rows of one identity count: source, key, address_normalised
    identities  as they were
    """
    latest = contacts.unique(["source", "key"], keep="last", maintain_order=True)
    seen = latest.join(
        identities, left_on=["source", "key"], right_on=["source", "external_id"], how="left",
        maintain_order="left",
    )  # fmt: skip
    survivors = _survivors(seen.filter(pl.col("contact_id").is_not_null()))
    by_address = survivors.group_by("address_normalised").agg(pl.col("survivor").min())
    strangers = seen.filter(pl.col("contact_id").is_null()).drop("contact_id")
    placed = strangers.join(by_address, on="address_normalised", how="left", maintain_order="left")
    numbers = (
        placed.filter(pl.col("survivor").is_null())
        .select("address_normalised")
        .unique(maintain_order=True)
        .with_row_index("number", offset=_highest(identities) + 1)
    )
    fresh = placed.join(numbers, on="address_normalised", how="left", maintain_order="left").select(
        "source",
        pl.col("key").alias("external_id"),
        pl.coalesce("survivor", pl.col("number").cast(pl.Int64)).alias("contact_id"),
    )
    moved = survivors.filter(pl.col("survivor") != pl.col("contact_id"))
    merged = moved.select(
        pl.lit(MERGED).alias("source"),
        pl.col("contact_id").cast(pl.String).alias("external_id"),
        pl.col("survivor").alias("contact_id"),
    )
    replaced = dict(moved.select("contact_id", "survivor").rows())
    kept = (
        identities.with_columns(pl.col("contact_id").replace(replaced)) if replaced else identities
    )
    return pl.concat([kept, merged, fresh]).cast(IDENTITIES.schema)


def _survivors(known: pl.DataFrame) -> pl.DataFrame:
    """contact_id, address_normalised, survivor: the lowest id that has this address now."""
    current = known.unique("contact_id", keep="last", maintain_order=True)
    return current.select(
        "contact_id",
        "address_normalised",
        pl.col("contact_id").min().over("address_normalised").alias("survivor"),
    )


def _highest(identities: pl.DataFrame) -> int:
    retired = identities.filter(pl.col("source") == MERGED)["external_id"].cast(pl.Int64)
    return max(int(identities["contact_id"].max() or 0), int(retired.max() or 0))  # type: ignore[arg-type]
