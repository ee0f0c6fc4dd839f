"""What columns a query may return, and as what they are kept.

Pure, and without other libraries: the sandbox uses it beside DuckDB alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

WHOLE = frozenset({
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "UHUGEINT",
})  # fmt: skip
# Kept as: sums of whole numbers are whole numbers, and a time without a zone is UTC.
KEPT_AS = {
    "HUGEINT": "BIGINT", "UHUGEINT": "BIGINT", "UBIGINT": "BIGINT", "UINTEGER": "BIGINT",
    "USMALLINT": "INTEGER", "UTINYINT": "SMALLINT", "UUID": "VARCHAR", '"NULL"': "VARCHAR",
    "TIMESTAMP": "TIMESTAMPTZ", "TIMESTAMP_S": "TIMESTAMPTZ", "TIMESTAMP_MS": "TIMESTAMPTZ",
    "TIMESTAMP_NS": "TIMESTAMPTZ", "JSON": "VARCHAR",
}  # fmt: skip
# No table of the lake holds these.
NOT_KEPT = frozenset({"INTERVAL", "TIME", "TIME_NS", "BIT", "MAP", "UNION", "VARIANT", "GEOMETRY"})
RESERVED = "as_of"

Columns = Sequence[tuple[str, str]]


def refusals(columns: Columns, *, of_contacts: bool) -> list[tuple[str, str]]:
    """What is wrong with these columns, as (column, what). of_contacts: a segment's."""
    found: list[tuple[str, str]] = []
    kinds = dict(columns)
    if of_contacts and kinds.get("contact_id") not in WHOLE:
        shown = ", ".join(f"{name} {kind}" for name, kind in columns)
        found.append(
            ("contact_id", f"must be returned, as a whole number; the columns are {shown}")
        )
    names = [name.lower() for name, _ in columns]
    found += [
        (name, "is the name of two columns; name each otherwise")
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    for name, kind in columns:
        if not NOT_KEPT.isdisjoint(_parts(kind)):
            found.append((name, f"is {kind}, which no table holds; cast it"))
        if name.lower() == RESERVED:
            found.append(
                (name, "is the column of the time it was evaluated for; name it otherwise")
            )
    return found


def _parts(kind: str) -> set[str]:
    """The types that a type is made of: a list or a struct may hold what no table does."""
    plain = re.sub(r"""'[^']*'|"[^"]*"| WITH TIME ZONE""", "", kind)
    return set(re.findall(r"\w+", plain))


def kept(columns: Columns, *, of_contacts: bool) -> str:
    """The list of a SELECT that gives these columns the types they are kept as."""
    parts = []
    for name, kind in columns:
        quoted = '"' + name.replace('"', '""') + '"'
        wanted = "BIGINT" if of_contacts and name == "contact_id" else KEPT_AS.get(kind)
        parts.append(f"{quoted}::{wanted} as {quoted}" if wanted else quoted)
    return ", ".join(parts)
