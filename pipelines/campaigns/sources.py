"""The files a campaign is made from, and which of them are not as they were when it was approved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pipelines.campaigns import brands, topics
from pipelines.campaigns.bundle import Bundle
from pipelines.campaigns.campaign import Campaign, folder_of
from pipelines.errors import SegmentInvalid
from pipelines.segments.project import sql_files

TEMPLATES = Path("assets/templates")
# No message is made from these: of the brands it has one, and begins from a copy of a starter.
NOT_READ = frozenset({"brands", "galleries", "reports", "starters"})
SEGMENTS = Path("sql/segments")


def fingerprints(campaign: Campaign, project: Path) -> dict[str, str]:
    """The sha256 of each file a campaign is made from, by its path in the project."""
    names = [*campaign.audience.include, *campaign.audience.exclude, *campaign.segments]
    paths: list[Path] = [project / SEGMENTS / f"{name}.sql" for name in names]
    with suppress(
        SegmentInvalid
    ):  # which files it stands on cannot be told; the segment itself has changed
        paths += (project / file.path for file in sql_files(project).needed_by(names))
    paths += [brands.brand_file(project, campaign.brand), project / topics.FILE]
    paths += folder_of(project, campaign.slug).rglob("*")
    for part in (project / TEMPLATES).glob("*"):
        if part.name not in NOT_READ:
            paths += [part, *part.rglob("*")]
    return _hashes(paths, project)


def changed_since(bundle: Bundle, project: Path) -> list[str]:
    """The files that are not as they were when the bundle was approved: edited, new or gone."""
    now = fingerprints(bundle.campaign, project)
    return sorted(
        path for path in {*now, *bundle.sources} if now.get(path) != bundle.sources.get(path)
    )


def _hashes(paths: Iterable[Path], project: Path) -> dict[str, str]:
    return {
        path.relative_to(project).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(set(paths))
        if path.is_file()
    }
