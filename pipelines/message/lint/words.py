"""What the words of a message lack or hide: subject, preheader, names, and the plain text.

Knows how much of a subject is shown and which characters deceive; nothing of HTML but its words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from pipelines.message.compiled import CompiledMessage
from pipelines.message.lint.page import VALUE, Page, plain_template
from pipelines.message.lint.rule import Finding, Rule, Severity

LONGEST_SUBJECT = 150
SHOWN_OF_SUBJECT = 70
# What a filled-in value is counted as: most first names are shorter.
VALUE_CHARACTERS = 8

SUBJECT_EMPTY = Rule(
    "subject-empty",
    Severity.ERROR,
    "A variant whose subject is empty.",
    "Write a subject in campaign.yaml.",
    may_be_allowed=False,
)
SUBJECT_TOO_LONG = Rule(
    "subject-too-long",
    Severity.ERROR,
    f"A subject of more than {LONGEST_SUBJECT} characters.",
    f"Say it in {SHOWN_OF_SUBJECT} characters; the preheader has room for the rest.",
)
SUBJECT_CUT = Rule(
    "subject-cut",
    Severity.WARNING,
    f"A subject of more than {SHOWN_OF_SUBJECT} characters, of which mail programs show a part.",
    f"Put what matters first, or say it in {SHOWN_OF_SUBJECT} characters.",
)
SUBJECT_CAPITALS = Rule(
    "subject-all-caps",
    Severity.WARNING,
    "A subject in capitals, which readers and filters take for shouting.",
    "Write it as a sentence.",
)
PREHEADER_MISSING = Rule(
    "preheader-missing",
    Severity.WARNING,
    "A variant without a preheader; inboxes show the first words of the page in its place.",
    "Add preheader: beside the subject in campaign.yaml.",
)
REORDERED = Rule(
    "text-reordered",
    Severity.ERROR,
    "A character that turns the direction of what follows, in a subject or name.",
    "Write it anew by hand; such characters come along when text is pasted.",
    may_be_allowed=False,
)
INVISIBLE = Rule(
    "text-invisible",
    Severity.WARNING,
    "A character nobody sees, in a subject or name; filters know it from spam.",
    "Write it anew by hand; such characters come along when text is pasted.",
)
MIXED_SCRIPTS = Rule(
    "text-mixed-scripts",
    Severity.WARNING,
    "A word of letters from two alphabets that look alike, in a subject or name.",
    "Write the word anew on one keyboard.",
)
TEXT_LINK = Rule(
    "text-link-missing",
    Severity.WARNING,
    "A link of the HTML that the plain text does not have.",
    "Add the links to body.txt.j2, or remove that file: the text is then made from the HTML.",
)
TEXT_WORDS = Rule(
    "text-words-missing",
    Severity.WARNING,
    "A plain text with fewer than half of the HTML's words.",
    "Say the same in body.txt.j2, or remove that file: the text is then made from the HTML.",
)
RULES = (
    SUBJECT_EMPTY,
    SUBJECT_TOO_LONG,
    SUBJECT_CUT,
    SUBJECT_CAPITALS,
    PREHEADER_MISSING,
    REORDERED,
    INVISIBLE,
    MIXED_SCRIPTS,
    TEXT_LINK,
    TEXT_WORDS,
)

_OVERRIDE = re.compile("[\u202a-\u202e\u2066-\u2069]")
_UNSEEN = re.compile("[\u00ad\u200b\u2060-\u2064\u180e\ufeff\U000e0000-\U000e007f]")
# Joiners belong to emoji and to many scripts; between these letters they do nothing but hide.
_JOINED = re.compile("(?<=[A-Za-z0-9\u0370-\u052f])[\u200c\u200d](?=[A-Za-z0-9\u0370-\u052f])")
_WORD = re.compile(r"[^\W\d_]+")
_WEB = re.compile(r"https?://")
_ALIKE = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"})
_LETTERS_OF_CAPITALS = 8
_WORDS_TO_COMPARE = 20
_FLAG = "\U0001f3f4"


def check(compiled: CompiledMessage, page: Page) -> Iterator[Finding]:
    yield from _subjects(compiled)
    for where, text in _named(compiled):
        yield from _deceiving(where, text)
    yield from _plain_text(compiled, page)


def _subjects(compiled: CompiledMessage) -> Iterator[Finding]:
    for variant, template in compiled.subjects.items():
        where = f"subject of '{variant}'"
        subject = plain_template(template).strip()
        length = len(subject) + subject.count(VALUE) * (VALUE_CHARACTERS - 1)
        letters = [letter for letter in subject if letter.isupper() or letter.islower()]
        if not subject:
            yield SUBJECT_EMPTY.found(where, "is empty")
        elif length > LONGEST_SUBJECT:
            what = f"has {length} characters; more than {LONGEST_SUBJECT} are cut off"
            yield SUBJECT_TOO_LONG.found(where, what)
        elif length > SHOWN_OF_SUBJECT:
            what = f"has {length} characters; about {SHOWN_OF_SUBJECT} are shown"
            yield SUBJECT_CUT.found(where, what)
        if len(letters) >= _LETTERS_OF_CAPITALS and all(letter.isupper() for letter in letters):
            yield SUBJECT_CAPITALS.found(where, "is in capitals")
        if not compiled.preheaders.get(variant, "").strip():
            yield PREHEADER_MISSING.found(f"variant '{variant}'", "has no preheader")


def _named(compiled: CompiledMessage) -> Iterator[tuple[str, str]]:
    yield "sender name", compiled.sender_name
    yield "list name", compiled.list_name
    yield from ((f"subject of '{name}'", text) for name, text in compiled.subjects.items())
    yield from ((f"preheader of '{name}'", text) for name, text in compiled.preheaders.items())


def _deceiving(where: str, text: str) -> Iterator[Finding]:
    if match := _OVERRIDE.search(text):
        what = f"has {_called(match[0])}, which reorders what follows"
        yield REORDERED.found(where, what)
    # A tag sequence after a black flag is the flag of a region.
    unseen = None if _FLAG in text else _UNSEEN.search(text)
    if match := unseen or _JOINED.search(text):
        yield INVISIBLE.found(where, f"has {_called(match[0])}, which nobody sees")
    for word in _WORD.findall(text):
        first_words = {unicodedata.name(letter, "").partition(" ")[0] for letter in word}
        scripts = sorted(first_words & _ALIKE)
        if len(scripts) > 1:
            shown = " and ".join(script.capitalize() for script in scripts)
            yield MIXED_SCRIPTS.found(where, f"'{word[:40]}' has letters of {shown}")
            return


def _called(character: str) -> str:
    return f"U+{ord(character):04X}"


def _plain_text(compiled: CompiledMessage, page: Page) -> Iterator[Finding]:
    text = plain_template(compiled.text)
    hrefs = [each.attributes.get("href", "") for each in page.elements if each.tag in ("a", "area")]
    wanted = dict.fromkeys(href for href in hrefs if page.is_numbered(href) or _WEB.match(href))
    missing = [page.target(href).replace(VALUE, "…") for href in wanted if href not in text]
    if missing:
        shown = f"'{missing[0][:80]}'" + (f" and {len(missing) - 1} more" if missing[1:] else "")
        yield TEXT_LINK.found("plain text", f"lacks {len(missing)} of {len(wanted)} links: {shown}")
    words = _words(page.words)
    kept = len(words & _words(text))
    if len(words) >= _WORDS_TO_COMPARE and kept * 2 < len(words):
        what = f"has {kept} of the {len(words)} words of the HTML"
        yield TEXT_WORDS.found("plain text", what)


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text) if len(word) > 3}
