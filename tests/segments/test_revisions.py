"""A segment as another revision of the project had it, beside the one of now, on the same data."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines.errors import SegmentInvalid
from pipelines.lake import Lake
from pipelines.schema import CONTACTS, ORDERS
from pipelines.segments.revisions import Difference, at_revision, difference

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
HEADER = "/*\ndescription: A file of the tests\nowner: team:tests\n*/\n"
ORDERED = "select contact_id, sum(amount_minor) as minor from core.orders group by contact_id"
IDENTITY = (
    "-c",
    "user.name=ines",
    "-c",
    "user.email=ines@shop.example",
    "-c",
    "commit.gpgsign=false",
)
Write = Callable[..., None]


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", folder, *IDENTITY, *words], capture_output=True, check=True, text=True
    )
    return done.stdout.strip()


def write(project: Path, **texts: str) -> None:
    for name, sql in texts.items():
        layer, _, stem = name.rpartition("__")
        path = project / "sql" / (layer or "segments") / f"{stem}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + sql)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    for table, rows in (
        (CONTACTS, pl.DataFrame({"contact_id": [1, 2, 3, 4]})),
        (ORDERS, pl.DataFrame({"contact_id": [1, 2, 2, 3], "amount_minor": [100, 200, 300, 400]})),
    ):
        lake.append(table, pl.concat([table.empty(), rows], how="diagonal"))
    return lake


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a folder of a repository, with one commit, tagged `first`."""
    folder = tmp_path / "shop/mail"
    write(folder, buyers=ORDERED, above="select contact_id from segments.buyers")
    git(tmp_path, "init", "--quiet", "shop")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    git(folder, "tag", "first")
    return folder


def compared(
    project: Path, lake: Lake, revision: str = "first", name: str = "buyers"
) -> Difference:
    return difference(name, revision, project=project, lake=lake, as_of=NOON)


def ids(frame: pl.DataFrame) -> list[int]:
    return frame["contact_id"].to_list()


def test_a_segment_that_was_not_edited_is_the_same(project: Path, lake: Lake):
    found = compared(project, lake)

    assert (found.before.frame.height, found.after.frame.height) == (3, 3)
    assert (ids(found.joined), ids(found.left), found.changed) == ([], [], 0)


def test_who_only_the_edited_one_holds_and_who_only_the_old_one(project: Path, lake: Lake):
    write(project, buyers="select contact_id from core.contacts where contact_id <> 2")

    found = compared(project, lake)

    assert (ids(found.joined), ids(found.left), found.changed) == ([4], [2], 0)


def test_who_is_in_both_with_other_columns_is_counted(project: Path, lake: Lake):
    write(project, buyers=ORDERED.replace("sum", "max"))

    found = compared(project, lake)

    assert (ids(found.joined), ids(found.left), found.changed) == ([], [], 1)


def test_a_column_that_only_one_of_them_has_is_no_change_of_who_is_in_it(project: Path, lake: Lake):
    write(project, buyers=ORDERED.replace("contact_id,", "contact_id, count(*) as orders,"))

    assert compared(project, lake).changed == 0


def test_the_old_one_stands_on_the_files_of_then(project: Path, lake: Lake):
    write(project, buyers=f"{ORDERED} having sum(amount_minor) > 450")

    found = compared(project, lake, name="above")

    assert (ids(found.joined), ids(found.left)) == ([], [1, 3])


def test_both_are_run_on_the_same_versions_of_the_tables(project: Path, lake: Lake):
    found = compared(project, lake)

    assert found.before.pins == found.after.pins == {"core.contacts": 0, "core.orders": 0}
    assert found.before.as_of == found.after.as_of == NOON


@pytest.mark.parametrize("revision", ["first", "HEAD", "HEAD~1", "branch"])
def test_a_revision_is_a_tag_a_branch_or_a_commit(project: Path, revision: str):
    git(project, "branch", "branch")
    write(project, buyers="select contact_id from core.contacts")
    git(project, "commit", "--quiet", "--all", "--message", "second")

    segment, files = at_revision("buyers", revision, project)

    assert (segment.inputs == ("core.contacts",)) is (revision == "HEAD")
    assert set(files.by_table) == {"segments.buyers", "segments.above"}
    assert segment.path == Path("sql/segments/buyers.sql")


@pytest.mark.parametrize("revision", ["HEAD~7", "nowhere", "", "--output=stolen", "first:sql"])
def test_what_is_no_revision_is_told_and_nothing_is_written(project: Path, revision: str):
    with pytest.raises(SegmentInvalid, match="that revision cannot be read") as refused:
        at_revision("buyers", revision, project)

    assert refused.value.do == "Name a commit, branch or tag of the project, such as --from HEAD~1"
    assert git(project, "status", "--porcelain") == ""


def test_a_segment_that_was_not_there_yet_is_told(project: Path, lake: Lake):
    write(project, buyer=ORDERED)

    with pytest.raises(
        SegmentInvalid, match=r"there is no segment 'buyer'\. Did you mean 'buyers'"
    ):
        compared(project, lake, name="buyer")


def test_a_project_without_a_repository_is_told(tmp_path: Path):
    write(tmp_path, buyers=ORDERED)

    with pytest.raises(SegmentInvalid, match="not a git repository"):
        at_revision("buyers", "HEAD", tmp_path)


def test_an_edited_one_that_breaks_a_check_is_compared_all_the_same(project: Path, lake: Lake):
    write(project, buyers="select contact_id from core.orders")

    found = compared(project, lake)

    failed = [each.name for each in found.after.outcomes if each.stops]
    assert failed == ["contact_id_is_unique"]
