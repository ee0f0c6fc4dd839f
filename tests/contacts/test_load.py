"""From export files to core tables: counts that add up, reasons, identities, and nothing twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

from pipelines.clock import FrozenClock
from pipelines.contacts.core import build, require, write
from pipelines.contacts.identity import MERGED, assign
from pipelines.contacts.ingest import Ingested, ingest
from pipelines.contacts.reading import read_rows
from pipelines.contacts.source import Export, Source, SourceInvalid, discover, find, load
from pipelines.demo.shop import write_shop
from pipelines.errors import ExpectationsFailed, ExportMissing
from pipelines.lake import Lake
from pipelines.schema import IDENTITIES

DATA = Path(__file__).parents[1] / "data"
REAL = Path(os.environ.get("LETTERMILL_TEST_DATA", DATA.parents[2] / "shared/data"))
SOURCES = ["cdnow", "online_retail_france", "online_retail_germany", "hillstrom", "shop"]


def load_excerpt(
    project: Path, name: str, file: str, lake: Lake, clock: FrozenClock
) -> tuple[Source, Ingested]:
    source = find(project, name)
    export = next(iter(source.exports))
    files = {export: DATA / file}
    (each,) = ingest(source, lake=lake, exports_folder=DATA, clock=clock, files=files)
    return source, each


def test_every_source_of_the_repository_can_be_used(project: Path) -> None:
    found = discover(project)

    assert {name for name, each in found.items() if isinstance(each, Source)} >= set(SOURCES)


def test_an_unknown_field_is_named_with_the_nearest_one(project: Path, tmp_path: Path) -> None:
    text = (project / "assets/sources/cdnow.yaml").read_text()
    path = tmp_path / "cdnow.yaml"
    path.write_text(text.replace(" address:", " adress:"))

    with pytest.raises(SourceInvalid, match="Did you mean 'address'"):
        load(path)


def test_a_column_the_export_lacks_is_named(project: Path, lake: Lake, clock: FrozenClock) -> None:
    source = find(project, "online_retail_france")
    rule = {
        "file": "x",
        "format": {"kind": "csv"},
        "contacts": {"key": "CustomerId", "address": "x"},
    }

    with pytest.raises(SourceInvalid, match="Did you mean 'CustomerID'"):
        read_rows(DATA / "order_lines.csv", Export.model_validate(rule))
    with pytest.raises(ExportMissing):
        ingest(source, lake=lake, exports_folder=DATA / "nowhere", clock=clock)


def test_fixed_width_purchases_become_contacts_and_orders(
    project: Path, lake: Lake, clock: FrozenClock
) -> None:
    source, each = load_excerpt(project, "cdnow", "purchases_fixed_width.txt", lake, clock)
    tables = build([source], lake)

    assert (each.read, each.accepted, each.quarantined) == (5, 3, 2)
    assert tables["core.orders"]["amount_minor"].sort().to_list() == [1177, 1200, 7700]
    assert tables["core.contacts"]["address"].to_list()[0] == "customer00001@cdnow.example"
    assert tables["core.consents"]["is_fictitious"].all()


def test_invoices_are_the_sum_of_their_lines_and_returns_are_negative(
    project: Path, lake: Lake, clock: FrozenClock
) -> None:
    source, each = load_excerpt(project, "online_retail_france", "order_lines.csv", lake, clock)
    tables = build([source], lake)
    orders = tables["core.orders"].sort("amount_minor").select("amount_minor", "status").rows()

    assert each.adds_up
    assert orders == [(-780, "cancelled"), (9000 + 5400 + 4500, "completed")]
    assert "online_retail_france:POST" not in tables["core.products"]["product_id"]
    assert tables["core.order_lines"].height == 4


def test_a_refused_row_is_kept_once_with_all_its_reasons(
    project: Path, lake: Lake, clock: FrozenClock
) -> None:
    load_excerpt(project, "online_retail_france", "order_lines.csv", lake, clock)

    names = [name for name in lake.names() if name.startswith("quarantine.")]
    rows = pl.concat([lake.read(name).collect() for name in names]).sort("row_number")

    assert rows["reasons"].to_list() == [
        ["contacts: key is missing", "contacts: address is missing", "orders: contact is missing",
         "order_lines: order is not known here"],
        ["the line has not the columns of this file"],
    ]  # fmt: skip
    assert json.loads(rows["row"][0])["InvoiceNo"] == "537463"


def test_loading_the_same_file_twice_changes_no_table(
    project: Path, lake: Lake, clock: FrozenClock
) -> None:
    versions = []
    for _ in range(2):
        source, each = load_excerpt(project, "cdnow", "purchases_fixed_width.txt", lake, clock)
        changed = write(build([source], lake), lake)
        before = each.is_new
        versions.append(lake.pin(lake.names()))

    assert before is False
    assert changed == []
    assert versions[0] == versions[1]


def test_a_shop_generates_the_same_files_and_loads_with_its_faults(
    project: Path, lake: Lake, clock: FrozenClock, tmp_path: Path
) -> None:
    write_shop(tmp_path / "shop", contacts=500)
    write_shop(tmp_path / "again", contacts=500)
    source = find(project, "shop")

    loaded = {
        each.export: each
        for each in ingest(source, lake=lake, exports_folder=tmp_path, clock=clock)
    }
    write(build([source], lake), lake)

    assert (tmp_path / "shop/orders.csv").read_bytes() == (
        tmp_path / "again/orders.csv"
    ).read_bytes()
    assert all(each.adds_up for each in loaded.values())
    assert loaded["contacts"].quarantined == 5
    assert lake.count("core.contacts") == 500
    assert lake.count("core.identities") == 502


def people(*rows: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [("crm", key, address) for key, address in rows],
        schema=["source", "key", "address_normalised"],
        orient="row",
    )


def test_one_address_is_one_contact_and_ids_last() -> None:
    first = assign(people(("a", "ada@x.example"), ("b", "ada@x.example")), IDENTITIES.empty())
    second = assign(people(("c", "cleo@x.example"), ("a", "new@x.example")), first)

    assert first["contact_id"].to_list() == [1, 1]
    assert dict(second.select("external_id", "contact_id").rows()) == {"a": 1, "b": 1, "c": 2}


def test_contacts_that_come_to_share_an_address_are_merged_and_no_id_is_given_again() -> None:
    first = assign(people(("a", "ada@x.example"), ("b", "bert@x.example")), IDENTITIES.empty())
    merged = assign(people(("a", "ada@x.example"), ("b", "ada@x.example")), first)
    later = assign(
        people(("a", "ada@x.example"), ("b", "ada@x.example"), ("c", "c@x.example")), merged
    )

    assert (MERGED, "2", 1) in merged.rows()
    assert dict(later.filter(pl.col("source") == "crm").select("external_id", "contact_id").rows()) == {
        "a": 1, "b": 1, "c": 3,
    }  # fmt: skip


def test_a_candidate_that_fails_is_not_written(
    project: Path, lake: Lake, clock: FrozenClock
) -> None:
    source, _ = load_excerpt(project, "cdnow", "purchases_fixed_width.txt", lake, clock)
    candidate = build([source], lake)
    contacts = candidate["core.contacts"].with_columns(pl.lit(1, pl.Int64).alias("contact_id"))

    with pytest.raises(ExpectationsFailed, match="contact_id_is_unique") as failed:
        require({**candidate, "core.contacts": contacts})

    assert "@" not in str(failed.value)
    assert lake.version("core.contacts") is None
    require(candidate)


CSV = Export.model_validate({"file": "x", "format": {"kind": "csv"}})


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('a,b\n1,"x, y"', [("1", "x, y")]),
        ('a,b\n1,""\n2,3', [("1", ""), ("2", "3")]),
        ('a,b\n1,"ha ""ha"" ha"\n', [("1", 'ha "ha" ha')]),
        ('a,b\n1,"{""type"": [1.0, 2]}"\n', [("1", '{"type": [1.0, 2]}')]),
        ('a,b\r\n1,"once \r\nupon"\r\n', [("1", "once \r\nupon")]),
        ("a,b\n4,ʤ\n", [("4", "ʤ")]),
        ("\ufeffa,b\r\n1,2\r\n", [("1", "2")]),
    ],
    ids=["comma", "empty", "quotes", "json", "newlines", "utf8", "bom"],
)
def test_csv_is_read_exactly(tmp_path: Path, text: str, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode())

    assert read_rows(path, CSV).select("a", "b").rows() == rows


def test_every_malformed_line_is_kept_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,2\n3\n4,5,6\n7,8\n"open,9\n')

    rows = read_rows(path, CSV)

    assert rows["malformed"].to_list() == [None, "3", "4,5,6", None, '"open,9']
    assert rows["row_number"].to_list() == [1, 2, 3, 4, 5]


def test_ndjson_and_parquet_are_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "x.ndjson").write_text('{"a": 1, "b": "x"}\nnot json\n{"a": 2}\n')
    pl.DataFrame({"a": [1], "b": ["x"]}).write_parquet(tmp_path / "x.parquet")
    ndjson = Export.model_validate({"file": "x", "format": {"kind": "ndjson"}})
    parquet = Export.model_validate({"file": "x", "format": {"kind": "parquet"}})

    assert read_rows(tmp_path / "x.ndjson", ndjson)["a"].to_list() == ["1", None, "2"]
    assert read_rows(tmp_path / "x.parquet", parquet).select("a", "b").rows() == [("1", "x")]


@pytest.mark.real_data
def test_csv_spectrum_is_read_exactly() -> None:
    for path in sorted((REAL / "csv-spectrum").glob("*.csv")):
        # The copy of newlines_crlf.csv has lost its carriage returns; its JSON has them.
        meant = json.loads(path.with_suffix(".json").read_text().replace("\\r\\n", "\\n"))

        rows = read_rows(path, CSV).drop("row_number", "malformed").to_dicts()

        assert rows == meant, path.name


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "read", "quarantined"),
    [("cdnow", 69_659, 0), ("online_retail_france", 8_557, 66),
     ("online_retail_germany", 9_495, 0), ("hillstrom", 64_000, 0)],
)  # fmt: skip
def test_a_real_file_loads_whole(
    project: Path, lake: Lake, clock: FrozenClock, name: str, read: int, quarantined: int
) -> None:
    (each,) = ingest(find(project, name), lake=lake, exports_folder=REAL, clock=clock)

    assert (each.read, each.quarantined, each.adds_up) == (read, quarantined, True)


def test_a_quote_that_nobody_closed_stops_the_load_instead_of_swallowing_the_rest(
    tmp_path: Path,
) -> None:
    lines = ["id,note", '1,"open', *(f"{n},fine" for n in range(2, 300))]
    (tmp_path / "x.csv").write_text("\n".join(lines) + '"\n')

    with pytest.raises(SourceInvalid, match="probably not closed"):
        read_rows(tmp_path / "x.csv", CSV)
