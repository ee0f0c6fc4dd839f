"""Who a campaign speaks as: assets/templates/brands/<name>.yaml.

Knows names, addresses, colours and domains, and which colours can be read on which; nothing of how
they are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from pipelines.campaigns.kinds import Hours
from pipelines.campaigns.reading import headline, problems_of, read_yaml
from pipelines.campaigns.topics import Line
from pipelines.errors import CampaignInvalid, Problem, did_you_mean

FOLDER = Path("assets/templates/brands")
COLOURS = ("ink", "quiet", "accent", "accent_text", "paper", "ground", "line")
FONTS = ("heading", "body")
# What is written in which colour on which ground.
WRITTEN = (
    ("ink", "paper"),
    ("ink", "ground"),
    ("quiet", "paper"),
    ("quiet", "ground"),
    ("accent", "paper"),
    ("accent", "ground"),
    ("accent_text", "accent"),
)
# WCAG 2.2, success criterion 1.4.3, for text of any size.
CONTRAST = 4.5

Domain = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]{2,63}$")
]
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"


def _short_before_at(address: str) -> str:
    if len(address.rpartition("@")[0]) > 64:
        raise ValueError("has more than 64 characters before the @ (RFC 5321, 4.5.3.1.1)")
    return address


# Whatever is one can stand in an envelope (message/headers.py), of which nothing is known here.
Address = Annotated[
    str,
    StringConstraints(
        pattern=rf"^{_ATOM}(\.{_ATOM})*@({_LABEL}\.)+[A-Za-z0-9-]{{2,63}}$", max_length=254
    ),
    AfterValidator(_short_before_at),
]
Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
# Goes into style attributes, so no quotes, semicolons or angle brackets.
FontStack = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 ,'-]+$")]
WebAddress = Annotated[str, StringConstraints(pattern=r"^https://[^\s\"'<>]+$")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]


Selector = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class Signing(BaseModel):
    """With which DKIM keys a brand's mail is signed: those of a domain, or some of them by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domain: Domain
    selectors: tuple[Selector, ...] = ()


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
    # What mail programs show at night; without them the brand is light at all hours. Like every
    # field added later it is left out of what is kept when empty: an older approval keeps its hash.
    dark_colours: dict[str, Colour] = Field({}, exclude_if=lambda value: not value)
    fonts: dict[str, FontStack] = {}
    logo: WebAddress | None = None
    # Name as it is read → where it leads, in the order they are shown.
    social: dict[Line, WebAddress] = Field({}, exclude_if=lambda value: not value)
    # The languages it writes in; the first is that of its templates.
    languages: list[Language] = Field(
        ["en"], min_length=1, exclude_if=lambda value: value == ["en"]
    )
    # Kept by every campaign that names none of its own.
    quiet_hours: Hours | None = Field(None, exclude_if=lambda value: value is None)
    # Addresses of one's own that get every campaign of the brand when it starts.
    seeds: list[Address] = Field([], max_length=50, exclude_if=lambda value: not value)
    # Otherwise the keys of the sender's domain sign, or those of the nearest one above it.
    dkim: Signing | None = Field(None, exclude_if=lambda value: value is None)
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
            brand = Brand.model_validate({**values, "name": name})
            problems = _look(brand) + _alignment(brand)
            if not problems:
                return brand
    except ValidationError as invalid:
        problems = problems_of(invalid, Brand)
    raise CampaignInvalid(headline(path, problems, project), problems, do=f"Fix {path.name}")


def _look(brand: Brand) -> list[Problem]:
    """Colours and fonts the blocks need and there are not, and text nobody could read."""
    problems = _missing("colours", brand.colours, COLOURS) + _missing("fonts", brand.fonts, FONTS)
    if brand.dark_colours:
        problems += _missing("dark_colours", brand.dark_colours, COLOURS)
    for field, colours in (("colours", brand.colours), ("dark_colours", brand.dark_colours)):
        for text, ground in WRITTEN:
            if text in colours and ground in colours:
                found = contrast(colours[text], colours[ground])
                if found < CONTRAST:
                    what = f"on {ground} has a contrast of {found:.1f}; text needs {CONTRAST}"
                    problems.append(Problem(f"{field}.{text}", what))
    return problems


def _alignment(brand: Brand) -> list[Problem]:
    """A signature of somebody else's domain, which DMARC does not count (RFC 9989; before, RFC 7489)."""
    sender = brand.sender_address.rpartition("@")[2].lower()
    signs = brand.dkim.domain if brand.dkim else sender
    if signs == sender or sender.endswith(f".{signs}") or signs.endswith(f".{sender}"):
        return []
    told = f"'{signs}' is neither {sender}, the sender's domain, nor above or below it"
    return [Problem("dkim.domain", told)]


def _missing(field: str, given: Mapping[str, str], wanted: tuple[str, ...]) -> list[Problem]:
    return [
        Problem(f"{field}.{name}", "is missing; the blocks are drawn with it")
        for name in wanted
        if name not in given
    ]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21, as WCAG 2.2 defines it."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
