"""The preview of each campaign: what a marketer looks at before approving."""

import dagster as dg

from pipelines.message.previewing import Desk, write_preview
from pipelines.partitions import CAMPAIGN
from pipelines.resources import LakeResource, WorkspaceResource


@dg.asset(
    key=["campaigns", "preview"],
    partitions_def=CAMPAIGN,
    deps=[dg.AssetKey(["campaigns", "audience"])],
    group_name="campaigns",
    owners=["team:marketing"],
    kinds={"jinja", "html"},
)
def preview(
    context: dg.AssetExecutionContext, lake: LakeResource, workspace: WorkspaceResource
) -> dg.MaterializeResult:
    """One page per campaign: every variant for three contacts, wide and narrow, and as text."""
    desk = Desk(lake.open(), workspace.home(), workspace.project, workspace.settings().public_url)
    made = write_preview(context.partition_key, desk, now=workspace.clock().now())
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.path(str(made.path)),
            "dagster/row_count": 1,
            "contacts_shown": made.samples,
            "is_approved": made.is_approved,
            "findings": dg.MetadataValue.md(
                "\n".join(f"* {each.line()}" for each in made.findings) or "none"
            ),
        }
    )
