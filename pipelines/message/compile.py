"""Compile a campaign's templates into one message, and find what is wrong with them before anybody
is mailed.

Knows which file is the body and how the steps follow each other. Each step is a module of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from pipelines.campaigns.brands import Brand, load_brand
from pipelines.campaigns.campaign import Campaign, folder_of
from pipelines.campaigns.topics import Topic, load_topics
from pipelines.errors import Problem, TemplateInvalid
from pipelines.message.check import compile_problem, fill_problems
from pipelines.message.compiled import CONTACT_FIELDS, UNSUBSCRIBE, CompiledMessage
from pipelines.message.markdown import Held, parts
from pipelines.message.markup import Links, from_mjml, inlined, marked
from pipelines.message.plain import plain_text
from pipelines.message.sandbox import MessageEnvironment, compile_environment
from pipelines.message.tags import ProjectLoader, Tags

TEMPLATES = Path("assets/templates")
BODIES = ("body.mjml.j2", "body.html.j2", "body.md")
TEXT = "body.txt.j2"
EXAMPLE = "example.mjml.j2"
LETTER = (
    "[% extends layout %][% block content %][% for part in parts %][% if part.is_words %]"
    "[% call text() %][[ part.markup ]][% endcall %][% else %][[ part.markup ]][% endif %]"
    "[% endfor %][% endblock %]"
)
# A picture and the words below it lead to the same place and are called the same.
_TWICE = re.compile(r"^(.+ <[^>\n]+>)\n\n(?=\1$)", re.MULTILINE)


def compile_message(
    campaign: Campaign, *, project: Path, folder: Path | None = None
) -> CompiledMessage:
    """The message of a campaign. Raises TemplateInvalid with files and lines, CampaignInvalid
    when topic or brand cannot be read.

    folder  where its body lies, a folder of the project; the campaign's own otherwise
    """
    return _Compilation(campaign, project, folder).message()


def compile_example(source: str, campaign: Campaign, *, project: Path) -> CompiledMessage:
    """The message of a campaign with this MJML for its body, which is in no file."""
    return _Compilation(campaign, project, example=source).message()


class _Compilation:
    """One compilation: what is known of it, and its steps in order."""

    def __init__(
        self,
        campaign: Campaign,
        project: Path,
        folder: Path | None = None,
        *,
        example: str | None = None,
    ) -> None:
        self.campaign = campaign
        self.example = example
        self.brand: Brand = load_brand(project, campaign.brand)
        self.topic: Topic = load_topics(project)[campaign.topic]
        self.folder = folder or folder_of(project, campaign.slug)
        self.tags = Tags()
        self.links = Links(self.tags)
        self.loader = ProjectLoader([self.folder, project / TEMPLATES], project, self.tags)
        self.body = EXAMPLE if example is not None else self._written_body()

    def message(self) -> CompiledMessage:
        if self.body is None:
            what = f"is missing; write {BODIES[0]}, {BODIES[1]} or {BODIES[2]}"
            raise self._invalid([Problem("body", what)])
        source = self._source(self.body)
        markup = inlined(self._html(source, self.body))
        self._nothing_lost(source, markup)
        numbered = self.links.in_html(markup)
        text = self._text(numbered)
        compiled = self._compiled(marked(self.tags.restore(numbered)), text)
        problems = self.links.problems + fill_problems(compiled, self.tags, self.loader.sources)
        if problems:
            raise self._invalid(problems)
        return compiled

    def _written_body(self) -> str | None:
        return next((name for name in BODIES if (self.folder / name).is_file()), None)

    def _source(self, body: str) -> str:
        suffix = ".html.j2" if body.endswith(".html.j2") else ".mjml.j2"
        return self.tags.as_comments(self._rendered(body, suffix=suffix))

    def _html(self, source: str, body: str) -> str:
        if body.endswith(".html.j2"):
            return source
        try:
            return from_mjml(source)
        except OSError as error:
            raise self._invalid([Problem(body, f"is not MJML: {error}")]) from error

    def _rendered(self, name: str, *, suffix: str, autoescape: bool = True) -> str:
        environment = compile_environment(self.loader, autoescape=autoescape)
        environment.globals = self._context()
        try:
            blocks = self._blocks(environment, suffix)
            environment.globals.update(blocks)
            if name.endswith(".md"):
                return self._letter(name, environment, blocks)
            if name == EXAMPLE:
                source = self.tags.protect(self.example or "", EXAMPLE)
                return environment.from_string(source).render()
            return environment.get_template(name).render()
        except (TemplateError, AttributeError, TypeError, ValueError, RecursionError) as error:
            raise self._invalid([compile_problem(error, name)]) from error

    def _blocks(self, environment: MessageEnvironment, suffix: str) -> dict[str, Any]:
        found = {}
        for file in self.loader.names("blocks", suffix):
            macro = file.removeprefix("blocks/").removesuffix(suffix)
            found[macro] = getattr(environment.get_template(file).module, macro)
        return found

    def _letter(self, name: str, environment: MessageEnvironment, blocks: Mapping[str, Any]) -> str:
        """Markdown in its layout, its blocks between the words."""
        held = Held()
        words = compile_environment(self.loader, autoescape=False)
        words.globals = {
            **self._context(),
            **{macro: held.holding(block) for macro, block in blocks.items()},
            "layout": held.choose,
        }
        source = words.get_template(name).render()
        layout = f"layouts/{held.layout}.mjml.j2"
        letter = environment.from_string(LETTER)
        return letter.render(layout=layout, parts=list(parts(source, held)))

    def _context(self) -> dict[str, Any]:
        return {
            "brand": dict(self.brand),
            "topic": {**self.topic.model_dump(mode="json"), "name": self.topic.name()},
            "campaign": self.campaign.model_dump(mode="json"),
            "unsubscribe_url": UNSUBSCRIBE,
        }

    def _text(self, numbered: str) -> str:
        if not (self.folder / TEXT).is_file():
            return _TWICE.sub("", self.tags.restore_lines(plain_text(numbered)))
        written = self._rendered(TEXT, suffix=".txt.j2", autoescape=False)
        return self.tags.restore_lines(self.links.in_text(written))

    def _nothing_lost(self, before: str, after: str) -> None:
        kept = self.tags.within(after)
        lost = [
            Problem(tag.place, f"'{tag.source}' stands where no text can be")
            for tag in self.tags.within(before)
            if tag not in kept
        ]
        if lost:
            raise self._invalid(lost)

    def _compiled(self, html: str, text: str) -> CompiledMessage:
        campaign, brand, topic = self.campaign, self.brand, self.topic
        names = dict.fromkeys(CONTACT_FIELDS, "")
        return CompiledMessage(
            subjects={each.name: each.subject for each in campaign.variants},
            preheaders={each.name: each.preheader for each in campaign.variants},
            html=html,
            text=text,
            links=self.links.addresses,
            sender_name=brand.sender_name,
            sender_address=brand.sender_address,
            reply_to=brand.reply_to,
            list_id=f"{topic.list_id}.{brand.list_domain}",
            list_name=topic.name(),
            postal_address=brand.postal_address,
            feedback_id=f"{campaign.slug}:{topic.key}:{brand.name}:{brand.feedback_sender_id}",
            return_path_domain=brand.bounce_domain,
            message_id_domain=brand.sender_address.rpartition("@")[2],
            default_fields={**names, "attributes": {}, **campaign.fields},
        )

    def _invalid(self, problems: list[Problem]) -> TemplateInvalid:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        return TemplateInvalid(
            f"the message of {self.campaign.slug} has {count}",
            problems,
            do=f"Fix the files, then run: lettermill campaign check {self.campaign.slug}",
        )
