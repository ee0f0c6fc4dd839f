"""Core tables made from every source: contacts, identities, consents, and what contacts did."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets.crm import key
from assets.shown import sample
from pipelines.contacts.core import TABLES, build, write
from pipelines.contacts.gate import EXPECTED, WARNINGS
from pipelines.contacts.source import Source, discover
from pipelines.resources import LakeResource, WorkspaceResource
from pipelines.schema import CONTACTS, Table
from pipelines.settings import Settings

OWNER = "data@lettermill.example"


@dg.definitions
def defs() -> dg.Definitions:
    found = discover(Settings.load().project).values()
    return dg.Definitions(assets=[core([each for each in found if isinstance(each, Source)])])


def core(sources: list[Source]) -> dg.AssetsDefinition:
    """All core tables in one step: they share the identities, and one gate guards them."""
    raw = [key(source, export) for source in sources for export in source.exports]

    @dg.multi_asset(
        name="core",
        specs=[spec(table, raw) for table in TABLES],
        check_specs=[
            dg.AssetCheckSpec(
                name,
                asset=["core", "contacts"],
                description=told,
                blocking=name not in WARNINGS,
            )
            for name, told in EXPECTED.items()
        ],
    )
    def core_tables(
        lake: LakeResource, workspace: WorkspaceResource
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        # Importing Great Expectations takes seconds: the definitions must load without it.
        from pipelines.contacts.expectations import check

        opened = lake.open()
        known = discover(workspace.project).values()
        with opened.alone("core"):
            candidate = build([each for each in known if isinstance(each, Source)], opened)
            outcomes = check(candidate[CONTACTS.name])
            for each in outcomes:
                yield dg.AssetCheckResult(
                    passed=each.success,
                    check_name=each.name,
                    asset_key=["core", "contacts"],
                    severity=dg.AssetCheckSeverity.ERROR
                    if each.severity == "blocking"
                    else dg.AssetCheckSeverity.WARN,
                    metadata={"observed": each.observed, "failing": each.failing},
                )
            if any(each.blocks for each in outcomes):
                raise dg.Failure(
                    "Nothing was written: the last good tables stay", allow_retries=False
                )
            changed = write(candidate, opened)
        for table in TABLES:
            yield told(table, candidate[table.name], table.name in changed)

    return core_tables


def spec(table: Table, deps: list[dg.AssetKey]) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name.split("."),
        deps=deps,
        description=f"{table.grain[:1].upper()}{table.grain[1:]}.",
        owners=[OWNER],
        group_name="contacts",
        kinds={"polars", "deltalake"},
    )


def told(table: Table, rows: pl.DataFrame, is_changed: bool) -> dg.MaterializeResult[None]:
    metadata: dict[str, dg.RawMetadataValue] = {
        "dagster/row_count": rows.height,
        "changed": is_changed,
    }
    metadata["sample"] = sample(rows)
    return dg.MaterializeResult(asset_key=table.name.split("."), metadata=metadata)
