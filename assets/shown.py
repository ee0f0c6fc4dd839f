"""What a table's metadata shows of its rows: a few, as a table, with nothing personal in them."""

from __future__ import annotations

import base64

import dagster as dg
import polars as pl

from pipelines.contacts.masking import masked
from pipelines.reporting.charts import png, sizes

ROWS = 5
LONGEST = 40


def sample(frame: pl.DataFrame, *, raw: bool = False) -> dg.MarkdownMetadataValue:
    """The first rows as Markdown, masked; `raw` for the rows of an export."""
    lines = [frame.columns, ["---"] * len(frame.columns)]
    lines += [[_cell(text) for text in row.values()] for row in masked(frame.head(ROWS), raw=raw)]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def sizes_over_time(runs: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """The sizes of a segment's runs (segments.runs) as a picture."""
    drawn = base64.b64encode(png(sizes(list(runs.select("as_of", "size").iter_rows())))).decode()
    return dg.MetadataValue.md(f"![size over time](data:image/png;base64,{drawn})")


def _cell(text: str) -> str:
    return text[:LONGEST].replace("|", "\\|").replace("\n", " ")
