"""All that runs by itself: jobs, schedules and sensors.

Nothing here decides whether a mail may go: every rule of safety lives in pipelines/delivery. On
purpose there is no retry policy and no automation condition on campaigns/sends.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from pipelines.campaigns.campaign import Campaign, discover
from pipelines.delivery.due import due
from pipelines.partitions import CAMPAIGN
from pipelines.reporting.report_mail import unreported
from pipelines.settings import Home, Settings
from pipelines.workspace import open_workspace

CHAIN = (
    ("campaigns", "audience"), ("campaigns", "preview"), ("campaigns", "sends"),
    ("reports", "campaign"), ("reports", "mail"),
)  # fmt: skip

load = dg.define_asset_job(
    "load",
    selection=dg.AssetSelection.groups("crm", "contacts"),
    description="Load every source's export: raw rows, quarantine, contacts, consents and orders.",
)
segments = dg.define_asset_job(
    "segments",
    selection=dg.AssetSelection.groups("engagement", "marts", "segments"),
    description="Roll up what recipients did, then make every mart and segment anew.",
)
reports = dg.define_asset_job(
    "reports",
    selection=dg.AssetSelection.groups("reports"),
    description="Write a campaign's report, and mail it when an edition is due.",
)
# A table of more files is joined; each flush of the stream writes one for each kind of event.
MANY_FILES = 50


@dg.op(description="Join the small files of every table that has many; readers keep theirs.")
def join_small_files() -> None:
    lake, log = open_workspace().lake, dg.get_dagster_logger()
    for name in lake.names():
        if len(lake.files(name)) > MANY_FILES:
            done = lake.compact(name)
            log.info(
                "table=%s files_removed=%d files_added=%d",
                name,
                done["files_removed"],
                done["files_added"],
            )


@dg.job(description="Join small files, so that reading stays quick.")
def tidy() -> None:
    join_small_files()


nightly_tidy = dg.ScheduleDefinition(
    name="nightly_tidy",
    job=tidy,
    cron_schedule="30 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Before the exports of the day.",
)
nightly_load = dg.ScheduleDefinition(
    name="nightly_load",
    job=load,
    cron_schedule="0 4 * * *",
    execution_timezone="UTC",
    description="The exports of the day, before anybody is at work.",
)


@dg.schedule(
    job=reports,
    cron_schedule="0 6 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    execution_timezone="UTC",
    description="The reports of campaigns whose last numbers are not in, before their owners are at work.",
)
def morning_reports(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """One run for each campaign that was sent and whose final report nobody got yet."""
    if not Home(Settings.load().home).exists:
        return dg.SkipReason("there is no home yet; run: lettermill init")
    known = set(context.instance.get_dynamic_partitions(str(CAMPAIGN.name)))
    wanted = [key for key in unreported(open_workspace().lake) if key in known]
    return [dg.RunRequest(partition_key=key) for key in wanted] or dg.SkipReason("none")


@dg.sensor(
    description="Registers a partition for every campaign folder, and names those nobody can read.",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def campaign_folder_added(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Register a partition for every campaign folder there is; a folder taken away keeps its past.

    One that cannot be read is named as the reason why it has none.
    """
    known = set(context.instance.get_dynamic_partitions(str(CAMPAIGN.name)))
    found = discover(Settings.load().project)
    fresh = sorted(
        slug for slug, entry in found.items() if isinstance(entry, Campaign) and slug not in known
    )
    unreadable = "; ".join(
        f"{entry.what}, see: lettermill campaign check {slug}"
        for slug, entry in found.items()
        if not isinstance(entry, Campaign)
    )
    return dg.SensorResult(
        skip_reason=unreadable or None,
        dynamic_partitions_requests=[CAMPAIGN.build_add_request(fresh)] if fresh else [],
    )


@dg.sensor(
    description="Starts the chain of every approved campaign whose time has come, and says why others wait.",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    target=dg.AssetSelection.groups("campaigns", "reports"),
)
def campaign_due(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Start the chain of every approved campaign whose time has come, once in ten minutes at most."""
    home = Home(Settings.load().home)
    if not home.exists:
        return dg.SensorResult(skip_reason="there is no home yet; run: lettermill init")
    space = open_workspace()
    known = set(context.instance.get_dynamic_partitions(str(CAMPAIGN.name)))
    found = due(space)
    # A run ends when nothing is due soon; the key lets the next one start for what is due later.
    slot = int(space.clock.now().timestamp() // 600)
    requests = [
        dg.RunRequest(
            run_key=f"{each.key}/{slot}",
            partition_key=each.key,
            asset_selection=[dg.AssetKey(list(key)) for key in CHAIN],
            tags={"lettermill/sends": "campaign"},
        )
        for each in found
        if each.start and each.key in known
    ]
    waiting = "; ".join(f"{each.key}: {each.why}" for each in found if not each.start)
    return dg.SensorResult(
        run_requests=requests, skip_reason=None if requests else waiting or "none"
    )


segments_stay_fresh = dg.AutomationConditionSensorDefinition(
    "segments_stay_fresh",
    target=dg.AssetSelection.groups("engagement", "marts", "segments"),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Evaluates segments and marts when what they read has changed, or as often as they ask.",
)

JOBS: list[Any] = [load, segments, reports, tidy]
SCHEDULES = [nightly_load, nightly_tidy, morning_reports]
SENSORS = [campaign_folder_added, campaign_due, segments_stay_fresh]
