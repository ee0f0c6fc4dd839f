"""Every case of every segment and mart, and no live one without a case."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.segments.cases import case_files, outcome, read_case
from pipelines.segments.project import sql_files
from pipelines.segments.segment import Assertion, SqlFile, Status
from pipelines.settings import CHECKOUT

FILES = sql_files(CHECKOUT)
TESTED = {
    table: entry for table, entry in FILES.by_table.items() if not isinstance(entry, Assertion)
}
CASES = [
    pytest.param(table, path, id=f"{table}-{path.stem}")
    for table, entry in TESTED.items()
    if isinstance(entry, SqlFile)
    for path in case_files(CHECKOUT, entry)
]


@pytest.mark.parametrize(("table", "path"), CASES)
def test_the_file_returns_what_its_case_expects(table: str, path: Path, tmp_path: Path):
    file, case = FILES.by_table[table], read_case(path)
    assert isinstance(file, SqlFile)

    assert outcome(file, FILES, case, tmp_path) is None, case.description


@pytest.mark.parametrize("table", FILES.by_table)
def test_every_file_is_readable_and_a_live_one_has_a_case(table: str):
    entry = FILES.by_table[table]

    assert isinstance(entry, SqlFile), str(entry)
    if table in TESTED and entry.header.status is Status.LIVE:
        assert case_files(CHECKOUT, entry) != []
