"""Cases of a campaign's message: for this contact, this subject, these words, these links.

tests/messages/<slug>/<case>.yaml. A case compiles the project's own files and fills them.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.campaigns.campaign import slug_of
from pipelines.campaigns.reading import problems_of, read_yaml
from pipelines.errors import Problem, Refused, TemplateInvalid, did_you_mean
from pipelines.message.compiled import CompiledMessage
from pipelines.message.fill import Filled, Filler, made_up
from pipelines.message.markup import ATTRIBUTE
from pipelines.message.plain import plain_text

FOLDER = Path("tests/messages")
_LINK = re.compile(rf'<a\b(?:{ATTRIBUTE})*?\s+href="([^"]*)"', re.IGNORECASE)
URL = "https://edge.example"


class Expect(BaseModel):
    """What one message must be like; what is not named may be as it likes.

    contains, lacks  words of both the HTML as it is read and the plain text
    links            addresses the HTML leads to, in any order
    refused          words of why there is no message for this contact
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str | None = None
    preheader: str | None = None
    contains: list[str] = []
    lacks: list[str] = []
    links: list[str] = []
    refused: str | None = None


class Case(BaseModel):
    """One case: a contact's columns and the segment's, and what comes of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    contact: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    variant: str | None = None
    expect: Expect


def case_files(project: Path, key: str) -> list[Path]:
    """The case files of a campaign, by name."""
    return sorted((project / FOLDER / slug_of(key)).glob("*.yaml"))


def read_case(path: Path) -> Case:
    """Raises TemplateInvalid with everything that is wrong with the file."""
    values, problems = read_yaml(path)
    try:
        if not problems:
            return Case.model_validate(values)
    except ValidationError as invalid:
        problems = problems_of(invalid, Case)
    do = "Cases of messages are described in docs/templates.md"
    raise TemplateInvalid(f"{path.name} is not a case", problems, do=do)


def outcome(message: CompiledMessage, case: Case) -> list[Problem]:
    """How the message differs from what a case expects; empty when it holds."""
    variant = case.variant or next(iter(message.subjects))
    if variant not in message.subjects:
        near = did_you_mean(variant, message.subjects)
        return [Problem("variant", f"'{variant}' is none of this campaign.{near}")]
    recipient = made_up(
        variant, {"attributes": {}, **message.samples, **case.contact, **case.fields}
    )
    try:
        filler = Filler(message, public_url=URL, campaign="case", link_key=b"case")
        filled = filler.fill(recipient)
    except Refused as refused:
        return _of_refusal(str(refused), case.expect)
    if case.expect.refused is not None:
        return [Problem("refused", "a message was made")]
    return _of_message(filled, case.expect)


def _of_refusal(told: str, expect: Expect) -> list[Problem]:
    if expect.refused is not None and expect.refused in told:
        return []
    return [Problem("refused", f"no message was made: {told}")]


def _of_message(filled: Filled, expect: Expect) -> list[Problem]:
    found: list[Problem] = []
    for name in ("subject", "preheader"):
        wanted, told = getattr(expect, name), getattr(filled, name)
        if wanted is not None and wanted != told:
            found.append(Problem(name, f"is '{told}', not '{wanted}'"))
    read = {"HTML": _squeezed(plain_text(filled.html)), "plain text": _squeezed(filled.text)}
    for part, text in read.items():
        found += [
            Problem(part, f"lacks '{words}'")
            for words in expect.contains
            if _squeezed(words) not in text
        ]
        found += [
            Problem(part, f"contains '{words}'")
            for words in expect.lacks
            if _squeezed(words) in text
        ]
    links = {html.unescape(link) for link in _LINK.findall(filled.html)}
    for wanted in expect.links:
        if wanted not in links:
            near = did_you_mean(wanted, sorted(links))
            found.append(Problem("links", f"nothing leads to {wanted}.{near}"))
    return found


def _squeezed(text: str) -> str:
    return " ".join(text.split())
