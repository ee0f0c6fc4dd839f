"""The page a marketer looks at before approving: every variant, as real contacts would see it.

Knows how the page is laid out (preview.html.j2); whom to show and what to count is the caller's.
The page is for the campaign's people and names contacts; their addresses it never shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.errors import Problem, Refused
from pipelines.message.compiled import CompiledMessage
from pipelines.message.fill import Filler, Recipient, made_up

PEOPLE = 3
# People who are hard on a message, made up: what every contact with these columns would get.
LONG = "Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh"
HARD: Mapping[str, Mapping[str, str | None]] = MappingProxyType(
    {
        "Nothing known": dict.fromkeys(("first_name", "last_name", "city", "country", "locale")),
        "Long names": {"first_name": LONG, "last_name": LONG, "city": LONG},
        "Right to left": {"first_name": "עלמה", "last_name": "بن علي", "city": "القاهرة"},
        "Emoji, markup": {
            "first_name": "Zoë 🎉",
            "last_name": "<b>&amp;</b>",
            "city": "{{ 7 * 7 }}",
        },
    }
)
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
            [_view(filler, sample, variant, who) for who, sample in _shown(samples)],
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
    most = PEOPLE + len(HARD)
    return page.render(variants=variants, about=about, sender=compiled.sender_name, most=most)


def _shown(samples: Sequence[Recipient]) -> list[tuple[str, Recipient]]:
    """Contacts by how they are called on the page, then the made-up ones."""
    real = [(_called(each, number), each) for number, each in enumerate(samples[:PEOPLE], 1)]
    # Extra columns stay those of a contact who is there: the segment says what they can be.
    like = samples[0] if samples else made_up("", {"attributes": {}})
    nothing = dict.fromkeys(like.fields) | {"attributes": {}}
    hard = [
        (name, replace(like, fields={**(nothing if not any(own.values()) else like.fields), **own}))
        for name, own in HARD.items()
    ]
    return [*real, *hard]


def _called(sample: Recipient, number: int) -> str:
    first = str(sample.fields.get("first_name") or "")
    last = str(sample.fields.get("last_name") or "")
    return f"{first} {last[:1] + '.' if last else ''}".strip() or f"Contact {number}"


def _view(filler: Filler, sample: Recipient, variant: str, who: str) -> _View:
    try:
        # Untracked, so links show where they lead and no pixel is asked for.
        filled = filler.fill(replace(sample, variant=variant, is_tracked=False))
    except Refused as refused:
        return _View(who, refused=str(refused))
    return _View(who, filled.subject, filled.preheader, filled.html, filled.text)
