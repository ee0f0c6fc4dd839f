"""The page a marketer looks at before approving: every variant, as real contacts would see it.

Knows how the page is laid out (preview.html.j2); whom to show and what to count is the caller's.
The page is for the campaign's people and names contacts; their addresses it never shows.
"""

from __future__ import annotations

import unicodedata
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.errors import Refused
from pipelines.message.compiled import CompiledMessage
from pipelines.message.daylight import Light, has_night, seen_by
from pipelines.message.fill import Filler, Recipient, made_up
from pipelines.message.lint.rules import Finding, Severity
from pipelines.message.pictures import shown

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
# Before the language of somebody made up who reads a further one.
READS = "Reads "
# The made-up one that a layout bears least.
HARDEST = "Long names"
# What an inbox shows of a subject, about, in characters.
DESKTOP_SUBJECT, PHONE_SUBJECT = 70, 35
# Bytes of HTML above which Gmail shows the rest on a page of its own.
GMAIL_CLIPS = 102_000
GROUPS = (
    ("Must be mended", Severity.ERROR),
    ("Worth a look", Severity.WARNING),
    ("Good to know", Severity.NOTE),
)
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
    findings: Sequence[Finding] = ()
    # Variant → how much of the audience gets it, in words.
    shares: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """One variant for one contact, or why there is none.

    size  bytes of HTML as sent to somebody tracked
    """

    who: str
    subject: str = ""
    preheader: str = ""
    html: str = ""
    text: str = ""
    size: int = 0
    refused: str = ""

    @property
    def frames(self) -> list[tuple[Light, str]]:
        """The page by day; by night as well where it has styles for that."""
        lights = [Light.DAY, Light.NIGHT] if has_night(self.html) else [Light.DAY]
        return [(light, seen_by(light, self.html)) for light in lights]

    @property
    def room(self) -> str:
        """How far from where Gmail clips, in words."""
        left = GMAIL_CLIPS - self.size
        words = f"{abs(left):,} {'below' if left >= 0 else 'above'}"
        return (
            f"{self.size:,} bytes of HTML as sent, {words} the {GMAIL_CLIPS:,} at which Gmail clips"
        )


@dataclass(frozen=True)
class Shot:
    """One picture of a message in a real browser: its file's name, what it shows, and the PNG."""

    name: str
    about: str
    png: bytes


@dataclass(frozen=True)
class Variant:
    """One variant as each contact would get it; the made-up ones come last."""

    name: str
    views: Sequence[View]


def variants_of(
    compiled: CompiledMessage, samples: Sequence[Recipient], *, public_url: str
) -> list[Variant]:
    """What every variant comes to.

    samples  up to three contacts; their variant, tracking and address play no part
    """
    filler = Filler(compiled, public_url=public_url, campaign="preview", link_key=NO_KEY)
    pictures = {name: each for part in compiled.every() for name, each in part.pictures.items()}

    people = _people(compiled, samples)

    def view(sample: Recipient, variant: str, who: str) -> View:
        made = _view(filler, sample, variant, who)
        return replace(made, html=shown(made.html, pictures))

    return [
        Variant(variant, [view(each, variant, who) for who, each in people])
        for variant in compiled.subjects
    ]


def preview_page(
    variants: Sequence[Variant], about: About, *, sender: str, shots: Sequence[Shot] = ()
) -> str:
    """A self-contained page of HTML: no script, nothing from the network but the mail's pictures."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cut": cut, "base64": lambda content: b64encode(content).decode()}
    return environment.get_template(PAGE).render(
        variants=variants,
        about=about,
        groups=_groups(about.findings),
        sender=sender,
        shots=shots,
        most=max(len(each.views) for each in variants),
        widths={"desktop": DESKTOP_SUBJECT, "phone": PHONE_SUBJECT},
    )


def cut(text: str, most: int) -> str:
    """As much of a line as an inbox has room for; nothing that is one sign is cut in two."""
    if len(text) <= most:
        return text
    end = most - 1
    while end > 0 and (_joins(text[end]) or text[end - 1] == "\u200d"):
        end -= 1
    return text[:end].rstrip() + "…"


def _joins(character: str) -> bool:
    """Whether it belongs to the character before: an accent, a joiner, a shade of skin."""
    is_mark = unicodedata.category(character) in ("Mn", "Me", "Mc")
    return is_mark or character == "\u200d" or "\U0001f3fb" <= character <= "\U0001f3ff"


def _groups(findings: Sequence[Finding]) -> list[tuple[str, str, list[Finding]]]:
    """What was found by how much it matters; what is allowed by itself, at the end."""
    kept = [each for each in findings if not each.allowed]
    groups = [
        (title, severity.value, [each for each in kept if each.rule.severity is severity])
        for title, severity in GROUPS
    ]
    allowed = ("Allowed in this campaign", "allowed", [each for each in findings if each.allowed])
    return [group for group in (*groups, allowed) if group[2]]


def _people(compiled: CompiledMessage, samples: Sequence[Recipient]) -> list[tuple[str, Recipient]]:
    """Contacts by how they are called on the page, then the made-up ones, then readers of further
    languages."""
    # What nobody has before an audience is frozen, such as a coupon, stands there as a sample.
    samples = [
        replace(each, fields={**each.fields, **compiled.samples}) for each in samples[:PEOPLE]
    ]
    real = [(_called(each, number), each) for number, each in enumerate(samples, 1)]
    # Extra columns stay those of a contact who is there: the segment says what they can be.
    like = samples[0] if samples else made_up("", {"attributes": {}, **compiled.samples})
    nothing = dict.fromkeys(like.fields) | {"attributes": {}, **compiled.samples}
    hard = [
        (name, replace(like, fields={**(nothing if not any(own.values()) else like.fields), **own}))
        for name, own in HARD.items()
    ]
    readers = [
        (f"{READS}{each.language}", replace(like, fields={**like.fields, "locale": each.language}))
        for each in compiled.translations.values()
    ]
    return [*real, *hard, *readers]


def _called(sample: Recipient, number: int) -> str:
    first = str(sample.fields.get("first_name") or "")
    last = str(sample.fields.get("last_name") or "")
    return f"{first} {last[:1] + '.' if last else ''}".strip() or f"Contact {number}"


def _view(filler: Filler, sample: Recipient, variant: str, who: str) -> View:
    try:
        # Untracked, so links show where they lead and no pixel is asked for.
        filled = filler.fill(replace(sample, variant=variant, is_tracked=False))
        sent = filler.fill(replace(sample, variant=variant, is_tracked=True))
    except Refused as refused:
        return View(who, refused=str(refused))
    size = len(sent.html.encode("utf-8", "replace"))
    return View(who, filled.subject, filled.preheader, filled.html, filled.text, size)
