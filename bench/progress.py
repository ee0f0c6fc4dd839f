"""What a long benchmark says of itself while it runs; figures go to standard output."""

from __future__ import annotations

import sys


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
