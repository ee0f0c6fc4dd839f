"""What the contacts of a source did: orders and their lines, products, activities, consents.

Pure: takes accepted rows and identities, returns rows of the core tables.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import polars as pl

from pipelines.contacts.source import Entity, Source
from pipelines.schema import ACTIVITIES, CONSENTS, ORDER_LINES, ORDERS, PRODUCTS, Table


def of_source(
    source: Source, accepted: Mapping[Entity, pl.DataFrame], by_key: pl.DataFrame
) -> dict[str, pl.DataFrame]:
    """Rows by table name. by_key: source, key, contact_id."""
    ids = by_key.filter(pl.col("source") == source.name).select("key", "contact_id")
    makers = {
        Entity.ORDERS: (_orders, ORDERS),
        Entity.ORDER_LINES: (_lines, ORDER_LINES),
        Entity.PRODUCTS: (_products, PRODUCTS),
        Entity.ACTIVITIES: (_activities, ACTIVITIES),
    }
    made = {
        table.name: _shaped(make(accepted[entity], source, ids), table)
        for entity, (make, table) in makers.items()
        if entity in accepted
    }
    decisions = [_declared(source, ids)]
    if Entity.CONSENTS in accepted:
        decisions.append(_decided(accepted[Entity.CONSENTS], source, ids))
    made[CONSENTS.name] = _hashed(pl.concat(decisions), CONSENTS, "consent_id")
    return made


def _shaped(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    missing = [name for name in table.columns if name not in rows.columns]
    nothing = [pl.lit(None).cast(table.schema[name]).alias(name) for name in missing]
    return rows.with_columns(nothing).select(table.schema.names()).cast(table.schema)


def _own(column: str, source: Source) -> pl.Expr:
    """Ids of one system must not meet those of another."""
    return pl.lit(f"{source.name}:") + pl.col(column)


def _newest(rows: pl.DataFrame, key: str) -> pl.DataFrame:
    """Of an order or product that came with several loads, the rows of the newest one."""
    return rows.filter(pl.col("loaded_at") == pl.col("loaded_at").max().over(key))


def _orders(rows: pl.DataFrame, source: Source, ids: pl.DataFrame) -> pl.DataFrame:
    amount = (
        pl.col("amount") if "amount" in rows.columns else pl.col("quantity") * pl.col("unit_price")
    )
    cancelled = pl.col("is_cancelled").any() if "is_cancelled" in rows.columns else pl.lit(False)
    status = pl.when(cancelled).then(pl.lit("cancelled")).otherwise(pl.lit("completed"))
    if "status" in rows.columns:
        status = pl.coalesce(pl.col("status").last(), status)
    grouped = (
        _newest(rows, "key")
        .group_by("key", maintain_order=True)
        .agg(
            pl.col("contact").first(),
            pl.col("ordered_at").min(),
            amount.sum().alias("amount_minor"),
            status.alias("status"),
        )
    )
    return grouped.join(ids, left_on="contact", right_on="key", how="inner").select(
        _own("key", source).alias("order_id"),
        "contact_id",
        "ordered_at",
        "amount_minor",
        pl.lit(source.currency, pl.String).alias("currency"),
        "status",
        pl.lit(source.name).alias("source"),
    )


def _lines(rows: pl.DataFrame, source: Source, _ids: pl.DataFrame) -> pl.DataFrame:
    return _newest(rows, "order").select(
        _own("order", source).alias("order_id"),
        pl.int_range(1, pl.len() + 1).over("order").alias("line_number"),
        _own("product", source).alias("product_id"),
        "quantity",
        pl.col("unit_price").alias("unit_price_minor"),
        (pl.col("quantity") * pl.col("unit_price")).alias("amount_minor"),
        pl.lit(source.currency, pl.String).alias("currency"),
    )


def _products(rows: pl.DataFrame, source: Source, _ids: pl.DataFrame) -> pl.DataFrame:
    latest = rows.unique("key", keep="last", maintain_order=True)
    given = [pl.col("category")] if "category" in rows.columns else []
    price = [pl.col("price").alias("price_minor")] if "price" in rows.columns else []
    return latest.select(
        _own("key", source).alias("product_id"),
        "name",
        *given,
        *price,
        pl.lit(source.currency, pl.String).alias("currency"),
        pl.lit(source.name).alias("source"),
    )


def _activities(rows: pl.DataFrame, source: Source, ids: pl.DataFrame) -> pl.DataFrame:
    """Rows of an export that has no keys are named by the hash of what they say."""
    given = {name: _own(name, source) for name in ("key", "product") if name in rows.columns}
    nothing = pl.lit(None, pl.String)
    joined = rows.join(ids, left_on="contact", right_on="key", how="inner", maintain_order="left")
    named = joined.with_columns(
        given.get("key", nothing).alias("activity_id"),
        given.get("product", nothing).alias("product_id"),
        pl.lit(source.name).alias("source"),
    )
    said = _shaped(named, ACTIVITIES)
    has_key = pl.col("activity_id").is_not_null()
    hashed = _hashed(said.filter(~has_key), ACTIVITIES, "activity_id")
    return pl.concat(
        [
            said.filter(has_key),
            hashed.with_columns(_own("activity_id", source).alias("activity_id")),
        ]
    )


def _decided(rows: pl.DataFrame, source: Source, ids: pl.DataFrame) -> pl.DataFrame:
    joined = rows.join(ids, left_on="contact", right_on="key", how="inner").with_columns(
        pl.lit(source.name).alias("source"), pl.lit(source.fictitious).alias("is_fictitious")
    )
    return _shaped(joined, CONSENTS)


def _declared(source: Source, ids: pl.DataFrame) -> pl.DataFrame:
    """The statement of a source, as a decision of each of its contacts."""
    said = source.consent
    if said is None:
        return CONSENTS.empty()
    topics: list[tuple[str, str | None]] = [("marketing", topic) for topic in said.topics]
    topics += [("tracking", None)] if said.tracking else []
    decisions = pl.DataFrame(
        topics, schema={"purpose": pl.String, "topic": pl.String}, orient="row"
    )
    people = ids.select("contact_id").unique(maintain_order=True)
    stated = people.join(decisions, how="cross").with_columns(
        pl.lit(said.status).alias("status"),
        pl.lit(said.lawful_basis).alias("lawful_basis"),
        pl.lit(said.wording_version).alias("wording_version"),
        pl.lit(source.name).alias("source"),
        pl.lit(said.recorded_at).alias("recorded_at"),
        pl.lit(said.proof).alias("proof"),
        pl.lit(said.fictitious or source.fictitious).alias("is_fictitious"),
    )
    return _shaped(stated, CONSENTS)


def _hashed(rows: pl.DataFrame, table: Table, key: str) -> pl.DataFrame:
    """Each row named by the hash of what it says, so that the same one comes once."""
    parts = ", ".join(f"coalesce({name}::varchar, '')" for name in table.columns if name != key)
    connection = duckdb.connect()
    try:
        connection.execute("set timezone = 'UTC'")
        connection.register("said", rows.drop(key).to_arrow())
        query = f"select md5(concat_ws(chr(31), {parts})) as {key}, * from said"
        named = pl.DataFrame(pl.from_arrow(connection.sql(query).to_arrow_table()))
    finally:
        connection.close()
    return _shaped(named.unique(key, keep="first", maintain_order=True), table)
