"""The page a marketer looks at before approving: every variant, as real contacts would see it.

Knows how the page is laid out (preview.html.j2); whom to show and what to count is the caller's.
The page is for the campaign's people and names contacts; their addresses it never shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.errors import Problem, Refused
from pipelines.message.compiled import CompiledMessage
from pipelines.message.fill import Filler, Recipient

PEOPLE = 3
PAGE = "preview.html.j2"
# Not the home's key: nobody can be unsubscribed from a preview.
NO_KEY = b"preview"


@dataclass(frozen=True)
class About:
    """What stands around the messages: facts and counts by the names they are shown under."""

    title: str
    made_at: datetime
    description: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    findings: Sequence[Problem] = ()
    # Variant → how much of the audience gets it, in words.
    shares: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _View:
    """One variant for one contact, or why there is none."""

    who: str
    subject: str = ""
    preheader: str = ""
    html: str = ""
    text: str = ""
    refused: str = ""


@dataclass(frozen=True)
class _Variant:
    name: str
    share: str
    views: Sequence[_View]


def preview_page(
    compiled: CompiledMessage, samples: Sequence[Recipient], about: About, *, public_url: str
) -> str:
    """A self-contained page of HTML: no script, nothing from the network but the mail's pictures.

    samples  up to three contacts; their variant, tracking and address play no part
    """
    filler = Filler(compiled, public_url=public_url, campaign="preview", link_key=NO_KEY)
    variants = [
        _Variant(
            variant,
            about.shares.get(variant, ""),
            [_view(filler, sample, variant, number) for number, sample in _numbered(samples)],
        )
        for variant in compiled.subjects
    ]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(PAGE)
    return page.render(variants=variants, about=about, sender=compiled.sender_name)


def _numbered(samples: Sequence[Recipient]) -> list[tuple[int, Recipient]]:
    return list(enumerate(samples[:PEOPLE], 1))


def _view(filler: Filler, sample: Recipient, variant: str, number: int) -> _View:
    first = str(sample.fields.get("first_name") or "")
    last = str(sample.fields.get("last_name") or "")
    who = f"{first} {last[:1] + '.' if last else ''}".strip() or f"Contact {number}"
    try:
        # Untracked, so links show where they lead and no pixel is asked for.
        filled = filler.fill(replace(sample, variant=variant, is_tracked=False))
    except Refused as refused:
        return _View(who, refused=str(refused))
    return _View(who, filled.subject, filled.preheader, filled.html, filled.text)
