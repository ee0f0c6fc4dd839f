"""A file nobody can read is an asset that fails and says why; everything beside it loads."""

from __future__ import annotations

import dagster as dg

from pipelines.errors import LettermillError


def unreadable(
    key: list[str], error: LettermillError, *, group: str, owner: str
) -> dg.AssetsDefinition:
    """Stands where the asset of a source, segment or campaign would stand."""
    told = str(error)

    @dg.asset(
        key=key,
        group_name=group,
        kinds={"unreadable"},
        owners=[owner],
        description=f"One row of nothing, until the file can be read:\n\n```\n{told}\n```",
    )
    def failing() -> None:
        raise dg.Failure(told, allow_retries=False)

    return failing
