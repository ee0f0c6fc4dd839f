"""What contacts did at a source: rows become activities, or say why not, and none comes twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.clock import FrozenClock
from pipelines.contacts.core import build, write
from pipelines.contacts.ingest import Ingested, ingest
from pipelines.contacts.source import Source, load
from pipelines.errors import SourceInvalid
from pipelines.lake import Lake

PEOPLE = "id,mail\na,ada@shop.example\nb,bert@shop.example\n"
LOG = """id,who,what,at,sku
1,a,seen,2026-11-01 10:00,P1
2,a,cart,2026-11-01 10:05,P1
3,b,seen,2026-11-01 11:00,
"""
MAPPED = {
    "key": "id",
    "contact": "who",
    "kind": {"column": "what", "values": {"seen": "view", "cart": "cart"}},
    "occurred_at": "at",
    "product": "sku",
}
KEYLESS = {name: rule for name, rule in MAPPED.items() if name != "key"}


@dataclass
class Shop:
    """A source with contacts and one log or more, each written anew for every load."""

    folder: Path
    lake: Lake
    clock: FrozenClock
    name: str = "web"
    logs: dict[str, dict[str, Any]] = field(default_factory=lambda: {"log": MAPPED})

    @property
    def source(self) -> Source:
        people = {"contacts": {"key": "id", "address": "mail"}}
        mapped = {"people": people} | {
            name: {"activities": fields} for name, fields in self.logs.items()
        }
        exports = {
            name: {"file": f"{name}.csv", "format": {"kind": "csv"}, **entities}
            for name, entities in mapped.items()
        }
        told = {"name": self.name, "description": "d", "owner": "o", "time_zone": "Europe/Paris"}
        return Source.model_validate({**told, "exports": exports})

    def load(
        self, people: str = PEOPLE, *, log: str = LOG, beside: Sequence[Source] = (), **logs: str
    ) -> tuple[dict[str, Ingested], list[str]]:
        """What became of the rows of each export, and the core tables that changed."""
        for name, text in {"people": people, "log": log, **logs}.items():
            (self.folder / f"{name}.csv").write_text(text)
        done = ingest(self.source, lake=self.lake, exports_folder=self.folder, clock=self.clock)
        self.clock.sleep(3600)
        changed = write(build([self.source, *beside], self.lake), self.lake)
        return {each.export: each for each in done}, changed

    @property
    def activities(self) -> pl.DataFrame:
        return self.lake.read("core.activities").sort("occurred_at", "kind").collect()


@pytest.fixture
def shop(lake: Lake, clock: FrozenClock, tmp_path: Path) -> Shop:
    return Shop(tmp_path, lake, clock)


def test_rows_of_a_log_become_activities_of_their_contacts(shop: Shop) -> None:
    done, _ = shop.load()

    assert (done["log"].accepted, done["log"].quarantined) == (3, 0)
    assert shop.activities.rows() == [
        ("web:1", 1, "view", datetime(2026, 11, 1, 9, 0, tzinfo=UTC), "web:P1", "web"),
        ("web:2", 1, "cart", datetime(2026, 11, 1, 9, 5, tzinfo=UTC), "web:P1", "web"),
        ("web:3", 2, "view", datetime(2026, 11, 1, 10, 0, tzinfo=UTC), None, "web"),
    ]


def test_a_log_of_one_kind_about_no_product_needs_neither_column(shop: Shop) -> None:
    shop.logs = {"log": {"contact": "who", "kind": {"constant": "sign_in"}, "occurred_at": "at"}}

    shop.load(log="who,at\na,2026-11-01 10:00\n")

    assert shop.activities.select("contact_id", "kind", "product_id").rows() == [
        (1, "sign_in", None)
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("4,cleo,seen,2026-11-01 10:00,P1", "contact is not known here"),
        ("4,,seen,2026-11-01 10:00,P1", "contact is missing"),
        ("4,a,seen,soon,P1", "occurred_at is not a time like ISO 8601"),
        ("4,a,seen,,P1", "occurred_at is missing"),
        ("4,a,sold,2026-11-01 10:00,P1", "kind is not one of the values the source file names"),
        (",a,seen,2026-11-01 10:00,P1", "key is missing"),
    ],
    ids=["stranger", "nobody", "bad-time", "no-time", "other-kind", "no-key"],
)
def test_a_row_that_is_no_activity_is_kept_with_its_reason(
    shop: Shop, row: str, reason: str
) -> None:
    done, _ = shop.load(log=f"{LOG}{row}\n")

    kept = shop.lake.read("quarantine.activities").collect()
    assert kept["reasons"].to_list() == [[f"activities: {reason}"]]
    assert (done["log"].read, done["log"].accepted, done["log"].quarantined) == (4, 3, 1)
    assert shop.activities.height == 3


def test_all_reasons_of_a_row_are_told(shop: Shop) -> None:
    done, _ = shop.load(log=f"{LOG}4,cleo,sold,soon,P1\n")

    assert set(done["log"].reasons) == {
        "activities: kind is not one of the values the source file names",
        "activities: occurred_at is not a time like ISO 8601",
        "activities: contact is not known here",
    }


@pytest.mark.parametrize("fields", [MAPPED, KEYLESS], ids=["keys", "no-keys"])
def test_a_log_that_is_loaded_twice_adds_nothing(shop: Shop, fields: dict[str, Any]) -> None:
    shop.logs = {"log": fields}
    shop.load()

    done, changed = shop.load()

    assert not done["log"].is_new
    assert changed == []


def test_logs_without_keys_may_overlap(shop: Shop) -> None:
    shop.logs = {"log": KEYLESS}
    shop.load()
    ids = set(shop.activities["activity_id"])

    done, _ = shop.load(log=f"{LOG}9,b,cart,2026-11-01 11:01,\n9,b,cart,2026-11-01 11:01,\n")

    assert done["log"].accepted == 3 + 5
    assert shop.activities.height == 4
    assert set(shop.activities["activity_id"]) > ids


def test_of_a_key_that_comes_again_the_newest_row_counts(shop: Shop) -> None:
    shop.load()

    shop.load(log="id,who,what,at,sku\n2,a,cart,2026-11-01 10:05,P7\n")

    assert shop.activities["product_id"].to_list() == ["web:P1", "web:P7", None]


def test_a_log_with_keys_and_one_without_stand_side_by_side(shop: Shop) -> None:
    shop.logs = {"log": MAPPED, "carts": {**KEYLESS, "kind": {"constant": "cart"}}}

    shop.load(carts=LOG)

    assert shop.activities["kind"].value_counts().sort("kind").rows() == [("cart", 4), ("view", 2)]
    assert shop.activities["activity_id"].is_unique().all()


def test_activities_follow_contacts_that_are_merged(shop: Shop) -> None:
    shop.load()

    shop.load(PEOPLE.replace("bert@", "ada@"))

    assert shop.activities["contact_id"].to_list() == [1, 1, 1]


def test_activities_of_a_source_that_is_not_mapped_now_follow_merges_too(
    shop: Shop, tmp_path: Path
) -> None:
    shop.load()
    (tmp_path / "crm").mkdir()
    crm = replace(shop, folder=tmp_path / "crm", name="crm", logs={})
    crm.load(beside=[shop.source])

    crm.load(PEOPLE.replace("bert@", "ada@"))

    assert shop.activities["contact_id"].to_list() == [1, 1, 1]


def test_a_misspelt_field_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(
        "description: d\nowner: o\nexports:\n  log:\n    file: x\n    format: {kind: csv}\n"
        "    activities: {contact: who, kind: what, occured_at: at}\n"
    )

    with pytest.raises(SourceInvalid, match="Did you mean 'occurred_at'"):
        load(path)
