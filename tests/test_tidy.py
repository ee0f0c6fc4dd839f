"""Small files are joined at night, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines.automation import MANY_FILES, tidy
from pipelines.lake import Lake
from pipelines.schema import IDENTITIES
from pipelines.settings import Home


def test_a_table_of_many_files_is_joined_and_one_of_few_is_left_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LETTERMILL_HOME", str(home.root))
    lake = Lake(home.lake)
    for number in range(MANY_FILES + 1):
        row = {"source": "shop", "external_id": str(number), "contact_id": number}
        lake.append(IDENTITIES, pl.DataFrame([row], schema=IDENTITIES.schema))

    assert tidy.execute_in_process().success

    joined = [Path(file) for file in lake.files(IDENTITIES.name)]
    assert len(joined) == 1
    assert lake.count(IDENTITIES.name) == MANY_FILES + 1
    version = lake.version(IDENTITIES.name)
    assert tidy.execute_in_process().success
    assert lake.version(IDENTITIES.name) == version
