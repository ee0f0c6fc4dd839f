"""The Jinja environments of both phases, with everything taken away that a message does not need.

Compile time  [[ blocks and brand ]]    [% … %]   templates of the project
Fill time     {{ one person's values }} {% … %}   text already compiled

Immutable sandbox, strict undefined, an allow-list of filters, no globals, no operator that can make
something huge of something small (the sandbox blocks tricks with attributes, not cost).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from jinja2 import BaseLoader, StrictUndefined
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipelines.message import formats

# fmt: off
FILTERS = frozenset({
    "abs", "capitalize", "count", "d", "default", "e", "escape", "first", "float", "int",
    "items", "join", "last", "length", "list", "lower", "max", "min", "reject", "rejectattr",
    "round", "select", "selectattr", "sort", "sum", "title", "trim", "truncate",
    "unique", "upper", "urlencode", "wordcount",
})
TESTS = frozenset({
    "boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "gt",
    "in", "integer", "iterable", "le", "lower", "lt", "mapping", "ne", "none", "number", "odd",
    "sequence", "string", "true", "undefined", "upper",
})
# fmt: on
# String methods whose result can be of any size.
COSTLY = frozenset(
    {"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map", "replace"}
)
LARGEST = 10**12


class MessageEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox in which neither attributes nor arithmetic lead anywhere else."""

    intercepted_binops = frozenset({"*", "**", "%", "//", "/"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise SecurityError("powers are not allowed in a message")
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers or abs(left) > LARGEST or abs(right) > LARGEST:
            raise SecurityError(f"'{operator}' is for numbers only in a message")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in COSTLY and super().is_safe_attribute(obj, attr, value)


def compile_environment(loader: BaseLoader, *, autoescape: bool) -> MessageEnvironment:
    """The environment in which blocks, layouts and brand are put together."""
    environment = MessageEnvironment(
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
        loader=loader,
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return _reduced(environment)


def fill_environment(*, autoescape: bool) -> MessageEnvironment:
    """The environment in which one person's values come in; nothing can be included from there."""
    environment = MessageEnvironment(
        autoescape=autoescape,
        undefined=StrictUndefined,
        finalize=_shown,
        auto_reload=False,
    )
    reduced = _reduced(environment)
    reduced.filters |= {"url": _url, **formats.FILTERS}
    return reduced


def _reduced(environment: MessageEnvironment) -> MessageEnvironment:
    environment.globals = {}
    environment.filters = _only(environment.filters, FILTERS)
    environment.tests = _only(environment.tests, TESTS | {"==", "!=", "<", ">", "<=", ">="})
    return environment


def _only(known: Mapping[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    return {name: known[name] for name in known if name in allowed}


def _shown(value: Any) -> Any:
    return "" if value is None else value


def _url(value: Any) -> str:
    return "" if value is None else quote(str(value), safe="")
