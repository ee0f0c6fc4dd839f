"""`python -m bench NAME [--scale tiny|small|full] [--json]`: run one benchmark, print one line per figure."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from bench import faults, hostile, pipeline, render, segments, send
from bench.figure import Figure

BENCHES: dict[str, Callable[[str], Iterator[Figure]]] = {
    "faults": faults.figures,
    "hostile": hostile.figures,
    "pipeline": pipeline.figures,
    "render": render.figures,
    "segments": segments.figures,
    "send": send.figures,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHES))
    parser.add_argument("--scale", choices=("tiny", "small", "full"), default="small")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    for figure in BENCHES[asked.name](asked.scale):
        print(figure.as_json() if asked.json else figure.as_text(), flush=True)


if __name__ == "__main__":
    main()
