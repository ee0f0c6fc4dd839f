"""Marts: one asset per file in sql/marts, tables that people and segments read."""

import dagster as dg

from assets.segments import OWNER, described_as, moment, refreshed, upstream
from assets.shown import sample
from assets.unreadable import unreadable
from pipelines.resources import LakeResource, WorkspaceResource
from pipelines.segments.marts import make
from pipelines.segments.project import SqlFiles, discover_marts, load_mart, sql_files
from pipelines.segments.segment import Mart
from pipelines.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """An asset for every mart; one that cannot be read is an asset that fails and says why."""
    project = Settings.load().project
    files = sql_files(project)
    return dg.Definitions(
        assets=[
            _asset(entry, files)
            if isinstance(entry, Mart)
            else unreadable(["marts", name], entry, group="marts", owner=OWNER)
            for name, entry in discover_marts(project).items()
        ]
    )


class MartConfig(dg.Config):
    """as_of: the time the mart is of, in UTC or with its zone; empty for now."""

    as_of: str = ""


def _asset(mart: Mart, files: SqlFiles) -> dg.AssetsDefinition:
    @dg.asset(
        key=["marts", mart.name],
        deps=upstream(mart),
        group_name="marts",
        kinds={"sql", "duckdb"},
        owners=[mart.header.owner],
        description=described_as(mart),
        code_version=mart.code_version,
        automation_condition=refreshed(mart, files),
    )
    def table(
        config: MartConfig, lake: LakeResource, workspace: WorkspaceResource
    ) -> dg.MaterializeResult:
        known = sql_files(workspace.project)
        as_of = moment(config.as_of, workspace.clock())
        current = load_mart(workspace.project, mart.name)
        found, version = make(current, lake=lake.open(), as_of=as_of, files=known)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": found.frame.height,
                "version": version,
                "versions read": found.pins,
                "seconds": round(found.seconds, 3),
                "sample": sample(found.frame),
            }
        )

    return table
