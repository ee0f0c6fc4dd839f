"""The catalogue: a page of all segments and marts, for whoever looks for one."""

import dagster as dg

from pipelines.refresh import made_anew
from pipelines.reporting.catalogue import gather
from pipelines.reporting.catalogue_page import FILE, catalogue_page
from pipelines.resources import WorkspaceResource
from pipelines.segments.header import Refresh
from pipelines.segments.project import discover
from pipelines.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """The page follows every segment there is."""
    names = discover(Settings.load().project)
    return dg.Definitions(assets=[_catalogue([dg.AssetKey(["segments", name]) for name in names])])


def _catalogue(segments: list[dg.AssetKey]) -> dg.AssetsDefinition:
    @dg.asset(
        key=["reports", "segments"],
        deps=segments,
        group_name="segments",
        owners=["team:analytics"],
        kinds={"html"},
        automation_condition=made_anew(Refresh.ON_CHANGE),
    )
    def catalogue(workspace: WorkspaceResource) -> dg.MaterializeResult:
        """One page of all segments and marts: who is in them, how that moved, where they are used."""
        space = workspace.open()
        found, page = gather(space), space.home.reports / FILE
        page.write_text(catalogue_page(found), encoding="utf-8")
        return dg.MaterializeResult(
            metadata={
                "page": dg.MetadataValue.path(str(page)),
                "segments": len(found.segments),
                "marts": len(found.marts),
                "with failing checks": sum(bool(each.failed) for each in found.segments),
            }
        )

    return catalogue
