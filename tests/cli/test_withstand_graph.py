"""A segment, a source and a campaign nobody can read: each fails alone, with its message."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from pipelines.definitions import defs

pytestmark = pytest.mark.slow


def test_what_cannot_be_read_is_an_asset_that_fails_with_its_message_and_all_else_works(
    shop: Any, monkeypatch: pytest.MonkeyPatch
):
    sound = {f"segments/{path.stem}" for path in (shop.project / "sql/segments").glob("*.sql")}
    shop.write("sql/segments/spoilt.sql", "select contact_id from core.orders")
    shop.write("assets/sources/spoilt.yaml", "description: [\n")
    shop.write("assets/campaigns/spoilt/campaign.yaml", "topic: [\n")
    for name, text in shop.settings().items():
        monkeypatch.setenv(name, text)

    graph = defs()

    found = {spec.key.to_user_string() for spec in graph.resolve_all_asset_specs()}
    assert found >= sound | {"raw/shop_contacts", "raw/cdnow_purchases", "campaigns/sends"}
    for name, message in {
        "segments/spoilt": "lettermill segment check spoilt",
        "raw/spoilt": "lettermill source check spoilt",
        "campaigns/spoilt": "lettermill campaign check spoilt",
    }.items():
        with pytest.raises(dg.Failure, match=message):
            dg.materialize([graph.resolve_assets_def(dg.AssetKey(name.split("/")))])
    readable = graph.resolve_assets_def(dg.AssetKey(["segments", "bought_once_never_again"]))
    assert dg.materialize([readable]).success
    assert shop.lake.version("segments.bought_once_never_again") == 0
