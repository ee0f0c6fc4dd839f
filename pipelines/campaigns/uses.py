"""Which campaigns use which segments."""

from __future__ import annotations

from pathlib import Path

from pipelines.campaigns.campaign import FILE, FOLDER
from pipelines.campaigns.reading import read_yaml


def campaigns_using(project: Path) -> dict[str, list[str]]:
    """The slugs of the campaigns that include or exclude a segment, by segment.

    Read from the files as they stand: a campaign that is wrong in another place counts all the same.
    """
    found: dict[str, list[str]] = {}
    for path in sorted((project / FOLDER).glob(f"*/{FILE}")):
        values, _ = read_yaml(path)
        audience = values.get("audience")
        for part in ("include", "exclude"):
            names = audience.get(part) if isinstance(audience, dict) else None
            for name in names if isinstance(names, list) else []:
                if isinstance(name, str) and path.parent.name not in found.setdefault(name, []):
                    found[name].append(path.parent.name)
    return found
