"""What people can subscribe to and leave: assets/topics.yaml.

Knows names by language and the label of each list. Who subscribed is the contacts' business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pipelines.campaigns.reading import headline, problems_of, read_yaml
from pipelines.errors import CampaignInvalid, Problem

FILE = Path("assets/topics.yaml")

Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Line = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class Topic(BaseModel):
    """One thing to subscribe to. `list_id` is the label before the brand's list domain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Label
    names: dict[str, Line] = Field(min_length=1)
    list_id: Label
    description: Line

    def name(self, locale: str | None = None) -> str:
        """The name in the reader's language, else in English, else in the first one given."""
        language = (locale or "").replace("_", "-").split("-")[0].lower()
        return self.names.get(language) or self.names.get("en") or next(iter(self.names.values()))


def load_topics(project: Path) -> dict[str, Topic]:
    """Every topic by its key. Raises CampaignInvalid with every problem of the file."""
    path = project / FILE
    entries, problems = read_yaml(path)
    topics: dict[str, Topic] = {}
    for key, entry in entries.items():
        try:
            topics[key] = Topic.model_validate(
                {"list_id": key, **entry, "key": key} if isinstance(entry, dict) else entry
            )
        except ValidationError as invalid:
            problems += [
                Problem(f"{key}.{problem.where}", problem.what)
                for problem in problems_of(invalid, Topic)
            ] or [Problem(key, "must hold names and a description")]
    if problems:
        do = "Fix the file, then run: lettermill campaign check"
        raise CampaignInvalid(headline(path, problems, project), problems, do=do)
    return topics
