"""Who a campaign is for: the frozen audience, and who must not be mailed at all."""

import dagster as dg

from assets.crm import key
from assets.shown import sample
from assets.unreadable import unreadable
from pipelines.campaigns.campaign import Campaign
from pipelines.campaigns.campaign import discover as campaigns
from pipelines.contacts.source import Source
from pipelines.contacts.source import discover as sources
from pipelines.delivery.approval import Plan, freeze_audience
from pipelines.delivery.imported import suppress_imported
from pipelines.delivery.people import PeopleStore
from pipelines.partitions import CAMPAIGN
from pipelines.resources import WorkspaceResource
from pipelines.schema import SUPPRESSIONS
from pipelines.segments.project import discover
from pipelines.settings import Settings

OWNER = "team:marketing"
UPSTREAM = (["core", "contacts"], ["core", "consents"], ["core", "suppressions"])


@dg.definitions
def defs() -> dg.Definitions:
    """The audience depends on every segment there is: a campaign may name any of them.

    A campaign that cannot be read has no partition, so it is an asset that says why.
    """
    project = Settings.load().project
    segments = [dg.AssetKey(["segments", name]) for name in discover(project)]
    deps = [*(dg.AssetKey(key) for key in UPSTREAM), *segments]
    lists = [
        key(source, name)
        for source in sources(project).values()
        if isinstance(source, Source)
        for name, export in source.exports.items()
        if export.suppressions is not None
    ]
    broken = [
        unreadable(["campaigns", slug], entry, group="campaigns", owner=OWNER)
        for slug, entry in campaigns(project).items()
        if not isinstance(entry, Campaign)
    ]
    return dg.Definitions(assets=[_audience(deps), _suppressions(lists), *broken])


def _audience(deps: list[dg.AssetKey]) -> dg.AssetsDefinition:
    @dg.asset(
        key=["campaigns", "audience"],
        partitions_def=CAMPAIGN,
        deps=deps,
        group_name="campaigns",
        owners=[OWNER],
        kinds={"polars", "deltalake"},
    )
    def audience(
        context: dg.AssetExecutionContext, workspace: WorkspaceResource
    ) -> dg.MaterializeResult:
        """One row per candidate and campaign: mail, held out, or excluded with the reason."""
        plan = freeze_audience(context.partition_key, workspace.open())
        context.log.info("campaign=%s mail=%d", context.partition_key, plan.to_mail)
        return dg.MaterializeResult(metadata=_metadata(plan))

    return audience


def _metadata(plan: Plan) -> dict[str, dg.MetadataValue]:
    rows = "\n".join(
        f"| {name.replace('_', ' ')} | {count:,} |" for name, count in plan.counts.items()
    )
    shown = plan.frame.select("contact_id", "decision", "reason", "variant", "send_at")
    return {
        "dagster/row_count": dg.MetadataValue.int(plan.frame.height),
        "to mail": dg.MetadataValue.int(plan.to_mail),
        "decisions": dg.MetadataValue.md(f"| decision | people |\n|---|---|\n{rows}"),
        "sample": sample(shown),
        "versions read": dg.MetadataValue.json(plan.pins),
        "kept as it was": dg.MetadataValue.bool(plan.was_kept),
    }


def _suppressions(lists: list[dg.AssetKey]) -> dg.AssetsDefinition:
    @dg.asset(
        key=["core", "suppressions"],
        deps=lists,
        group_name="contacts",
        owners=["team:data"],
        kinds={"sqlite", "deltalake"},
    )
    def suppressions(workspace: WorkspaceResource) -> dg.MaterializeResult:
        """One row per decision that somebody is not to be mailed, exported from the people store."""
        space = workspace.open()
        imported = suppress_imported(space)
        decisions = PeopleStore(space.home.people).export()
        space.lake.replace(SUPPRESSIONS, decisions)
        reasons = dict(decisions.group_by("reason").len().rows())
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": decisions.height,
                "new from exports": imported,
                "sample": sample(decisions.drop("address_hash")),
                "by reason": dg.MetadataValue.json(reasons),
            }
        )

    return suppressions
