"""Wrong settings, exports, sources and segments: told in words, and nothing is half done."""

from __future__ import annotations

from typing import Any

import pytest

HEADER = "/*\ndescription: A segment made for a test\nowner: team:analytics\n*/\n"
SHOP = "assets/sources/shop.yaml"
HILLSTROM = (
    "recency,history_segment,history,mens,womens,zip_code,newbie,channel,segment,visit,conversion,spend\n"
    "2,1) $0 - $100,29.99,1,0,Rural,0,Web,No E-Mail,0,0,0\n"
)


def test_every_setting_that_cannot_be_used_is_named_and_stops_the_command(fresh: Any):
    settings = {
        "LETTERMILL_WORKERS": "0",
        "LETTERMILL_DELIVERY_MODE": "everybody",
        "LETTERMILL_DELIVERY_MOD": "live",
    }

    done = fresh.run("source", "load", "shop", **settings)

    done.refused("SettingInvalid: 3 settings cannot be used", *settings, "lettermill doctor")
    done.refused("greater than or equal to 1", "'allowlist'", "Did you mean 'delivery_mode'?")
    assert set(fresh.versions().values()) == {None}


@pytest.mark.parametrize(
    "words",
    [
        ["campaign", "approve", "autumn-thanks"],
        ["segment", "prevew", "bought_last_30_days"],
        ["source", "check"],
    ],
    ids=["option missing", "unknown verb", "argument missing"],
)
def test_wrong_usage_ends_with_2_and_the_usage(fresh: Any, words: list[str]):
    done = fresh.run(*words)

    assert (done.code, done.out) == (2, "")
    assert "Usage:" in done.err
    assert "Traceback" not in done.err


def test_an_export_that_is_missing_is_named_and_no_other_is_loaded(fresh: Any):
    file = fresh.home.exports / "shop" / "consents.csv"  # the last one
    file.unlink()

    done = fresh.run("source", "load", "shop")

    done.refused("ExportMissing", str(file), "No such file", "Put the file there")
    assert set(fresh.versions().values()) == {None}


def test_a_column_that_a_new_export_lacks_is_named_and_nothing_is_loaded(fresh: Any):
    fresh.edit(SHOP, "proof: proof", "proof: prof")

    done = fresh.run("source", "load", "shop")

    done.refused("SourceInvalid", SHOP, "prof ", "consents.csv", "Did you mean 'proof'?")
    assert set(fresh.versions().values()) == {None}


def test_a_column_that_a_loaded_export_lacks_is_named_and_nothing_changes(shop: Any):
    before = shop.versions()
    shop.edit(SHOP, "city: city", "city: town_or_city")

    done = shop.run("source", "load", "shop")

    done.refused("SourceInvalid", SHOP, "town_or_city", "lettermill source load shop")
    assert shop.versions() == before


@pytest.mark.slow
def test_a_source_that_no_longer_fits_its_rows_keeps_no_other_from_being_loaded(shop: Any):
    shop.edit(SHOP, "city: city", "city: town")
    before = shop.lake.count("core.contacts")
    (shop.home.exports / "hillstrom.csv").write_text(HILLSTROM)

    shop.run("source", "load", "hillstrom").succeeded()

    assert shop.lake.count("core.contacts") == before + 1


def test_a_misspelt_field_of_a_source_is_named_with_the_one_that_was_meant(fresh: Any):
    fresh.edit(SHOP, "address: email", "adress: email")

    done = fresh.run("source", "check", "shop")

    done.refused(
        "SourceInvalid",
        f"{SHOP} has 2 problems",
        "exports.contacts.contacts.adress",
        "Did you mean 'address'?",
        "lettermill source check shop",
    )


def test_an_unreadable_source_is_named_and_every_other_can_be_used(fresh: Any):
    fresh.write("assets/sources/spoilt.yaml", "description: [\n")

    listed = fresh.run("source", "list", "--json").succeeded().json()

    assert listed["spoilt"] == "assets/sources/spoilt.yaml cannot be read"
    assert {"shop", "cdnow", "hillstrom"} <= set(listed)
    fresh.run("source", "check", "spoilt").refused(
        "assets/sources/spoilt.yaml cannot be read", "lettermill source check spoilt"
    )


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select contact_id frm core.orders where (\n", ["line 5"]),
        ("select contact_id from core.oders\n", ["core.oders", "Did you mean 'core.orders'?"]),
        ("delete from core.orders\n", ["line 5", "is DELETE, not a SELECT"]),
        ("select contact_id from core.orders where $today\n", ["$today", "there is $as_of"]),
    ],
    ids=["syntax", "table", "statement", "parameter"],
)
def test_a_segment_that_cannot_be_read_is_named_with_its_place_and_no_other_is(
    fresh: Any, sql: str, words: list[str]
):
    fresh.write("sql/segments/spoilt.sql", HEADER + sql)

    done = fresh.run("segment", "check")

    done.refused(
        "SegmentInvalid", "spoilt.sql has 1 problem", *words, "lettermill segment check spoilt"
    )
    assert done.err.count("SegmentInvalid") == 1


@pytest.mark.slow
def test_the_cases_of_the_other_segments_run_beside_an_unreadable_one(fresh: Any):
    for file in (fresh.project / "sql/segments").glob("[!t]*.sql"):
        file.unlink()
    fresh.write("sql/segments/broken.sql", HEADER + "select contact_id from core.oders\n")

    done = fresh.run("segment", "test")

    done.refused("✗ broken", "Did you mean 'core.orders'?", "✓ top_decile_revenue_12_months/")


def test_a_segment_with_an_unknown_column_fails_in_words_and_keeps_no_members(shop: Any):
    before = shop.versions()
    shop.write("sql/segments/spoilt.sql", HEADER + "select contct_id from core.orders\n")

    done = shop.run("segment", "run", "spoilt")

    done.refused(
        "SegmentFailed", "spoilt.sql", "contct_id", '"contact_id"', "segment preview spoilt"
    )
    assert shop.versions() == before


def test_a_value_that_breaks_a_segment_is_told_without_the_address(shop: Any):
    sql = "select cast(address as integer) as contact_id from core.contacts\n"
    shop.write("sql/segments/spoilt.sql", HEADER + sql)

    done = shop.run("segment", "preview", "spoilt", "--json")

    done.refused("SegmentFailed", "•••", "Nothing was written")
    addresses = shop.lake.read("core.contacts").collect()["address"]
    assert [address for address in addresses if address in done.err] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["segment", "check", "bought_last_30_day"], "Did you mean 'bought_last_30_days'?"),
        (["source", "check", "shopp"], "Did you mean 'shop'?"),
        (["campaign", "check", "autum-thanks"], "Did you mean 'autumn-thanks'?"),
        (["campaign", "status", "autum-thanks"], "Did you mean 'autumn-thanks'?"),
        (["segment", "preview", "bought_last_30_days", "--as-of", "soon"], "'soon' is not a time"),
    ],
    ids=["segment", "source", "campaign", "status", "time"],
)
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(
    fresh: Any, words: list[str], told: str
):
    fresh.run(*words).refused(told)
