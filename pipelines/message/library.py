"""What a message can be made from: the blocks and starters of a project, and what is said of them.

Knows the comment a block begins with and the files of a starter. Compiling them is compile.py's
business, and how they look gallery.py's.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipelines.campaigns.brands import Address
from pipelines.campaigns.campaign import FILE, Campaign, folder_of
from pipelines.campaigns.campaign import FOLDER as CAMPAIGNS
from pipelines.campaigns.reading import headline, problems_of, read_yaml
from pipelines.errors import CampaignInvalid, Problem, TemplateInvalid, did_you_mean
from pipelines.message.compile import TEMPLATES

BLOCKS = TEMPLATES / "blocks"
STARTERS = TEMPLATES / "starters"
SUFFIX = ".mjml.j2"
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_COMMENT = re.compile(r"\A\[#(.*?)#\]", re.DOTALL)
_OWNER = re.compile(r"^owner:.*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block as its comment describes it. `example` is a call that compiles."""

    name: str
    description: str
    parameters: dict[str, str]
    example: str


@dataclass(frozen=True)
class Starter:
    """A campaign to begin from: a folder like those of assets/campaigns."""

    name: str
    folder: Path
    campaign: Campaign


def blocks(project: Path) -> list[Block]:
    """Every block by name. Raises TemplateInvalid for those that are not described."""
    found, problems = [], []
    for path in sorted((project / BLOCKS).glob(f"*{SUFFIX}")):
        name = path.name.removesuffix(SUFFIX)
        comment = _COMMENT.match(path.read_text(encoding="utf-8"))
        block = _described(name, comment[1]) if comment else None
        if block is None:
            problems.append(Problem(path.name, "does not begin with [# what it is … Example: … #]"))
        else:
            found.append(block)
    if problems:
        do = f"Describe them like {BLOCKS / 'button.mjml.j2'}"
        raise TemplateInvalid("blocks without a description", problems, do=do)
    return found


def starters(project: Path) -> list[Starter]:
    """Every starter by name. Raises CampaignInvalid for one that is no campaign."""
    return [_starter(project, path.parent) for path in _files(project)]


def copy_starter(project: Path, slug: str, starter: str, *, owner: str | None) -> list[Path]:
    """Begin a campaign from a starter; its files, new. Raises CampaignInvalid and writes nothing
    when slug or owner is none, or the slug is taken, or there is no such starter."""
    names = [path.parent.name for path in _files(project)]
    if starter not in names:
        raise CampaignInvalid(
            f"there is no starter '{starter[:80]}'.{did_you_mean(starter, names)}",
            do="See them: lettermill template list",
        )
    if not SLUG.fullmatch(slug):
        raise CampaignInvalid(
            f"{slug[:80]!r} cannot name a campaign",
            do="Use small letters, digits and hyphens, like spring-papers",
        )
    if owner is not None:
        _check_owner(owner)
    folder = folder_of(project, slug)
    if folder.exists():
        raise CampaignInvalid(
            f"{CAMPAIGNS / slug} is there already",
            do=f"Choose another name, or look at it: lettermill campaign check {slug}",
        )
    shutil.copytree(project / STARTERS / starter, folder)
    if owner is not None:
        path = folder / FILE
        text = path.read_text(encoding="utf-8")
        path.write_text(_OWNER.sub(lambda _: f"owner: {owner}", text, count=1), encoding="utf-8")
    return sorted(folder.iterdir())


def _check_owner(owner: str) -> None:
    try:
        TypeAdapter(Address).validate_python(owner)
    except ValidationError:
        raise CampaignInvalid(
            "the owner is no e-mail address", do="Name who gets the report, like ines@shop.example"
        ) from None


def _described(name: str, comment: str) -> Block | None:
    about, mark, example = comment.strip().partition("\nExample: ")
    first, *rest = about.split("\n")
    parameters = dict(_parameter(line) for line in rest)
    if not mark or not first or not all(parameters):
        return None
    return Block(name, first, parameters, example.strip())


def _parameter(line: str) -> tuple[str, str]:
    name, mark, told = line.partition(" — ")
    return (name, told) if mark else ("", "")


def _files(project: Path) -> Iterator[Path]:
    yield from sorted((project / STARTERS).glob(f"*/{FILE}"))


def _starter(project: Path, folder: Path) -> Starter:
    path = folder / FILE
    values, problems = read_yaml(path)
    if not problems:
        try:
            campaign = Campaign.model_validate({**values, "slug": folder.name})
            return Starter(folder.name, folder, campaign)
        except ValidationError as invalid:
            problems = problems_of(invalid, Campaign)
    raise CampaignInvalid(headline(path, problems, project), problems, do="Fix the file")
