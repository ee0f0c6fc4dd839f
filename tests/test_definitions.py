"""The graph as Dagster sees it: every asset says who owns it, what it is and what one row means."""

from __future__ import annotations

import dagster as dg
import pytest

from pipelines.definitions import defs


@pytest.fixture(scope="module")
def graph() -> dg.Definitions:
    return defs()


@pytest.fixture(scope="module")
def specs(graph: dg.Definitions) -> list[dg.AssetSpec]:
    return list(graph.resolve_all_asset_specs())


def test_the_road_is_whole(specs: list[dg.AssetSpec]):
    keys = {spec.key.to_user_string() for spec in specs}

    assert {
        "raw/shop_contacts",
        "core/contacts",
        "core/orders",
        "segments/bought_last_30_days",
        "campaigns/audience",
        "campaigns/preview",
        "campaigns/sends",
        "core/engagement_events",
        "core/engagement",
        "core/suppressions",
        "reports/campaign",
    } <= keys


def test_every_asset_has_an_owner_a_group_kinds_and_a_description_with_its_grain(
    specs: list[dg.AssetSpec],
):
    wanting = {
        spec.key.to_user_string(): missing
        for spec in specs
        if (
            missing := [
                what
                for what, there in {
                    "owner": spec.owners,
                    "group": spec.group_name not in (None, "default"),
                    "kinds": spec.kinds,
                    "grain": (spec.description or "").lower().startswith("one "),
                }.items()
                if not there
            ]
        )
    }

    assert wanting == {}


def test_every_upstream_of_an_asset_is_an_asset_of_the_graph(specs: list[dg.AssetSpec]):
    known = {spec.key for spec in specs}
    strangers = {
        (spec.key.to_user_string(), dep.asset_key.to_user_string())
        for spec in specs
        for dep in spec.deps
        if dep.asset_key not in known
    }

    assert strangers == set()


def test_nothing_retries_or_automates_a_send(graph: dg.Definitions):
    sends = graph.resolve_assets_def(dg.AssetKey(["campaigns", "sends"]))

    assert sends.op.retry_policy is None
    assert all(spec.automation_condition is None for spec in sends.specs)


def test_schedules_and_sensors_are_there(graph: dg.Definitions):
    repository = graph.get_repository_def()

    assert {"nightly_load", "morning_reports"} <= {s.name for s in repository.schedule_defs}
    assert {"campaign_folder_added", "campaign_due"} <= {s.name for s in repository.sensor_defs}
