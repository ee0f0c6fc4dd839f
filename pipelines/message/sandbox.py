"""The Jinja environments of both phases, with everything taken away that a message does not need.

Compile time  [[ blocks and brand ]]    [% … %]   templates of the project
Fill time     {{ one person's values }} {% … %}   text already compiled

Immutable sandbox, strict undefined, an allow-list of filters, no globals. Jinja's sandbox blocks tricks
with attributes, not cost, so here no operator, filter or captured block makes something huge of something
small, loops and calls are counted, and what is said once for each person knows no macros and no
recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from functools import wraps
from itertools import islice
from typing import Any
from urllib.parse import quote

from jinja2 import BaseLoader, StrictUndefined, nodes
from jinja2.environment import TemplateModule
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.filters import do_round, do_urlencode
from jinja2.runtime import BlockReference, LoopContext, Macro, TemplateReference, markup_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import url_quote
from markupsafe import Markup

from pipelines.message import formats
from pipelines.message.counting import COUNTED, LONGEST, count_what_costs, filtered, measured

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
LARGEST = 10**12
# Rounds of one loop and loops inside each other, for one person.
MOST_ROUNDS, DEEPEST = 1_000, 2
MOST_ROUNDS_TOGETHER = 5_000
# Characters and members that filters, calls and comparisons look through, together: for one person, and
# once for all while a message is compiled.
MOST_LOOKED_AT, MOST_LOOKED_AT_ONCE = 2_000_000, 20_000_000
MOST_DIGITS = 10
# Rounds and calls while a message is compiled.
MOST_STEPS = 100_000
FEW_PIECES = 50
MOST_CHARACTERS = 1_000_000

# What a template may look into: values, and what Jinja makes. Anything else, an object of ours or a
# function, has methods that lead out of the message.
OPEN = frozenset({
    str, list, dict, tuple, int, float, bool, type(None), date, datetime, time, timedelta,
    Markup, StrictUndefined, LoopContext, Macro, TemplateModule, TemplateReference, BlockReference,
})  # fmt: skip

_SIZED = (str, list, tuple)
_OWN_OF_DICT = frozenset(dir(dict))
NOT_FOR_ONE = (
    nodes.Macro,
    nodes.CallBlock,
    nodes.Block,
    nodes.ScopedEvalContextModifier,
    nodes.Extends,
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
)


class MessageEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox in which neither attributes nor arithmetic lead anywhere else."""

    intercepted_binops = frozenset({"+", "*", "**", "%", "//", "/"})
    most_looked_at = MOST_LOOKED_AT_ONCE
    steps = spent = 0

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise SecurityError("powers are not allowed in a message")
        if operator == "+" and not isinstance(left, int | float):
            return self.charged(super().call_binop(context, operator, left, right))
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers or abs(left) > LARGEST or abs(right) > LARGEST:
            raise SecurityError(f"'{operator}' is for numbers only in a message")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self._step()
        return self._called(context, function, args, kwargs)

    def rounds(self, values: Any) -> Iterator[Any]:
        """What a loop goes through, counted."""
        for value in values:
            self._step()
            yield value

    def wrap_str_format(self, value: Any) -> Any:
        """No `format`: its widths make a gigabyte of a letter."""
        if super().wrap_str_format(value) is not None:
            raise SecurityError("format is not allowed in a message; it has filters")

    def concat(self, pieces: Iterable[str]) -> str:
        """Join what was rendered; a message that grows without measure ends here."""
        pieces, length, joined = iter(pieces), 0, list[str]()
        while few := list(islice(pieces, FEW_PIECES)):
            joined += few
            length += sum(map(len, few))
            if length > MOST_CHARACTERS:
                raise SecurityError(f"the message is longer than {MOST_CHARACTERS:,} characters")
        return "".join(joined)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """What a row has under a name, which it has most often; anything else as the sandbox has it."""
        if type(obj) is dict and attribute in obj and attribute not in _OWN_OF_DICT:
            return obj[attribute]
        if type(obj) not in OPEN:
            return self._closed(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """The same for `row["name"]`, and for the names that filters are given."""
        return super().getitem(obj, argument) if type(obj) in OPEN else self._closed(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        # Numbers and bytes have methods that make gigabytes, and none that a message needs.
        if attr in COSTLY or isinstance(obj, int | float | bytes | type):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def charge(self, size: int) -> None:
        """Count what is looked through."""
        self.spent += size
        if self.spent > self.most_looked_at:
            told = f"looks through more than {self.most_looked_at:,} characters and members"
            raise SecurityError(told)

    def charged(self, value: Any) -> Any:
        """The value, bounded and counted."""
        self.charge(measured(value))
        return value

    def concatenated(self, values: list[Any]) -> str:
        """What `~` makes of some texts; counted before they are made one."""
        texts = [value if hasattr(value, "__html__") else str(value) for value in values]
        self.charge(measured(texts))
        return markup_join(texts)

    def joined(self, values: Iterable[Any], between: str = "") -> str:
        """The texts with something between them; counted before they are made one."""
        texts = [str(value) for value in islice(values, MOST_ROUNDS + 1)]
        if len(texts) > MOST_ROUNDS:
            raise SecurityError(f"join of more than {MOST_ROUNDS:,}")
        if len(texts) * len(between) > LONGEST:
            raise SecurityError(f"a text of more than {LONGEST:,}")
        self.charge(measured(texts) + len(texts) * len(between))
        return str(between).join(texts)

    def _closed(self, obj: Any, name: Any) -> Any:
        """Nothing of an object no template looks into; of a kind of dict, what it has under the name."""
        if isinstance(obj, dict):
            try:
                return obj[name]
            except LookupError:
                pass
        return self.unsafe_undefined(obj, str(name))

    def _called(self, context: Any, function: Any, args: Any, kwargs: Any) -> Any:
        """A call: it looks through what it is given and what its method belongs to, and makes something."""
        owner = getattr(function, "__self__", None)
        self.charge(sum(len(each) for each in (owner, *args) if isinstance(each, _SIZED)))
        made = super().call(context, function, *args, **kwargs)
        self.charge(len(made) if isinstance(made, _SIZED) else 0)
        return made

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise SecurityError(f"more than {MOST_STEPS:,} rounds and calls in one message")

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        count_what_costs(tree)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = filtered(loop.iter, "_rounds")
        for block in tree.find_all(nodes.AssignBlock):
            block.filter = filtered(block.filter, COUNTED)
        for joined in list(tree.find_all(nodes.Concat)):
            joined.nodes = [filtered(nodes.List(joined.nodes, lineno=joined.lineno), "_concat")]
        return tree


class FillEnvironment(MessageEnvironment):
    """The same for one person's values: what costs more than a little is refused when it is compiled,
    or when it was spent."""

    most_looked_at = MOST_LOOKED_AT

    def rounds(self, values: Any) -> Iterator[Any]:
        """What a loop goes through: rows, not letters, and not without end."""
        if isinstance(values, str) and values:
            raise SecurityError("a loop goes through rows, not through a text")
        for number, value in enumerate(values):
            if number == MOST_ROUNDS:
                raise SecurityError(f"a loop of more than {MOST_ROUNDS:,} rounds")
            self.steps += 1
            if self.steps > MOST_ROUNDS_TOGETHER:
                raise SecurityError(f"loops of more than {MOST_ROUNDS_TOGETHER:,} rounds together")
            yield value

    def concat(self, pieces: Iterable[str]) -> str:
        """The same; the rounds of one person's message are counted from here."""
        if not isinstance(pieces, list):  # which is a captured block, in the middle of one
            self.steps = self.spent = 0
        return super().concat(pieces)

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._called(context, function, args, kwargs)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for macro in tree.find_all(NOT_FOR_ONE):
            told = "macros, calls, blocks and autoescape belong between [% and %]"
            raise TemplateSyntaxError(told, macro.lineno, name, filename)
        for each in tree.find_all(nodes.Name):
            if each.ctx != "load" and each.name.startswith("_"):
                told = (
                    f"'{each.name}' is a name of ours: what begins with _ is not set in a message"
                )
                raise TemplateSyntaxError(told, each.lineno, name, filename)
        if own := next((each for each in tree.find_all(nodes.Name) if each.name == "self"), None):
            raise TemplateSyntaxError("self is nothing in a message", own.lineno, name, filename)
        for loop in tree.find_all(nodes.For):
            if loop.recursive or _depth(loop) > DEEPEST:
                told = (
                    f"loops stand in each other {DEEPEST} deep at most, and never call themselves"
                )
                raise TemplateSyntaxError(told, loop.lineno, name, filename)
        return tree


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
    environment = FillEnvironment(
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
    known = {**_only(environment.filters, FILTERS), "urlencode": _urlencoded}
    environment.filters = {name: _with_bounds(known[name], environment) for name in known}
    environment.filters |= {"join": environment.joined, "round": _rounded}
    environment.filters |= {
        "_rounds": environment.rounds,
        COUNTED: environment.charged,
        "_concat": environment.concatenated,
    }
    environment.tests = _only(environment.tests, TESTS | {"==", "!=", "<", ">", "<=", ">="})
    return environment


def _with_bounds(
    function: Callable[..., Any], environment: MessageEnvironment
) -> Callable[..., Any]:
    @wraps(function)  # with its marks: what Jinja passes to it first
    def within(*args: Any, **kwargs: Any) -> Any:
        environment.charge(sum(len(arg) for arg in args if isinstance(arg, _SIZED)))
        made = function(*args, **kwargs)
        measured(made)
        return made

    return within


def _rounded(value: float, digits: int = 0, method: str = "common") -> float:
    """Jinja's own, with as many digits as a message shows."""
    if not isinstance(digits, int) or not 0 <= digits <= MOST_DIGITS:
        raise SecurityError(f"round to 0 to {MOST_DIGITS} digits")
    return do_round(value, digits, method)  # type: ignore[arg-type]


def _depth(loop: nodes.For) -> int:
    inner = [_depth(each) for each in loop.iter_child_nodes() for each in _loops(each)]
    return 1 + max(inner, default=0)


def _loops(node: nodes.Node) -> list[nodes.For]:
    return [node] if isinstance(node, nodes.For) else list(node.find_all(nodes.For))


def _only(known: Mapping[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    return {name: known[name] for name in known if name in allowed}


def _shown(value: Any) -> Any:
    return "" if value is None else value


def _url(value: Any) -> str:
    return "" if value is None else quote(str(value), safe="", errors="replace")


def _urlencoded(value: Any) -> str:
    """Jinja's own, for half a character too, which a JSON of attributes may hold."""
    return (
        url_quote(value.encode("utf-8", "replace"))
        if isinstance(value, str)
        else do_urlencode(value)
    )
