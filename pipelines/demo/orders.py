"""What the demo's shop sells in the fortnight after the campaign, as its next export.

Some people buy anyway, mailed or not; some of those who clicked buy because of it. So the report has
a difference to find, and finds it the way it would with real orders.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path

import polars as pl

from pipelines.demo.places import PRODUCTS
from pipelines.lake import Lake

BUYS_ANYWAY, BUYS_AFTER_A_CLICK = 0.03, 0.25
FORTNIGHT = timedelta(days=14)


def write_later_orders(
    folder: Path, lake: Lake, *, campaign: str, since: datetime, seed: int
) -> bool:
    """Put the orders of the fortnight into the shop's export; False when they are there already."""
    rows = list(_orders(lake, campaign, since, seed))
    names = ["order_number", "customer_id", "ordered_at", "state", "total", "sku", "unit_price"]
    frame = pl.DataFrame(rows, schema=names, orient="row")
    exports = {
        "orders.csv": frame.select(names[:5]),
        "order_lines.csv": frame.select(
            "order_number", "sku", pl.lit(1).alias("quantity"), "unit_price"
        ),
    }
    is_new = False
    for name, export in exports.items():
        path, text = folder / name, export.write_csv()
        if path.read_text() != text:
            is_new = True
            part = path.with_name(f"{name}.part")
            part.write_text(text)
            part.replace(path)
    return is_new


def _orders(
    lake: Lake, campaign: str, since: datetime, seed: int
) -> Iterator[tuple[str, str, str, str, str, str, str]]:
    for customer, has_clicked in _customers(lake, campaign):
        draws = _draws(f"{seed}\0{customer}")
        if draws[0] >= BUYS_ANYWAY and not (has_clicked and draws[1] < BUYS_AFTER_A_CLICK):
            continue
        at = since + FORTNIGHT * draws[2]
        which = int(draws[3] * len(PRODUCTS))
        price = PRODUCTS[which][2]
        number = f"T{customer[1:]}"
        yield number, customer, f"{at:%Y-%m-%dT%H:%M:%SZ}", "paid", price, f"P{100 + which}", price


def _customers(lake: Lake, campaign: str) -> Iterator[tuple[str, bool]]:
    """The shop's number of everybody the campaign was mailed to or held out from, and who clicked."""
    audience = lake.read("campaigns.audience").filter(
        pl.col("campaign") == campaign, pl.col("decision").is_in(["mail", "hold_out"])
    )
    numbers = (
        lake.read("core.identities")
        .filter(pl.col("source") == "shop")
        .group_by("contact_id")
        .agg(pl.col("external_id").min())
    )
    clicked = (
        lake.read("core.engagement_events")
        .filter(pl.col("campaign") == campaign, pl.col("kind") == "click", ~pl.col("is_machine"))
        .select("contact_id")
        .unique()
        .with_columns(has_clicked=True)
    )
    joined = audience.join(numbers, on="contact_id").join(clicked, on="contact_id", how="left")
    rows = joined.select("external_id", pl.col("has_clicked").fill_null(value=False))
    yield from rows.sort("external_id").collect().iter_rows()


def _draws(text: str) -> list[float]:
    digest = blake2b(text.encode(), digest_size=16).digest()
    return [int.from_bytes(digest[at : at + 4], "big") / 2**32 for at in range(0, 16, 4)]
