"""The shop's export: the same for a seed, with activities that lead to orders, and completed once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines.clock import FrozenClock
from pipelines.contacts.core import build
from pipelines.contacts.ingest import ingest
from pipelines.contacts.source import find
from pipelines.demo.prepare import prepare
from pipelines.demo.shop import AS_OF, FILES, write_shop
from pipelines.errors import HomeInvalid
from pipelines.lake import Lake

CONTACTS = 400


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "shop"
    write_shop(folder, contacts=CONTACTS)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def activities(shop: Path, lake: Lake, clock: FrozenClock, project: Path) -> pl.DataFrame:
    """core.activities, with the time of the next order of the same contact as `next_order_at`."""
    source = find(project, "shop")
    ingest(source, lake=lake, exports_folder=shop.parent, clock=clock)
    tables = build([source], lake)
    orders = tables["core.orders"].select("contact_id", next_order_at="ordered_at")
    return (
        tables["core.activities"]
        .sort("occurred_at")
        .join_asof(
            orders.sort("next_order_at"), left_on="occurred_at", right_on="next_order_at",
            by="contact_id", strategy="forward", check_sortedness=False,
        )
    )  # fmt: skip


def test_a_seed_makes_the_same_files_and_another_seed_others(shop: Path, tmp_path: Path):
    write_shop(tmp_path / "again", contacts=CONTACTS)
    write_shop(tmp_path / "other", contacts=CONTACTS, seed=8)

    assert contents(tmp_path / "again") == contents(shop)
    assert contents(shop).keys() == set(FILES)
    assert contents(tmp_path / "other")["activities"] != contents(shop)["activities"]


def test_a_file_that_is_missing_is_written_and_what_was_sold_since_stays(
    shop: Path, tmp_path: Path
):
    folder = tmp_path / "shop"
    write_shop(folder, contacts=CONTACTS)
    (folder / "activities.csv").unlink()
    (folder / "orders.csv").write_text("later orders")

    write_shop(folder, contacts=CONTACTS * 2)

    assert (folder / "orders.csv").read_text() == "later orders"
    assert contents(folder)["activities"] == contents(shop)["activities"]


def test_contacts_look_and_fill_carts_mostly_of_late(activities: pl.DataFrame):
    days_ago = activities.select(AS_OF - pl.col("occurred_at")).to_series().dt.total_days()

    assert set(activities["kind"]) == {"view", "cart"}
    assert activities.height == pytest.approx(2 * CONTACTS, rel=0.01)
    assert activities["occurred_at"].max() <= AS_OF
    assert (days_ago < 30).mean() > 0.5


def test_most_carts_are_ordered_within_a_day_and_some_are_left(activities: pl.DataFrame):
    carts = activities.filter(kind="cart")
    waited = carts["next_order_at"] - carts["occurred_at"]

    assert (waited.dt.total_hours() < 24).fill_null(value=False).mean() == pytest.approx(
        0.7, abs=0.05
    )


def test_a_shop_that_is_there_keeps_its_people(tmp_path: Path):
    prepare("shop", contacts=CONTACTS, home=tmp_path)

    assert prepare("shop", home=tmp_path).home.root == tmp_path
    prepare("shop", contacts=CONTACTS, home=tmp_path)
    with pytest.raises(HomeInvalid, match=f"has {CONTACTS:,} contacts already"):
        prepare("shop", contacts=CONTACTS + 1, home=tmp_path)
