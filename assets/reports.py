"""The report of each campaign: a page for the marketer, the rows behind it, and a mail to the owner."""

import dagster as dg

from assets.shown import sample
from pipelines.partitions import CAMPAIGN
from pipelines.reporting.campaign_report import build
from pipelines.reporting.pages import report_page
from pipelines.reporting.report_mail import mail_report
from pipelines.reporting.results import result_rows
from pipelines.reporting.wording import headline
from pipelines.resources import WorkspaceResource
from pipelines.schema import CAMPAIGN_RESULTS

KEY = ["reports", "campaign"]
ADDS_UP = "funnel_adds_up"


@dg.asset(
    key=KEY,
    partitions_def=CAMPAIGN,
    deps=[
        dg.AssetKey(["campaigns", "audience"]),
        dg.AssetKey(["campaigns", "sends"]),
        dg.AssetKey(["core", "engagement_events"]),
        dg.AssetKey(["core", "orders"]),
    ],
    group_name="reports",
    owners=["team:marketing"],
    kinds={"duckdb", "html"},
    check_specs=[
        dg.AssetCheckSpec(
            ADDS_UP, asset=KEY, description="Everybody is counted once, from audience to outcome."
        )
    ],
)
def campaign_report(
    context: dg.AssetExecutionContext, workspace: WorkspaceResource
) -> dg.MaterializeResult:
    """One row per campaign, arm and measure; and the page that shows them."""
    key, space = context.partition_key, workspace.open()
    report = build(key, lake=space.lake, home=space.home, clock=space.clock)
    rows, page = result_rows(report), space.home.reports / f"{key}.html"
    page.write_text(report_page(report), encoding="utf-8")
    space.lake.replace(CAMPAIGN_RESULTS, rows, campaign=key)
    problems = report.funnel_problems()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "sample": sample(rows.drop("campaign")),
            "headline": headline(report),
            "page": dg.MetadataValue.path(str(page)),
            "versions read": dg.MetadataValue.json(dict(report.versions)),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=ADDS_UP, passed=not problems, metadata={"problems": str(problems)}
            )
        ],
    )


@dg.asset(
    key=["reports", "mail"],
    partitions_def=CAMPAIGN,
    deps=[dg.AssetKey(KEY)],
    group_name="reports",
    owners=["team:marketing"],
    kinds={"smtp"},
)
def report_mail(
    context: dg.AssetExecutionContext, workspace: WorkspaceResource
) -> dg.MaterializeResult:
    """One row per campaign and edition of its report: first and final, each mailed to the owner once."""
    space = workspace.open()
    report = build(context.partition_key, lake=space.lake, home=space.home, clock=space.clock)
    mailed = mail_report(report, space)
    context.log.info("campaign=%s edition=%s %s", report.key, mailed.edition, mailed.why)
    return dg.MaterializeResult(
        metadata={
            "edition": str(mailed.edition or "none"),
            "mailed": mailed.path is not None,
            "why not": mailed.why,
            **({"mail": dg.MetadataValue.path(str(mailed.path))} if mailed.path else {}),
        }
    )
