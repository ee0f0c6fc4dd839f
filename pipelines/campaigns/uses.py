"""Which campaigns use which segments."""

from __future__ import annotations

from pathlib import Path

from pipelines.campaigns.campaign import FILE, FOLDER
from pipelines.campaigns.reading import read_yaml


def campaigns_using(project: Path) -> dict[str, list[str]]:
    """The slugs of the campaigns that include or exclude a segment, or name it for their message.

    Read from the files as they stand: a campaign that is wrong in another place counts all the same.
    """
    found: dict[str, list[str]] = {}
    for path in sorted((project / FOLDER).glob(f"*/{FILE}")):
        values, _ = read_yaml(path)
        audience = values.get("audience")
        for part in ("include", "exclude"):
            _note(audience.get(part) if isinstance(audience, dict) else None, path, found)
        _note(values.get("segments"), path, found)
    return found


def _note(names: object, path: Path, found: dict[str, list[str]]) -> None:
    for name in names if isinstance(names, list) else []:
        if isinstance(name, str) and path.parent.name not in found.setdefault(name, []):
            found[name].append(path.parent.name)
