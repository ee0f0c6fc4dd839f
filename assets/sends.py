"""The send of each campaign. Every rule that can hold it lives in pipelines/delivery."""

from collections.abc import Callable
from typing import Any

import dagster as dg

from assets.shown import sample
from pipelines.clock import Clock
from pipelines.delivery.news import News
from pipelines.delivery.overview import sends_of, unaccounted
from pipelines.delivery.pausing import pause
from pipelines.delivery.sending import Consent, send_campaign
from pipelines.partitions import CAMPAIGN
from pipelines.resources import WorkspaceResource

KEY = ["campaigns", "sends"]
TOLD_SECONDS = 10.0
ADDS_UP = "sends_add_up_to_the_audience"


class SendConfig(dg.Config):
    """What the person who launches a send knowingly agrees to."""

    accept_late: bool = False
    accept_ledger: bool = False
    resume: bool = False


def _told(context: dg.AssetExecutionContext, clock: Clock) -> Callable[[News], None]:
    """Says how the send comes along in the run's log, and as metadata of the asset, now and then."""
    last = clock.monotonic()

    def progress(news: News) -> None:
        nonlocal last
        if clock.monotonic() - last < TOLD_SECONDS:
            return
        last = clock.monotonic()
        context.log.info("campaign=%s %s", context.partition_key, news)
        metadata: dict[str, Any] = {
            "settled": news.done,
            "of": news.size,
            "later": news.later,
            "per second": round(news.per_second, 1),
            "limited by": news.limited_by or "the relay or this machine",
            "relays": news.relays,
            "destinations": news.destinations,
            **news.setbacks,
        }
        context.log_event(
            dg.AssetObservation(KEY, partition=context.partition_key, metadata=metadata)
        )

    return progress


@dg.asset(
    key=KEY,
    partitions_def=CAMPAIGN,
    deps=[dg.AssetKey(["campaigns", "audience"]), dg.AssetKey(["campaigns", "preview"])],
    group_name="campaigns",
    owners=["team:marketing"],
    kinds={"smtp", "sqlite"},
    op_tags={"lettermill/sends": "campaign"},
    check_specs=[
        dg.AssetCheckSpec(
            ADDS_UP, asset=KEY, description="Everybody to mail is in exactly one state."
        )
    ],
)
def sends(
    context: dg.AssetExecutionContext, config: SendConfig, workspace: WorkspaceResource
) -> dg.MaterializeResult:
    """One row per recipient and campaign, exported from the ledger: what became of each."""
    key, space = context.partition_key, workspace.open()
    consent = Consent(late=config.accept_late, ledger=config.accept_ledger, resume=config.resume)
    try:
        result = send_campaign(key, space, consent=consent, progress=_told(context, space.clock))
    except dg.DagsterExecutionInterruptedError:
        now = space.clock.now()
        pause(space.home.ledgers, key, by="Dagster", why="its run was terminated", at=now)
        raise
    missing = unaccounted(key, space)
    context.log.info("campaign=%s sent=%d epoch=%d", key, result.sent_this_run, result.epoch)
    counts = {state.replace("_", " "): count for state, count in result.counts.items()}
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": result.audience,
            "sent in this run": result.sent_this_run,
            "unclaimed": result.unclaimed,
            "seconds": round(result.seconds, 2),
            **counts,
            "sample": sample(sends_of(key, space)),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=ADDS_UP, passed=missing == 0, metadata={"unaccounted": missing}
            )
        ],
    )
