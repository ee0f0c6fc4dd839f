"""What a campaign is: assets/campaigns/<slug>/campaign.yaml, read and checked.

Knows the fields and how they depend on each other, on topics and on brands. Whether a segment
exists is asked with the names the caller knows; who gets mail is decided in delivery.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NewType, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from pipelines.campaigns.brands import Address, Language, brand_names
from pipelines.campaigns.kinds import (
    ContactField,
    Duration,
    Hours,
    IfPassed,
    InDoubt,
    Lint,
    Moment,
    Name,
    Slug,
    TimeZone,
    WallClock,
)
from pipelines.campaigns.reading import headline, problems_of, read_yaml, unknown
from pipelines.campaigns.topics import FILE as TOPICS_FILE
from pipelines.campaigns.topics import Line, load_topics
from pipelines.errors import CampaignInvalid, Problem, did_you_mean
from pipelines.segments.header import Value

FOLDER = Path("assets/campaigns")
FILE = "campaign.yaml"

CampaignKey = NewType("CampaignKey", str)
ERROR_BUDGET = 0.05
RESEND_AFTER = timedelta(hours=6)
KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,59}(@[0-9A-Za-z][0-9A-Za-z-]{0,39})?")


class Audience(BaseModel):
    """Whom it is for: who is in one of `include`, in none of `exclude`, and fits `where`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    include: list[Name] = Field(min_length=1)
    exclude: list[Name] = []
    where: dict[ContactField, str | list[str]] = {}
    limit: Annotated[int, Field(ge=1)] | None = None
    # Values of the segments' own parameters, by segment; their defaults otherwise.
    parameters: dict[Name, dict[str, Value]] = {}


class Translation(BaseModel):
    """What an inbox shows of a variant, in another language than the brand's first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Line
    preheader: str = Field("", max_length=300)


class Variant(BaseModel):
    """One version of the subject line, and the part of the audience that gets it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,29}$")]
    subject: Line
    preheader: str = Field("", max_length=300)
    share: Annotated[float, Field(gt=0, le=1)]
    # By language; each has a body of its own, such as body.de.mjml.j2.
    languages: dict[Language, Translation] = Field({}, exclude_if=lambda value: not value)


Scalar = str | int | float | bool | None
# A list of rows is what a message loops over, such as products.
Default = Scalar | list[dict[str, Scalar]]


class Campaign(BaseModel):
    """One campaign as its owner wrote it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slug: Slug
    description: str = Field("", max_length=500)
    owner: Address
    topic: str
    brand: str
    audience: Audience
    variants: list[Variant] = Field(min_length=1, max_length=26)
    hold_out: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    once_per: Annotated[str, Field(pattern=r"^(campaign|occurrence|[1-9]\d{0,3}d)$")] = "campaign"
    send_at: WallClock | None = None
    time_zone: TimeZone | None = None
    if_passed: IfPassed = IfPassed.SKIP
    late_by: Duration = timedelta(hours=2)
    as_of: Moment | None = None
    in_doubt: InDoubt = InDoubt.SKIP
    # With `in_doubt: resend`: for how long evidence is waited for before a second copy goes out.
    resend_after: Duration = Field(RESEND_AFTER, exclude_if=lambda value: value == RESEND_AFTER)
    conversion_days: Annotated[int, Field(ge=1, le=365)] = 14
    expires_after: Duration = timedelta(hours=72)
    # Segment columns the message uses, each with what stands there for a contact without one.
    fields: dict[Name, Default] = {}
    # Of the latest replies, the part that may be refusals before the send pauses.
    error_budget: Annotated[float, Field(gt=0, le=1)] = Field(
        ERROR_BUDGET, exclude_if=lambda value: value == ERROR_BUDGET
    )
    # Segments whose members the message says something else to: `{% if 'vip' in segments %}`.
    segments: list[Name] = Field([], exclude_if=lambda value: not value)
    # The pool of codes from which each recipient has one of their own: `{{ coupon }}`.
    coupon: Name | None = Field(None, exclude_if=lambda value: value is None)
    # When nobody's mail begins, by their own clock: `21:00-08:00`; the brand's when it says nothing.
    quiet_hours: Hours | None = Field(None, exclude_if=lambda value: value is None)
    # Addresses of one's own that get every variant when it starts, beside those of the brand.
    seeds: list[Address] = Field([], max_length=50, exclude_if=lambda value: not value)
    # Left out of what is kept when empty: an approval from before there was lint keeps its hash.
    lint: Lint = Field(Lint(), exclude_if=lambda value: not value.allow)

    def once_since(self, now: datetime) -> datetime | None:
        """From when on another occurrence counts for `once_per`, where it names days; None: from ever."""
        days = self.once_per.removesuffix("d")
        return now - timedelta(days=int(days)) if days.isdecimal() else None

    @model_validator(mode="before")
    @classmethod
    def _equal_shares(cls, values: Any) -> Any:
        variants = values.get("variants") if isinstance(values, dict) else None
        if not isinstance(variants, list) or not variants:
            return values
        mappings = [variant for variant in variants if isinstance(variant, dict)]
        if len(mappings) < len(variants) or any("share" in variant for variant in mappings):
            return values
        return {**values, "variants": [{**each, "share": 1 / len(mappings)} for each in mappings]}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for problem in _together(self.model_dump()):
            raise ValueError(f"{problem.where} {problem.what}")
        return self


def slug_of(key: str) -> str:
    """`autumn-thanks` of `autumn-thanks@2026-11`."""
    return key.partition("@")[0]


def campaign_key(text: str) -> CampaignKey:
    """A checked key: it names folders and files. Raises CampaignInvalid."""
    if not KEY.fullmatch(text):
        raise CampaignInvalid(
            f"{text[:80]!r} is not a campaign key",
            do="A key is the campaign's folder name, or folder@occurrence",
        )
    return CampaignKey(text)


def folder_of(project: Path, slug: str) -> Path:
    return project / FOLDER / slug


def slugs(project: Path) -> list[str]:
    """The folders that hold a campaign.yaml."""
    return sorted(path.parent.name for path in (project / FOLDER).glob(f"*/{FILE}"))


def discover(project: Path) -> dict[str, Campaign | CampaignInvalid]:
    """Every campaign of a project, or what is wrong with it; one bad folder spoils no other."""
    found: dict[str, Campaign | CampaignInvalid] = {}
    for slug in slugs(project):
        try:
            found[slug] = load(project, slug)
        except CampaignInvalid as invalid:
            found[slug] = invalid
    return found


def load(project: Path, slug: str) -> Campaign:
    """One campaign. Raises CampaignInvalid with every problem of its file."""
    path = folder_of(project, slug) / FILE
    known = slugs(project)
    if slug not in known:
        raise CampaignInvalid(
            f"there is no campaign '{slug[:80]}'.{did_you_mean(slug, known)}",
            do=f"See {FOLDER}, or run: lettermill campaign list",
        )
    values, problems = read_yaml(path)
    campaign = None
    if not problems:
        campaign, problems = _validated({**values, "slug": slug})
        problems += _together(values) + _taken(values) + _named(values, project)
        if campaign is None and not problems:
            problems = [Problem("variants", "names must differ and shares add up to 1")]
    if campaign is None or problems:
        do = f"Fix the file, then run: lettermill campaign check {slug}"
        raise CampaignInvalid(headline(path, problems, project), problems, do=do)
    return campaign


def segment_problems(campaign: Campaign, known: Iterable[str]) -> list[Problem]:
    """A problem for each segment the campaign names that is not among the known ones."""
    names = list(known)
    wanted = [*campaign.audience.include, *campaign.audience.exclude, *campaign.segments]
    return [
        Problem("segment", unknown(name, names, "does not exist"))
        for name in wanted
        if name not in names
    ]


def _validated(values: dict[str, Any]) -> tuple[Campaign | None, list[Problem]]:
    try:
        return Campaign.model_validate(values), []
    except ValidationError as invalid:
        return None, problems_of(invalid, Campaign)


def _together(values: Mapping[str, Any]) -> list[Problem]:
    """What fields say about each other; values may be of any type, the model checks that."""
    problems = []
    send_at, variants = values.get("send_at"), values.get("variants")
    if send_at is not None and values.get("time_zone") is None:
        what = f"'{send_at}' has no time_zone beside it. Add one, e.g. time_zone: Europe/Paris"
        problems.append(Problem("send_at", what))
    if not isinstance(variants, list) or not all(isinstance(each, dict) for each in variants):
        return problems
    names = [str(variant.get("name")) for variant in variants]
    problems += [
        Problem("variants", f"name '{name}' is used {names.count(name)} times")
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    shares = [variant["share"] for variant in variants if "share" in variant]
    numbers = [share for share in shares if isinstance(share, int | float)]
    if numbers and len(numbers) == len(variants) and abs(sum(numbers) - 1) > 1e-6:
        problems.append(Problem("variants", f"shares add up to {sum(numbers):g}, not to 1"))
    return problems


def _taken(values: Mapping[str, Any]) -> list[Problem]:
    """Fields called like what a setting of the campaign gives each person."""
    fields = values.get("fields")
    names = {"coupon": "each one's own code", "segments": "the segments each one is in"}
    return [
        Problem(
            f"fields.{name}", f"is {told} in a campaign with `{name}:`; call the column otherwise"
        )
        for name, told in names.items()
        if values.get(name) and isinstance(fields, dict) and name in fields
    ]


def _named(values: Mapping[str, Any], project: Path) -> list[Problem]:
    problems = []
    topic, brand = values.get("topic"), values.get("brand")
    if isinstance(topic, str):
        try:
            topics = load_topics(project)
            if topic not in topics:
                what = unknown(topic, topics, f"is not in {TOPICS_FILE}")
                problems.append(Problem("topic", what))
        except CampaignInvalid as invalid:
            problems.append(Problem("topic", invalid.what))
    brands = brand_names(project)
    if isinstance(brand, str) and brand not in brands:
        problems.append(Problem("brand", unknown(brand, brands, "is not a brand")))
    return problems
