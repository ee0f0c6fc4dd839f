"""What a message may use of Jinja: filters, tests, and what it may look into.

Knows names, and the filters that are ours instead of Jinja's own. What each may cost is the
environment's (sandbox.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, pass_environment
from jinja2.environment import TemplateModule
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as DEFAULT_FILTERS
from jinja2.filters import do_round, do_sum, do_urlencode
from jinja2.runtime import BlockReference, LoopContext, Macro, TemplateReference
from jinja2.tests import TESTS as DEFAULT_TESTS
from jinja2.utils import url_quote
from markupsafe import Markup

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
    "sequence", "string", "true", "undefined", "upper", "==", "!=", "<", ">", "<=", ">=",
})
# fmt: on
# String methods whose result can be of any size.
COSTLY = frozenset(
    {
        "center",
        "ljust",
        "rjust",
        "zfill",
        "expandtabs",
        "format",
        "format_map",
        "replace",
        "join",
        "translate",
        "encode",
    }
)
# What a template may look into: values, and what Jinja makes. Anything else, an object of ours or a
# function, has methods that lead out of the message.
OPEN = frozenset({
    str, list, dict, tuple, int, float, bool, type(None), date, datetime, time, timedelta,
    Markup, StrictUndefined, LoopContext, Macro, TemplateModule, TemplateReference, BlockReference,
})  # fmt: skip

# These look at what they are given, and at nothing within it.
SHALLOW = frozenset({
    "count", "d", "default", "first", "items", "last", "length", "list",
    "reject", "rejectattr", "select", "selectattr",
})  # fmt: skip
# The tests that look through what they are given, to its end.
COMPARING = frozenset({
    "eq", "equalto", "ge", "gt", "in", "le", "lower", "lt", "ne", "upper", "==", "!=", "<", ">", "<=", ">=",
})  # fmt: skip
MOST_DIGITS = 10
LARGEST_MADE = 10**18


@pass_environment
def _summed(
    environment: Environment, values: Iterable[Any], attribute: Any = None, start: Any = 0
) -> Any:
    """Jinja's own, of numbers: of lists it would copy all before for each that is added."""
    return do_sum(environment, values, attribute, _number("sum", start))


def _rounded(value: float, digits: int = 0, method: str = "common") -> float:
    """Jinja's own, with as many digits as a message shows."""
    if not isinstance(digits, int) or not 0 <= digits <= MOST_DIGITS:
        raise SecurityError(f"round to 0 to {MOST_DIGITS} digits")
    return do_round(_number("round", value), digits, method)  # type: ignore[arg-type]


def _divisible(value: Any, by: Any) -> bool:
    """Jinja's own, of numbers: a text with % is a format to it, of any width."""
    return bool(_number("divisibleby", value) % _number("divisibleby", by) == 0)


def _even(value: Any) -> bool:
    return bool(_number("even", value) % 2 == 0)


def _odd(value: Any) -> bool:
    return bool(_number("odd", value) % 2 == 1)


def _number(name: str, value: Any) -> int | float:
    if not isinstance(value, int | float):
        raise SecurityError(f"{name} is for numbers only in a message")
    return value


def _url(value: Any) -> str:
    return "" if value is None else quote(str(value), safe="", errors="replace")


def _urlencoded(value: Any) -> str:
    """Jinja's own, for half a character too, which a JSON of attributes may hold."""
    return (
        url_quote(value.encode("utf-8", "replace"))
        if isinstance(value, str)
        else do_urlencode(value)
    )


_FILTERS: Mapping[str, Any] = {
    **DEFAULT_FILTERS, "round": _rounded, "sum": _summed, "urlencode": _urlencoded
}  # fmt: skip
_TESTS: Mapping[str, Any] = {
    **DEFAULT_TESTS, "divisibleby": _divisible, "even": _even, "odd": _odd
}  # fmt: skip
# Those of both phases, and those for one person's values.
KNOWN: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {name: _FILTERS[name] for name in sorted(FILTERS)}
)
PERSONAL: Mapping[str, Callable[..., Any]] = MappingProxyType({"url": _url, **formats.FILTERS})
KNOWN_TESTS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {name: _TESTS[name] for name in sorted(TESTS)}
)
