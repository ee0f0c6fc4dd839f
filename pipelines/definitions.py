"""The Dagster entry point: the assets of `assets/`, their resources, and what runs by itself."""

from __future__ import annotations

import dagster as dg

from pipelines.automation import JOBS, SCHEDULES, SENSORS
from pipelines.resources import LakeResource, WorkspaceResource
from pipelines.settings import CHECKOUT


@dg.definitions
def defs() -> dg.Definitions:
    """Everything in the graph; a file that cannot be read is an asset that fails, no error here."""
    wiring = dg.Definitions(
        resources={"lake": LakeResource(), "workspace": WorkspaceResource()},
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        executor=dg.in_process_executor,
    )
    assets = dg.load_from_defs_folder(path_within_project=CHECKOUT)
    return dg.Definitions.merge(assets, wiring)
