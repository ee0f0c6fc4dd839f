"""The export of a shop that does not exist: contacts, orders, products, activities and consents.

Deterministic for a seed, on reserved domains, with the faults real exports have: about one row in
a hundred is broken, and some people signed up twice with other capitals.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.demo.activities import activities
from pipelines.demo.faults import order_faults, people_faults
from pipelines.demo.places import COUNTRIES, NAMES, PRODUCTS

AS_OF = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
FILES = ("contacts", "products", "orders", "order_lines", "consents", "activities")
# Of 50,000 contacts about 24,000 bought in the last 30 days.
RECENT_BUYERS = 0.488
DOMAINS = ["mail.example", "post.example", "inbox.example", "work.example", "home.example"]
Random = np.random.Generator


def write_shop(folder: Path, *, contacts: int = 50_000, seed: int = 7) -> None:
    """Write those of the files that are not there: what the shop sold since stays as it is."""
    missing = [name for name in FILES if not (folder / f"{name}.csv").exists()]
    if not missing:
        return
    if "contacts" not in missing:
        # Whatever number is asked for now, the other files are about the people of this one.
        contacts = people_in(folder / "contacts.csv")
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    people = _people(random, contacts)
    orders = _orders(random, contacts)
    lines, orders = _lines(random, orders)
    tables = {
        "contacts": people_faults(random, people),
        "products": _products(),
        "orders": order_faults(random, orders),
        "order_lines": lines,
        "consents": _consents(random, people),
        # From random numbers of its own: the other files are what they would be without it.
        "activities": activities(
            np.random.default_rng([seed, 1]),
            contacts=contacts,
            orders=orders,
            lines=lines,
            as_of=AS_OF,
        ),
    }
    for name in missing:
        # Written beside and moved, so that a stopped run leaves no half export behind.
        part = folder / f"{name}.csv.part"
        tables[name].write_csv(part)
        part.replace(folder / f"{name}.csv")


def people_in(path: Path) -> int:
    """How many people a file of contacts was made for: all but the broken rows and the second ones."""
    numbers = pl.scan_csv(path, infer_schema=False).select("customer_id")
    people = numbers.filter(pl.col("customer_id").str.starts_with("C"))
    return int(people.select(pl.len()).collect().item())


def _people(random: Random, count: int) -> pl.DataFrame:
    weights = np.array([country.weight for country in COUNTRIES])
    which = random.choice(len(COUNTRIES), size=count, p=weights / weights.sum())
    numbers = np.arange(1, count + 1)
    columns: dict[str, pl.Series] = {}
    countries = pl.DataFrame(
        {
            "which": range(len(COUNTRIES)),
            "country": [each.code for each in COUNTRIES],
            "time_zone": [each.time_zone for each in COUNTRIES],
            "locale": [each.locale for each in COUNTRIES],
            "language": [each.locale[:2] for each in COUNTRIES],
            "cities": [each.cities for each in COUNTRIES],
        }
    )
    names = pl.DataFrame(
        {
            "language": list(NAMES),
            "first": [n[0] for n in NAMES.values()],
            "last": [n[1] for n in NAMES.values()],
        }
    )
    drawn = {name: pl.Series(random.integers(0, 1 << 30, count)) for name in ("f", "l", "c")}
    rows = pl.DataFrame({"which": which, "number": numbers, **drawn})
    rows = rows.join(countries, on="which", how="left", maintain_order="left")
    rows = rows.join(names, on="language", how="left", maintain_order="left")
    rows = rows.with_columns(
        _pick("first", "f").alias("first_name"),
        _pick("last", "l").alias("last_name"),
        _pick("cities", "c").alias("city"),
    )
    columns["email"] = _addresses(random, rows)
    columns["birthday"] = _days(random, count, 365 * 18, 365 * 80).dt.strftime("%d.%m.%Y")
    columns["signed_up"] = _moments(random, count, 40 * 24, 4 * 365 * 24)
    levels = random.choice(["", "silver", "gold"], size=count, p=[0.7, 0.22, 0.08])
    return rows.select(
        pl.format("C{}", pl.col("number").cast(pl.String).str.zfill(6)).alias("customer_id"),
        columns["email"].alias("email"),
        "first_name", "last_name", "locale", "time_zone", "country", "city",
        # Not everybody tells their birthday.
        pl.when(pl.Series(random.random(count) < 0.6)).then(columns["birthday"]).alias("birthday"),
        columns["signed_up"].alias("signed_up"),
        pl.Series("loyalty_level", levels),
    )  # fmt: skip


def _pick(names: str, draw: str) -> pl.Expr:
    return pl.col(names).list.get(pl.col(draw) % pl.col(names).list.len())


def _addresses(random: Random, rows: pl.DataFrame) -> pl.Series:
    ascii_ = (
        pl.col("first_name")
        .str.normalize("NFKD")
        .str.replace_all(r"[^A-Za-z]", "")
        .str.to_lowercase()
    )
    local = pl.when(ascii_ == "").then(pl.lit("reader")).otherwise(ascii_)
    domain = pl.Series("domain", random.choice(DOMAINS, size=rows.height))
    return rows.select(pl.format("{}.{}@{}", local, "number", domain).alias("email"))["email"]


def _days(random: Random, count: int, least: int, most: int) -> pl.Series:
    ago = pl.Series(random.integers(least, most, count))
    return pl.select(pl.lit(AS_OF.date()) - pl.duration(days=pl.lit(ago))).to_series()


def _moments(random: Random, count: int, least_hours: int, most_hours: int) -> pl.Series:
    seconds = random.integers(least_hours * 3600, most_hours * 3600, count)
    return _text(pl.Series(seconds))


def _text(seconds_ago: pl.Series) -> pl.Series:
    moment = pl.lit(AS_OF) - pl.duration(seconds=pl.lit(seconds_ago))
    return pl.select(moment.dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_series()


def _orders(random: Random, people: int) -> pl.DataFrame:
    """Near half of the people bought within 30 days, most of these before too, some never did."""
    recent = random.permutation(people)[: round(people * RECENT_BUYERS)]
    recent_days = random.uniform(0.1, 29.9, len(recent))
    older = random.integers(0, people, people * 2)
    # Squared: the nearer, the more.
    older_days = 30.1 + 700 * random.random(len(older)) ** 2
    who = np.concatenate([older, recent]) + 1
    days = np.concatenate([older_days, recent_days])
    rows = pl.DataFrame({"who": who, "ago": (days * 86_400).astype(np.int64)})
    rows = rows.sort("ago", descending=True).with_row_index("number", offset=100_001)
    states = random.choice(["paid", "cancelled"], size=rows.height, p=[0.97, 0.03])
    # Only older orders are cancelled: the recent ones are still on their way.
    recently = (rows["ago"] < 30 * 86_400).to_numpy()
    return rows.select(
        pl.format("S{}", "number").alias("order_number"),
        pl.format("C{}", pl.col("who").cast(pl.String).str.zfill(6)).alias("customer_id"),
        _text(rows["ago"]).alias("ordered_at"),
        pl.Series("state", np.where(recently, "paid", states)),
    )


def _lines(random: Random, orders: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The lines, and the orders with their totals."""
    counts = random.choice([1, 2, 3], size=orders.height, p=[0.6, 0.28, 0.12])
    where = np.repeat(np.arange(orders.height), counts)
    catalogue = _products()
    chosen = random.integers(0, catalogue.height, len(where))
    cents = catalogue.select(
        (pl.col("price").cast(pl.Float64) * 100).round().cast(pl.Int64)
    ).to_series()
    quantity = random.choice([1, 2, 3], size=len(where), p=[0.8, 0.15, 0.05])
    unit = cents.to_numpy()[chosen]
    totals = np.bincount(where, weights=unit * quantity, minlength=orders.height).astype(np.int64)
    lines = pl.DataFrame(
        {
            "order_number": orders["order_number"].gather(where),
            "sku": catalogue["sku"].gather(chosen),
            "quantity": quantity,
            "unit_price": _money(pl.Series(unit)),
        }
    )
    return lines, orders.with_columns(_money(pl.Series(totals)).alias("total"))


def _money(cents: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"cents": cents})
    whole, part = pl.col("cents") // 100, (pl.col("cents") % 100).cast(pl.String).str.zfill(2)
    return frame.select(pl.format("{}.{}", whole, part)).to_series()


def _products() -> pl.DataFrame:
    rows = [(f"P{100 + i}", *product) for i, product in enumerate(PRODUCTS)]
    return pl.DataFrame(rows, schema=["sku", "name", "category", "price"], orient="row")


def _consents(random: Random, people: pl.DataFrame) -> pl.DataFrame:
    """Most agreed to news, some took it back later; about 85 % agreed to tracking."""
    news = people.filter(pl.Series(random.random(people.height) < 0.94))
    left = news.filter(pl.Series(random.random(news.height) < 0.05))
    tracking = people.filter(pl.Series(random.random(people.height) < 0.85))
    later = _moments(random, left.height, 24, 39 * 24)
    return pl.concat(
        [
            _decisions(news, "marketing", "news", "yes", news["signed_up"]),
            _decisions(left, "marketing", "news", "no", later),
            _decisions(tracking, "tracking", "", "yes", tracking["signed_up"]),
        ]
    )


def _decisions(
    people: pl.DataFrame, purpose: str, topic: str, decision: str, at: pl.Series
) -> pl.DataFrame:
    return people.select(
        "customer_id",
        pl.lit(purpose).alias("purpose"),
        pl.lit(topic).alias("topic"),
        pl.lit(decision).alias("decision"),
        at.alias("decided_at"),
        pl.lit("2026-1").alias("wording"),
        pl.format("form:{}", "customer_id").alias("proof"),
    )
