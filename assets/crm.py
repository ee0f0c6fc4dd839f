"""Raw exports: one asset per file of every source, with a check that no row was lost."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets.shown import ROWS, sample
from assets.unreadable import unreadable
from pipelines.contacts.ingest import Ingested, ingest, is_unused
from pipelines.contacts.source import Source, discover
from pipelines.lake import Lake
from pipelines.resources import LakeResource, WorkspaceResource
from pipelines.settings import Settings

OWNER = "team:data"
ADDS_UP = "Every row of the export is accepted or in quarantine with its reasons; none is lost."
CHECK = "read_equals_accepted_plus_quarantined"


@dg.definitions
def defs() -> dg.Definitions:
    """An asset per export; a source file that cannot be used is an asset that says why."""
    found = discover(Settings.load().project)
    return dg.Definitions(
        assets=[
            loading(source)
            if isinstance(source, Source)
            else unreadable(["raw", name], source, group="crm", owner=OWNER)
            for name, source in found.items()
        ]
    )


def loading(source: Source) -> dg.AssetsDefinition:
    """The exports of one source; they are mapped together, as orders point at contacts."""

    @dg.multi_asset(
        name=f"load_{source.name}",
        specs=[spec(source, export) for export in source.exports],
        check_specs=[
            dg.AssetCheckSpec(CHECK, asset=key(source, export), description=ADDS_UP)
            for export in source.exports
        ],
    )
    def load(
        lake: LakeResource, workspace: WorkspaceResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        opened, folder = lake.open(), workspace.home().exports
        if is_unused(source, lake=opened, exports_folder=folder):
            loaded = [Ingested(source.name, name, 0, 0, 0, {}, False) for name in source.exports]
        else:
            loaded = ingest(source, lake=opened, exports_folder=folder, clock=workspace.clock())
        for each in loaded:
            yield told(source, each, opened)

    return load


def key(source: Source, export: str) -> dg.AssetKey:
    return dg.AssetKey(["raw", f"{source.name}_{export}"])


def spec(source: Source, export: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        key(source, export),
        description=f"One row per source row and load, untouched. {source.description}.",
        owners=[source.owner],
        group_name="crm",
        kinds={source.exports[export].format.kind, "deltalake"},
    )


def told(source: Source, each: Ingested, lake: Lake) -> dg.MaterializeResult[None]:
    table = source.table(each.export)
    is_there = lake.version(table) is not None
    rows = pl.DataFrame(lake.read(table).head(ROWS).collect() if is_there else {})
    counts = {"read": each.read, "accepted": each.accepted, "quarantined": each.quarantined}
    return dg.MaterializeResult(
        asset_key=key(source, each.export),
        metadata={
            "dagster/row_count": each.read,
            **counts,
            "new_file": each.is_new,
            "sample": sample(rows, raw=True),
            "reasons": dg.MetadataValue.json(dict(each.reasons)),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=each.adds_up,
                check_name=CHECK,
                asset_key=key(source, each.export),
                metadata=counts,
            )
        ],
    )
