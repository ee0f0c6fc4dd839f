"""One byte per recipient outlives the process; another boot's bytes prove nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.delivery.marks import HEADER, Mark, Marks

SIZE = 50


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spring.marks"


def used(path: Path, size: int = SIZE) -> Marks:
    """Marks as a running send holds them: recovery is behind it."""
    marks = Marks(path, size)
    marks.renew()
    return marks


def header_of_another_boot(path: Path) -> None:
    """What the file's head would hold had it been written before the machine was started anew."""
    whole = path.read_bytes()
    path.write_bytes(b"another-boot" + whole[12:])


def test_marks_nobody_wrote_yet_are_not_believed(path: Path):
    assert not Marks(path, SIZE).trusted


def test_marks_of_this_boot_are_believed(path: Path):
    used(path).close()

    assert Marks(path, SIZE).trusted


def test_marks_of_another_boot_are_not_believed_until_they_are_renewed(path: Path):
    used(path).close()
    header_of_another_boot(path)

    reopened = Marks(path, SIZE)
    reopened.renew()

    assert not reopened.trusted
    assert Marks(path, SIZE).trusted


def test_a_file_cut_inside_its_header_is_not_believed(path: Path):
    used(path).close()
    os.truncate(path, HEADER - 1)

    assert not Marks(path, SIZE).trusted


@settings(deadline=None)
@given(written=st.dictionaries(st.integers(0, SIZE - 1), st.sampled_from(Mark)))
def test_what_was_marked_is_read_back_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, written: dict[int, Mark]
):
    path = tmp_path_factory.mktemp("marks") / "spring.marks"
    marks = used(path)
    for recipient, mark in written.items():
        marks[recipient] = mark
    marks.close()

    reread = Marks(path, SIZE)

    assert [reread[n] for n in range(SIZE)] == [written.get(n, Mark.NONE) for n in range(SIZE)]


def test_a_longer_audience_keeps_the_marks_that_are_there(path: Path):
    marks = used(path, 2)
    marks[1] = Mark.DOT
    marks.close()

    longer = Marks(path, SIZE)

    assert (longer[1], longer[SIZE - 1]) == (Mark.DOT, Mark.NONE)


def test_a_shorter_audience_cuts_no_marks_off(path: Path):
    marks = used(path)
    marks[SIZE - 1] = Mark.DOT
    marks.close()

    assert Marks(path, 2)[SIZE - 1] is Mark.DOT


def test_a_recipient_beyond_the_file_has_no_mark_and_takes_none(path: Path):
    marks = Marks(path, SIZE)

    with pytest.raises(IndexError):
        marks[SIZE] = Mark.DOT

    assert marks[SIZE] is Mark.NONE


def test_two_openings_see_each_others_marks(path: Path):
    one, other = Marks(path, SIZE), Marks(path, SIZE)

    one[7] = Mark.CLAIMED

    assert other[7] is Mark.CLAIMED


def _mark_and_die(path: Path) -> None:
    Marks(path, SIZE)[3] = Mark.DOT
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_mark_outlives_a_process_that_is_killed_right_after_it(path: Path):
    used(path).close()
    process = multiprocessing.get_context("spawn").Process(target=_mark_and_die, args=(path,))

    process.start()
    process.join()

    assert process.exitcode == -signal.SIGKILL
    assert Marks(path, SIZE)[3] is Mark.DOT
