"""Rows as they may be shown outside the lake: nothing personal, whatever the columns are called.

What is not known to be harmless is masked: numbers of things, times of events and the lake's own
words are shown; everything else by its first letter, dates by their century.
"""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from pipelines.contacts.address import mask

# Columns of words that say nothing of a person: ids of things, codes, and words the lake chose itself.
HARMLESS = frozenset({
    "country", "locale", "time_zone", "currency", "status", "state", "decision", "reason", "variant",
    "source", "purpose", "topic", "kind", "scope", "scope_key", "origin", "campaign", "segment", "arm",
    "measure", "load_id", "order_id", "product_id", "category", "lawful_basis", "wording_version",
    "reply_class", "edition", "event_id", "consent_id",
})  # fmt: skip
# Numbers that name a person are written as numbers all the same.
TELLING = ("phone", "mobile", "birth", "zip", "postal", "passport", "tax", "card", "iban")


def masked(frame: pl.DataFrame, *, raw: bool = False) -> list[dict[str, str]]:
    """Each row as texts by column. raw: columns are an export's, so no name of a column is trusted."""
    return [
        {name: _shown(name, value, raw=raw) for name, value in row.items()}
        for row in frame.iter_rows(named=True)
    ]


def _shown(name: str, value: object, *, raw: bool) -> str:
    if value is None:
        return ""
    text = str(value)
    if "@" in text:
        return mask(text)
    if name in ("load_id", "loaded_at", "row_number") or (name in HARMLESS and not raw):
        return text
    is_telling = any(word in name.lower() for word in TELLING)
    if isinstance(value, bool | int | float | datetime) and not is_telling:
        return text
    if isinstance(value, date):
        return f"{text[:2]}••-••-••"
    return f"{text[:1]}•••"
