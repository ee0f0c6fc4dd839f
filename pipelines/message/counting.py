"""How large the values of a template may become, and how often it may look through them.

Jinja's sandbox stops tricks, not cost: a list of itself twice, sixty times, is larger than any memory,
and a comparison in a loop reads a long name a thousand times. Knows sizes and where to count; who
counts is the environment (sandbox.py).
"""

from __future__ import annotations

from typing import Any, cast

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.visitor import NodeTransformer

# Characters and members of a value that a template makes; a text of 100 kB fits.
LONGEST = 200_000
# So many comparisons outside of loops cost next to nothing, and are not counted.
FEW_COMPARISONS = 100
# The filter that counts what goes through it.
COUNTED = "_counted"


def measured(value: Any) -> int:
    """The characters and members of a value, those within others as often as they are there.

    Raises SecurityError for more than a message needs.
    """
    size, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        size += (len(each) or 1) if isinstance(each, str) else 1
        within = _within(each)
        if size + len(within) > LONGEST:
            raise SecurityError(f"a text or list of more than {LONGEST:,}")
        waiting += within
    return size


def count_what_costs(tree: nodes.Template) -> None:
    """Put COUNTED around what a template makes of values, and what it looks through again and again."""
    _Counting(tree).visit(tree)


def filtered(node: nodes.Node | None, name: str) -> nodes.Filter:
    line = node.lineno if node else 1
    return nodes.Filter(cast("nodes.Expr | None", node), name, [], [], None, None, lineno=line)


def uncounted(node: nodes.Expr | None) -> nodes.Expr | None:
    """The expression as its author wrote it."""
    return node.node if isinstance(node, nodes.Filter) and node.name == COUNTED else node


def _within(value: Any) -> list[Any] | tuple[Any, ...]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list | tuple) else ()


class _Counting(NodeTransformer):
    def __init__(self, tree: nodes.Template) -> None:
        self._counts = len(list(tree.find_all(nodes.Compare))) > FEW_COMPARISONS

    def visit(self, node: nodes.Node, *_: Any, **__: Any) -> Any:
        before, self._counts = self._counts, self._counts or isinstance(node, nodes.For)
        self.generic_visit(node)
        if self._counts and isinstance(node, nodes.Compare):
            node.expr = self._counted(node.expr)
            for operand in node.ops:
                operand.expr = self._counted(operand.expr)
        if self._counts and isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
            node.node = self._counted(node.node)
        self._counts = before
        return filtered(node, COUNTED) if _is_made(node) else node

    def _counted(self, node: nodes.Expr) -> nodes.Expr:
        return node if isinstance(node, nodes.Const) else filtered(node, COUNTED)


def _is_made(node: nodes.Node) -> bool:
    """Whether it is a list, or the like, of values."""
    is_list = isinstance(node, nodes.List | nodes.Dict | nodes.Tuple)
    return is_list and getattr(node, "ctx", "load") == "load" and any(node.find_all(nodes.Name))
