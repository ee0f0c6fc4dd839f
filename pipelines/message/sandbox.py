"""The Jinja environments of both phases, with everything taken away that a message does not need.

Compile time  [[ blocks and brand ]]    [% … %]   templates of the project
Fill time     {{ one person's values }} {% … %}   text already compiled

Immutable sandbox, strict undefined, an allow-list of filters, no globals. Jinja's sandbox blocks tricks
with attributes, not cost, so here no operator, filter or captured block makes something huge of something
small, loops and calls are counted, and what is said once for each person knows no macros and no
recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from itertools import islice
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, Template, nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.runtime import markup_join
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipelines.message.allowed import (
    COMPARING,
    COSTLY,
    KNOWN,
    KNOWN_TESTS,
    LARGEST_MADE,
    OPEN,
    PERSONAL,
    SHALLOW,
)
from pipelines.message.counting import COUNTED, LONGEST, count_what_costs, filtered, measured

LARGEST = 10**12
# Rounds of one loop and loops inside each other, for one person.
MOST_ROUNDS, DEEPEST = 1_000, 2
MOST_ROUNDS_TOGETHER = 5_000
# Characters and members that filters, calls and comparisons look through, together: for one person, and
# once for all while a message is compiled.
MOST_LOOKED_AT, MOST_LOOKED_AT_ONCE = 2_000_000, 20_000_000
# Rounds, calls and files while a message is compiled.
MOST_STEPS = 100_000
FEW_PIECES = 50
MOST_CHARACTERS = 1_000_000

_SIZED = (str, list, tuple, dict)
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

    def get_template(self, name: Any, *args: Any, **kwargs: Any) -> Template:
        """Whatever is included or imported, counted: a file may name itself twice."""
        self._step()
        return super().get_template(name, *args, **kwargs)

    def select_template(self, names: Iterable[Any], *args: Any, **kwargs: Any) -> Template:
        """The same for the first there is of some."""
        return super().select_template(list(self.rounds(names)), *args, **kwargs)

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
            told = f"more than {MOST_STEPS:,} rounds, calls and includes in one message"
            raise SecurityError(told)

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
    reduced.filters |= PERSONAL
    return reduced


def _reduced(environment: MessageEnvironment) -> MessageEnvironment:
    environment.globals = {}
    bounded = partial(_with_bounds, environment=environment)
    environment.filters = {
        name: bounded(function, is_deep=name not in SHALLOW) for name, function in KNOWN.items()
    }
    environment.filters |= {
        "join": environment.joined,
        "_rounds": environment.rounds,
        COUNTED: environment.charged,
        "_concat": environment.concatenated,
    }
    environment.tests = {
        name: bounded(function, is_deep=True) if name in COMPARING else function
        for name, function in KNOWN_TESTS.items()
    }
    return environment


def _with_bounds(
    function: Callable[..., Any], *, environment: MessageEnvironment, is_deep: bool
) -> Callable[..., Any]:
    """A filter or test that is counted: what it is given, and with is_deep all within that."""

    @wraps(function)  # with its marks: what Jinja passes to it first
    def within(*args: Any, **kwargs: Any) -> Any:
        for given in (*args, *kwargs.values()):
            if isinstance(given, _SIZED):
                is_whole = is_deep and not isinstance(given, str)
                environment.charge(measured(given) if is_whole else len(given))
        made = function(*args, **kwargs)
        if isinstance(made, int) and abs(made) > LARGEST_MADE:
            raise SecurityError(f"a number above {LARGEST_MADE:,}")
        measured(made)
        return made

    return within


def _depth(loop: nodes.For) -> int:
    inner = [_depth(each) for each in loop.iter_child_nodes() for each in _loops(each)]
    return 1 + max(inner, default=0)


def _loops(node: nodes.Node) -> list[nodes.For]:
    return [node] if isinstance(node, nodes.For) else list(node.find_all(nodes.For))


def _shown(value: Any) -> Any:
    return "" if value is None else value
