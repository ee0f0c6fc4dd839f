"""Every case of every segment, and no live segment without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.segments.cases import case_files, members_of, read_case
from pipelines.segments.segment import Segment, Status, discover, load
from pipelines.settings import CHECKOUT

SEGMENTS = discover(CHECKOUT)
CASES = [path for name in SEGMENTS for path in case_files(CHECKOUT, name)]


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_segment_holds_whom_its_case_expects(path: Path, tmp_path: Path):
    case = read_case(path)
    segment = load(CHECKOUT, path.parent.name)

    assert members_of(segment, case, tmp_path) == sorted(case.expect), case.description


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_live_segment_is_readable_and_has_a_case(name: str):
    segment = SEGMENTS[name]

    assert isinstance(segment, Segment), str(segment)
    if segment.header.status is Status.LIVE:
        assert case_files(CHECKOUT, name) != []
