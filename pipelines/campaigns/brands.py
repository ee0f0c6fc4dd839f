"""Who a campaign speaks as: assets/templates/brands/<name>.yaml.

Knows names, addresses, colours and domains; nothing of how they are drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pipelines.campaigns.reading import headline, problems_of, read_yaml
from pipelines.campaigns.topics import Line
from pipelines.errors import CampaignInvalid, did_you_mean

FOLDER = Path("assets/templates/brands")

Domain = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]{2,63}$")
]
Address = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$"
    ),
]
Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
# Goes into style attributes, so no quotes, semicolons or angle brackets.
FontStack = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 ,'-]+$")]
WebAddress = Annotated[str, StringConstraints(pattern=r"^https://[^\s\"'<>]+$")]


class Brand(BaseModel):
    """One sender: its identity in the inbox, its place on earth, its look."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)]
    sender_name: Line
    sender_address: Address
    reply_to: Address | None = None
    postal_address: Annotated[str, StringConstraints(min_length=10, max_length=300)]
    website: WebAddress
    colours: dict[str, Colour] = {}
    fonts: dict[str, FontStack] = {}
    logo: WebAddress | None = None
    bounce_domain: Domain
    list_domain: Domain
    # Feedback-ID's last field: 5 to 15 characters, the same for ever (Google's feedback loop).
    feedback_sender_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{5,15}$")]


def brand_names(project: Path) -> list[str]:
    """The names there are files for."""
    return sorted(path.stem for path in (project / FOLDER).glob("*.yaml"))


def brand_file(project: Path, name: str) -> Path:
    return project / FOLDER / f"{name}.yaml"


def load_brand(project: Path, name: str) -> Brand:
    """One brand. Raises CampaignInvalid when there is no such file, or with every problem of it."""
    names = brand_names(project)
    if name not in names:
        raise CampaignInvalid(
            f"there is no brand '{name}' in {FOLDER}.{did_you_mean(name, names)}",
            do=f"Write {FOLDER / 'NAME.yaml'} or name one of: {', '.join(names) or 'none yet'}",
        )
    path = brand_file(project, name)
    values, problems = read_yaml(path)
    try:
        if not problems:
            return Brand.model_validate({**values, "name": name})
    except ValidationError as invalid:
        problems = problems_of(invalid, Brand)
    raise CampaignInvalid(headline(path, problems, project), problems, do=f"Fix {path.name}")
