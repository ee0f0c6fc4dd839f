"""What was approved, whole: a send reads this and nothing of the project.

Stored as approvals/<key>/<hash>.json beside a file `current` that names one of them. Knows how to
keep and find approvals; making one is delivery's business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.campaigns.brands import Brand
from pipelines.campaigns.campaign import Campaign, CampaignKey, campaign_key
from pipelines.campaigns.topics import Topic
from pipelines.errors import Problem, SendHeld

CURRENT = "current"
# Who approved, when, and for how many is said of the content; it is not the content.
ABOUT = frozenset({"approved_by", "approved_at", "expected_recipients"})


class Bundle(BaseModel):
    """One approval of one campaign: settings, segment SQL and compiled message."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    campaign: Campaign
    key: CampaignKey
    segments: dict[str, str]
    message: dict[str, Any]
    topic: Topic
    brand: Brand
    sources: dict[str, str]
    approved_by: str
    approved_at: datetime
    expected_recipients: int
    environment: str
    home_id: str
    # Content hashes of what the first of its audience got instead, the oldest first.
    amends: list[str] = Field([], exclude_if=lambda value: not value)

    @property
    def versions(self) -> list[str]:
        """The content hashes somebody of its audience may have got, this one last."""
        return [*self.amends, self.content_hash]

    @property
    def content_hash(self) -> str:
        content = self.model_dump(mode="json", exclude=set(ABOUT))
        if not self.campaign.audience.parameters:
            # What was approved before there were parameters keeps its hash.
            del content["campaign"]["audience"]["parameters"]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


def save(bundle: Bundle, approvals: Path) -> Path:
    """Keep an approval and make it the current one of its key. Returns its file."""
    folder = approvals / campaign_key(bundle.key)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{bundle.content_hash}.json"
    _write_whole(path, bundle.model_dump_json(indent=2))
    _write_whole(folder / CURRENT, bundle.content_hash)
    return path


def load(key: str, approvals: Path, content_hash: str | None = None) -> Bundle | None:
    """The approval with this hash, else the current one; None when there is none.

    Raises SendHeld when it is there and cannot be trusted.
    """
    folder = approvals / campaign_key(key)
    name = content_hash
    if name is None:
        if not (folder / CURRENT).is_file():
            return None
        name = (folder / CURRENT).read_text().strip()
    path = folder / f"{Path(name).name}.json"
    if not path.is_file():
        if content_hash:
            return None
        raise _distrusted(key, path, "is missing")
    try:
        bundle = Bundle.model_validate_json(path.read_bytes())
    except ValidationError as invalid:
        what = f"cannot be read: {invalid.error_count()} problems"
        raise _distrusted(key, path, what) from invalid
    if bundle.key != key or bundle.content_hash != name:
        raise _distrusted(key, path, "is not what was approved: its content hash differs")
    return bundle


def load_current(key: str, approvals: Path) -> Bundle | None:
    """The current approval of a key; None when it was never approved."""
    return load(key, approvals)


def load_planned(key: str, approvals: Path, planned: Sequence[str]) -> Bundle | None:
    """The approval an audience was planned under, or what amends it; the current one where there is none.

    planned  content hashes the audience's rows carry: none, or one
    """
    try:
        current = load_current(key, approvals)
    except SendHeld:
        if not planned:
            raise
        current = None  # links of what is out lead on, whatever became of a later approval
    if not planned or (current is not None and planned[0] in current.versions):
        return current
    return load(key, approvals, planned[0]) or current


def approved_keys(approvals: Path) -> list[str]:
    """Every key that has a current approval."""
    return sorted(path.parent.name for path in approvals.glob(f"*/{CURRENT}"))


def _distrusted(key: str, path: Path, what: str) -> SendHeld:
    return SendHeld(
        f"the approval of {key} cannot be used",
        [Problem(path.name, what)],
        do=f"Approve it again: lettermill campaign approve {key} --by NAME",
    )


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
