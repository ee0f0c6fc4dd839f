"""What a compiled message lacks or has too much of, before it is approved.

Knows the rules mail programs, providers and the law have for every campaign. Broken templates never
come this far: compile.py refuses them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.errors import Problem
from pipelines.message.compiled import UNSUBSCRIBE, CompiledMessage
from pipelines.message.markup import image_addresses
from pipelines.message.plain import plain_text

SUBJECT_CHARACTERS = 150
# Gmail cuts a message off at 102 kB, the unsubscribe link with it.
LARGEST_HTML = 100_000
_SCRIPT = re.compile(r"<(script|form|iframe|object|embed)\b|\son[a-z]+=", re.IGNORECASE)


def lint(compiled: CompiledMessage, *, public_url: str | None = None) -> list[Problem]:
    """Every finding; empty for a message that may go out.

    public_url  the edge's own address, which alone may be http
    """
    return [*_subjects(compiled), *_must_have(compiled), *_links(compiled, public_url)]


def _subjects(compiled: CompiledMessage) -> Iterator[Problem]:
    for variant, subject in compiled.subjects.items():
        where = f"subject of '{variant}'"
        if not subject.strip():
            yield Problem(where, "is empty")
        elif len(subject) > SUBJECT_CHARACTERS:
            what = f"has {len(subject)} characters; more than {SUBJECT_CHARACTERS} are cut off"
            yield Problem(where, what)


def _must_have(compiled: CompiledMessage) -> Iterator[Problem]:
    for where, body in (("HTML", compiled.html), ("plain text", compiled.text)):
        if UNSUBSCRIBE not in body:
            yield Problem(where, "has no unsubscribe link; add [[ footer() ]]")
        shown = plain_text(body) if where == "HTML" else body
        if _squeezed(compiled.postal_address) not in _squeezed(shown):
            yield Problem(where, "has no postal address; add [[ footer() ]]")
    size = len(compiled.html.encode())
    if size > LARGEST_HTML:
        yield Problem("HTML", f"has {size:,} bytes; more than {LARGEST_HTML:,} are cut off")
    if match := _SCRIPT.search(compiled.html):
        yield Problem("HTML", f"contains '{match[0].strip()}', which no mail program runs")


def _links(compiled: CompiledMessage, public_url: str | None) -> Iterator[Problem]:
    for address in [*compiled.links, *image_addresses(compiled.html)]:
        own = public_url is not None and address.startswith(public_url.rstrip("/") + "/")
        if not own and not address.startswith(("https://", "cid:")):
            yield Problem("link", f"'{address[:80]}' is not https")


def _squeezed(text: str) -> str:
    return " ".join(text.split())
