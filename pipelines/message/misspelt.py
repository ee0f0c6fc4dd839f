"""What Jinja says of a name it does not know, with one that is near.

Knows the wording of Jinja's errors; where each stands is check.py's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2.runtime import Macro

from pipelines.errors import did_you_mean
from pipelines.message.allowed import KNOWN, KNOWN_TESTS, PERSONAL

_UNDEFINED = re.compile(r"^'(\w{1,80})' is undefined$")
_FILTER = re.compile(r"^No filter named '(\w{1,80})'")
_TEST = re.compile(r"^No test named '(\w{1,80})'")
_ARGUMENT = re.compile(r"^macro '(\w{1,80})' takes no keyword argument '(\w{1,80})'$")


def with_near(told: str, names: Mapping[str, Any] | None = None) -> str:
    """The words of an error, and which name was meant if one is near.

    names  what a template of blocks knows; None for what is said once for each person
    """
    near = "".join(did_you_mean(*each) for each in _asked(told, names))
    return f"{told.removesuffix('.')}.{near}" if near else told


def _asked(told: str, names: Mapping[str, Any] | None) -> Iterable[tuple[str, Iterable[str]]]:
    if found := _FILTER.match(told):
        yield found[1], (KNOWN if names is not None else {**KNOWN, **PERSONAL})
    elif found := _TEST.match(told):
        yield found[1], KNOWN_TESTS
    elif found := _UNDEFINED.match(told):
        yield found[1], names or ()
    elif found := _ARGUMENT.match(told):
        block = (names or {}).get(found[1])
        yield found[2], (block.arguments if isinstance(block, Macro) else ())
