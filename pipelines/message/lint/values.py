"""Values that a message needs and that not everybody has.

Asks by making the message for somebody without any attribute; which names are known at all was
decided in check.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from jinja2.exceptions import TemplateError, UndefinedError

from pipelines.errors import Refused
from pipelines.message.check import SAMPLE
from pipelines.message.compiled import CompiledMessage
from pipelines.message.fill import Filler, made_up
from pipelines.message.lint.rule import Finding, Rule, Severity

WITHOUT_DEFAULT = Rule(
    "attribute-without-default",
    Severity.WARNING,
    "An attribute shown without a default; whoever lacks it gets no letter.",
    "Write {{ attributes.name|default('') }}, or {% if attributes.name is defined %} around it.",
)
RULES = (WITHOUT_DEFAULT,)

_LACKING = re.compile(r"has no attribute '(.{1,80})'")


def check(compiled: CompiledMessage) -> Iterator[Finding]:
    """A finding for each variant that cannot be made without some attribute: the first it lacks."""
    fields = {**SAMPLE, "attributes": {}, **compiled.samples}
    try:
        filler = Filler(compiled, public_url="https://e.example", campaign="lint", link_key=b"lint")
    except (TemplateError, RecursionError):
        return  # which check.py tells
    for variant in compiled.subjects:
        try:
            filler.write(made_up(variant, fields))
        except Refused as refused:
            cause = refused.__cause__
            lacking = _LACKING.search(str(cause)) if isinstance(cause, UndefinedError) else None
            if lacking:
                told = f"needs attributes.{lacking[1]}; whoever has none is refused"
                yield WITHOUT_DEFAULT.found(f"variant '{variant}'", told)
