"""Which languages a campaign is written in, and the words its blocks bring along in each.

Knows files and names: `body.mjml.j2` is in the brand's first language, `body.de.mjml.j2` in German.
What is said in them is the author's.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines.campaigns.brands import Brand
from pipelines.campaigns.campaign import Campaign
from pipelines.campaigns.reading import headline, read_yaml
from pipelines.errors import Problem, TemplateInvalid, did_you_mean

PHRASES = Path("assets/templates/phrases.yaml")
BODIES = ("body.mjml.j2", "body.html.j2", "body.md")
_BODY = re.compile(r"body\.([A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)\.(mjml\.j2|html\.j2|md)")
_FROM_THE_RIGHT = frozenset({"ar", "arc", "ckb", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi"})


def written_body(folder: Path) -> str | None:
    """The body in the brand's first language."""
    return next((name for name in BODIES if (folder / name).is_file()), None)


def translations(folder: Path) -> dict[str, str]:
    """The other bodies by language; of two in one language the first in the order of BODIES."""
    found: dict[str, str] = {}
    for name in sorted(path.name for path in folder.glob("body.*")):
        match = _BODY.fullmatch(name)
        if match and match[1] not in ("mjml", "html", "txt"):
            is_earlier = match[2] == "mjml.j2"
            if match[1] not in found or is_earlier:
                found[match[1]] = name
    return found


def text_file(language: str) -> str:
    """The plain text somebody wrote; of the first language the name has none in it."""
    return f"body.{language}.txt.j2" if language else "body.txt.j2"


def _unread(folder: Path, bodies: Mapping[str, str]) -> list[str]:
    """Files called like a body that none of the languages is written in."""
    read = {written_body(folder), *bodies.values(), *map(text_file, ("", *bodies))}
    return sorted({path.name for path in folder.glob("body*")} - {each for each in read if each})


def problems(
    campaign: Campaign, brand: Brand, folder: Path, bodies: Mapping[str, str]
) -> Iterator[Problem]:
    """What does not fit together: bodies, subjects, and the languages of the brand."""
    for language, file in bodies.items():
        if language not in brand.languages[1:]:
            near = did_you_mean(language, brand.languages[1:])
            told = f"'{language}' is not among the further languages of brand {brand.name}.{near}"
            yield Problem(file, f"{told} Add it to `languages` in the brand's file")
        lacking = [each.name for each in campaign.variants if language not in each.languages]
        if lacking:
            told = f"variants have no subject for it: {', '.join(lacking)}."
            yield Problem(file, f"{told} Add languages: {{{language}: {{subject: …}}}}")
    for name in _unread(folder, bodies):
        told = "is read as nothing: a body is called body.mjml.j2, or body.de.mjml.j2 in German"
        yield Problem(name, f"{told}; .html.j2, .md, and .txt.j2 beside one likewise")
    for number, variant in enumerate(campaign.variants, 1):
        for language in variant.languages:
            if language not in bodies:
                told = f"there is no body in it; write body.{language}.mjml.j2"
                yield Problem(f"campaign.yaml, variants[{number}].languages.{language}", told)


def chosen(locale: Any, languages: Container[str]) -> str:
    """Of the languages (small letters), the one for a contact's locale: de-AT, else de, else ''."""
    parts = str(locale or "")[:40].replace("_", "-").lower().split("-")
    for length in range(len(parts), 0, -1):
        name = "-".join(parts[:length])
        if name in languages:
            return name
    return ""


def is_of(locale: Any, language: str) -> bool:
    """Whether a locale is one of a language: de-AT of de; de is none of de-AT."""
    return _is_of(str(locale or "")[:40], language)


@lru_cache(maxsize=1024)  # the same few for every contact
def _is_of(locale: str, language: str) -> bool:
    spoken, wanted = locale.replace("_", "-").lower(), language.lower()
    return spoken == wanted or spoken.startswith(f"{wanted}-")


def direction(language: str) -> str:
    return "rtl" if language.partition("-")[0].lower() in _FROM_THE_RIGHT else "ltr"


def phrases(project: Path, language: str) -> Mapping[str, str]:
    """What blocks say by themselves in a language. Raises TemplateInvalid when there are none."""
    path = project / PHRASES
    if not path.is_file():
        return {}  # a project whose blocks need none
    entries, found = read_yaml(path)
    if found:
        raise TemplateInvalid(headline(path, found, project), found, do=f"Fix {PHRASES}")
    wanted: list[str] = list(entries.get("en") or next(iter(entries.values()), {}))
    name = chosen(language, {str(each).lower(): each for each in entries})
    known = {str(each).lower(): values for each, values in entries.items()}
    own = known.get(name) or {}
    missing = [each for each in wanted if not isinstance(own.get(each), str)]
    if not missing:
        return {str(key): str(value) for key, value in own.items()}
    told = f"has no words in it: {', '.join(missing)}" if own else "has no words in this language"
    raise TemplateInvalid(
        f"blocks cannot speak '{language}'",
        [Problem(f"{PHRASES}, {language}", told)],
        do=f"Add them beside those in 'en': {', '.join(wanted)}",
    )
