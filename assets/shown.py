"""What a table's metadata shows of its rows: a few, as a table, with nothing personal in them."""

from __future__ import annotations

import dagster as dg
import polars as pl

from pipelines.contacts.address import mask

ROWS = 5
LONGEST = 40


def sample(frame: pl.DataFrame, *, personal: bool = False) -> dg.MarkdownMetadataValue:
    """The first rows as Markdown; of a personal table, words are shown by their first letter."""
    rows = frame.head(ROWS)
    lines = [rows.columns, ["---"] * len(rows.columns)]
    lines += [[_cell(value, personal=personal) for value in row] for row in rows.iter_rows()]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _cell(value: object, *, personal: bool) -> str:
    text = "" if value is None else str(value)
    if "@" in text:
        text = mask(text)
    elif personal and any(letter.isalpha() for letter in text):
        text = f"{text[:1]}•••"
    return text[:LONGEST].replace("|", "\\|").replace("\n", " ")
