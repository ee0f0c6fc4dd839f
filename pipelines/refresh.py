"""When automation makes a segment, a mart or a roll-up anew, by what its header asks."""

from __future__ import annotations

from typing import Any

import dagster as dg

from pipelines.segments.header import Refresh

# Half an hour after the nightly exports; hourly a little after the hour.
CRON = {
    Refresh.HOURLY: "5 * * * *",
    Refresh.DAILY: "30 4 * * *",
    Refresh.WEEKLY: "30 4 * * 1",
}
Condition = dg.AutomationCondition[Any]


def made_anew(refresh: Refresh) -> Condition:
    """The condition of an asset: follow its inputs, or the clock where it asks the time.

    By the clock new inputs alone are no reason, unless it was never made. A run that fails was
    requested all the same, so it is not asked for again every half minute.
    """
    conditions = dg.AutomationCondition
    inputs: Condition = conditions.any_deps_updated()
    missing: Condition = conditions.missing()
    changed: Condition = conditions.code_version_changed()
    reason: Condition = inputs | changed
    if refresh is not Refresh.ON_CHANGE:
        tick: Condition = conditions.cron_tick_passed(CRON[refresh])
        reason = tick | changed | (inputs & missing)
    busy: Condition = conditions.any_deps_in_progress() | conditions.in_progress()
    return reason.since_last_handled() & ~busy
