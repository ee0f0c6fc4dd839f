"""What a table's metadata shows of its rows: a few, as a table, with nothing personal in them."""

from __future__ import annotations

import dagster as dg
import polars as pl

from pipelines.contacts.masking import masked

ROWS = 5
LONGEST = 40


def sample(frame: pl.DataFrame, *, raw: bool = False) -> dg.MarkdownMetadataValue:
    """The first rows as Markdown, masked; `raw` for the rows of an export."""
    lines = [frame.columns, ["---"] * len(frame.columns)]
    lines += [[_cell(text) for text in row.values()] for row in masked(frame.head(ROWS), raw=raw)]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _cell(text: str) -> str:
    return text[:LONGEST].replace("|", "\\|").replace("\n", " ")
