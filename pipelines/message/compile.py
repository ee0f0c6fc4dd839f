"""Compile a campaign's templates into one message, and find what is wrong with them before anybody
is mailed.

Knows which file is the body and how the steps follow each other. Each step is a module of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.campaigns.brands import Brand, load_brand
from pipelines.campaigns.campaign import Campaign, folder_of
from pipelines.campaigns.topics import Topic, load_topics
from pipelines.errors import Problem, TemplateInvalid
from pipelines.message.check import compile_problem, fill_problems
from pipelines.message.compiled import (
    CONTACT_FIELDS,
    PREFERENCES,
    UNSUBSCRIBE,
    VIEW,
    CompiledMessage,
)
from pipelines.message.fill import STOPPED
from pipelines.message.languages import (
    BODIES,
    direction,
    phrases,
    problems,
    text_file,
    translations,
    written_body,
)
from pipelines.message.markdown import Held, parts
from pipelines.message.markup import Links, from_mjml, inlined, marked, unbounded, unwritable
from pipelines.message.mjml import flaws
from pipelines.message.pictures import Pictures
from pipelines.message.places import Places
from pipelines.message.plain import plain_text
from pipelines.message.sandbox import MessageEnvironment, compile_environment
from pipelines.message.tags import ProjectLoader, Tags

TEMPLATES = Path("assets/templates")
EXAMPLE = "example.mjml.j2"
LETTER = (
    "[% extends layout %][% block content %][% for part in parts %][% if part.is_words %]"
    "[% call text() %][[ part.markup ]][% endcall %][% else %][[ part.markup ]][% endif %]"
    "[% endfor %][% endblock %]"
)
# A picture and the words below it lead to the same place and are called the same.
_TWICE = re.compile(r"^(.+ <[^<>\n]+>)\n\n(?=\1$)", re.MULTILINE)


def compile_message(
    campaign: Campaign, *, project: Path, folder: Path | None = None, links: Sequence[str] = ()
) -> CompiledMessage:
    """The message of a campaign. Raises TemplateInvalid with files and lines, CampaignInvalid
    when topic or brand cannot be read.

    folder  where its body lies, a folder of the project; the campaign's own otherwise
    links   addresses that keep their numbers: of a message that some have already
    """
    bodies = translations(folder or folder_of(project, campaign.slug))
    first = _Compilation(campaign, project, folder, links=list(links))
    found = list(problems(campaign, first.brand, first.folder, bodies))
    if found:
        raise first.invalid(found)
    message = first.message()
    if not bodies:
        return message
    # One after the other into one list of links: a number means the same address in all of them.
    others = {
        language.lower(): _Compilation(
            campaign, project, folder, body=body, language=language, links=first.links.addresses
        ).message()
        for language, body in bodies.items()
    }
    all_links = {"links": first.links.addresses}
    translated = {name: each.model_copy(update=all_links) for name, each in others.items()}
    return message.model_copy(update={**all_links, "translations": translated})


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
        body: str | None = None,
        language: str = "",
        links: list[str] | None = None,
    ) -> None:
        self.campaign = campaign
        self.project = project
        self.example = example
        self.brand: Brand = load_brand(project, campaign.brand)
        self.topic: Topic = load_topics(project)[campaign.topic]
        self.folder = folder or folder_of(project, campaign.slug)
        self.translation = language
        self.language = language or self.brand.languages[0]
        self.tags = Tags()
        self.links = Links(self.tags, [] if links is None else links)
        self.loader = ProjectLoader([self.folder, project / TEMPLATES], project, self.tags)
        self.pictures = Pictures(self.loader.find)
        self.body = EXAMPLE if example is not None else body or written_body(self.folder)

    def message(self) -> CompiledMessage:
        if self.body is None:
            what = f"is missing; write {BODIES[0]}, {BODIES[1]} or {BODIES[2]}"
            raise self.invalid([Problem("body", what)])
        source = self._source(self.body)
        self._nothing_styled(source)
        markup = self.pictures.in_html(inlined(self._html(source, self.body)))
        self._nothing_lost(source, markup)
        self._nothing_styled(markup)  # colours and sizes of MJML are styles by now
        numbered = self.links.in_html(markup)
        text = self._text(numbered)
        compiled = self._compiled(marked(self.tags.restore(numbered)), text)
        found = [*self.links.problems, *self.pictures.problems]
        found += fill_problems(compiled, self.tags, self.loader.sources)
        if found:
            raise self.invalid(found)
        return compiled

    def _source(self, body: str) -> str:
        suffix = ".html.j2" if body.endswith(".html.j2") else ".mjml.j2"
        rendered = self._rendered(body, suffix=suffix)
        if told := unbounded(rendered) or unwritable(rendered):
            raise self.invalid([Problem(body, told)])
        return self.tags.as_comments(rendered)

    def _html(self, source: str, body: str) -> str:
        if body.endswith(".html.j2"):
            return source
        if flaws(source):
            raise self.invalid(self._flawed(body))
        try:
            return from_mjml(source)
        except OSError as error:
            raise self.invalid([Problem(body, f"is not MJML: {error}")]) from error

    def _flawed(self, body: str) -> list[Problem]:
        """What is wrong with the MJML, each with file and line: put together anew, with marks."""
        self.loader.places = places = Places()
        source, origins = places.taken(self._source(body))
        own = self.folder.relative_to(self.project).as_posix()
        return [
            origins.problem(each.at, self.tags.restore(each.what), own=own, body=body)
            for each in flaws(source)
        ]

    def _rendered(self, name: str, *, suffix: str, autoescape: bool = True) -> str:
        environment = compile_environment(self.loader, autoescape=autoescape)
        environment.globals = self._context()
        try:
            blocks = self._blocks(environment, suffix)
            environment.globals.update(blocks)
            if name.endswith(".md"):
                return self._letter(name, environment, blocks)
            if name == EXAMPLE:
                source = self.loader.protected(self.example or "", EXAMPLE)
                return environment.from_string(source).render()
            return environment.get_template(name).render()
        except (*STOPPED, SyntaxError) as error:
            raise self.invalid([compile_problem(error, name, environment.globals)]) from error

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
        return letter.render(layout=layout, parts=[vars(part) for part in parts(source, held)])

    def _context(self) -> dict[str, Any]:
        name = self.topic.name(self.language)
        own = phrases(self.project, self.language)
        return {
            # Values, no models, whose methods reach everything; empty fields too, which blocks ask for.
            "brand": {**dict(self.brand), **self.brand.model_dump(mode="json")},
            "topic": {**self.topic.model_dump(mode="json"), "name": name},
            "phrases": {key: told.replace("{topic}", name) for key, told in own.items()},
            "language": self.language,
            "direction": direction(self.language),
            "campaign": self.campaign.model_dump(mode="json"),
            "unsubscribe_url": UNSUBSCRIBE,
            "view_url": VIEW,
            "preferences_url": PREFERENCES,
        }

    def _text(self, numbered: str) -> str:
        written_text = text_file(self.translation)
        if not (self.folder / written_text).is_file():
            return _TWICE.sub("", self.tags.restore_lines(plain_text(numbered)))
        written = self._rendered(written_text, suffix=".txt.j2", autoescape=False)
        return self.tags.restore_lines(self.links.in_text(written))

    def _nothing_styled(self, markup: str) -> None:
        told = (
            "stands in a style, where no escaping holds a value back: choose between whole elements"
        )
        if styled := dict.fromkeys(self.tags.in_styles(markup)):
            raise self.invalid([Problem(tag.place, f"'{tag.source}' {told}") for tag in styled])

    def _nothing_lost(self, before: str, after: str) -> None:
        kept = self.tags.within(after)
        lost = [
            Problem(tag.place, f"'{tag.source}' stands where no text can be")
            for tag in self.tags.within(before)
            if tag not in kept
        ]
        if lost:
            raise self.invalid(lost)

    def _compiled(self, html: str, text: str) -> CompiledMessage:
        campaign, brand, topic = self.campaign, self.brand, self.topic
        names = dict.fromkeys(CONTACT_FIELDS, "")
        shown = {
            each.name: each.languages[self.translation] if self.translation else each
            for each in campaign.variants
        }
        return CompiledMessage(
            subjects={name: each.subject for name, each in shown.items()},
            preheaders={name: each.preheader for name, each in shown.items()},
            html=html,
            text=text,
            links=self.links.addresses,
            sender_name=brand.sender_name,
            sender_address=brand.sender_address,
            reply_to=brand.reply_to,
            list_id=f"{topic.list_id}.{brand.list_domain}",
            list_name=topic.name(self.language),
            postal_address=brand.postal_address,
            feedback_id=f"{campaign.slug}:{topic.key}:{brand.name}:{brand.feedback_sender_id}",
            return_path_domain=brand.bounce_domain,
            message_id_domain=brand.sender_address.rpartition("@")[2],
            default_fields={**names, "attributes": {}, **_own_names(campaign), **campaign.fields},
            required=["coupon"] if campaign.coupon else [],
            segments=campaign.segments,
            pictures=self.pictures.known,
            language=self.language,
        )

    def invalid(self, problems: list[Problem]) -> TemplateInvalid:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        return TemplateInvalid(
            f"the message of {self.campaign.slug} has {count}",
            problems,
            do=f"Fix the files, then run: lettermill campaign check {self.campaign.slug}",
        )


def _own_names(campaign: Campaign) -> dict[str, Any]:
    """What a message may name because of how its campaign is set up."""
    segments: dict[str, Any] = {"segments": []} if campaign.segments else {}
    return segments | ({"coupon": ""} if campaign.coupon else {})
