from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import StreamInvalid
from streaming.log import GroupCommit, LogWriter, decode, encode, end_offset, read, segments


def everything(folder: Path) -> list[bytes | None]:
    found: list[bytes | None] = []
    offset = 0
    while records := list(read(folder, offset)):
        found += [record.payload for record in records]
        offset = records[-1].end
    return found


@given(st.binary().filter(lambda payload: b"\n" not in payload))
def test_a_payload_comes_back_as_it_was_written(payload: bytes) -> None:
    assert decode(encode(payload)) == payload


@given(st.binary())
def test_a_line_nobody_wrote_is_not_taken_for_a_record(line: bytes) -> None:
    payload = decode(line)

    assert payload is None or encode(payload) == line


def test_a_tail_torn_at_any_byte_loses_that_record_and_no_other(tmp_path: Path) -> None:
    last = len(encode(b'{"n":2}'))
    for kept in range(last):
        root = tmp_path / str(kept)
        with LogWriter(root, "edge") as log:
            end = log.append([b'{"n":1}', b'{"n":2}'])
        os.truncate(segments(root / "edge")[0][1], end - last + kept)

        with LogWriter(root, "edge") as log:
            log.append([b'{"n":3}'])

        assert everything(root / "edge") == [b'{"n":1}', b'{"n":3}'], f"torn after {kept} bytes"


def test_damage_before_the_tail_is_reported_and_what_follows_is_kept(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "edge") as log:
        log.append([b"one", b"two", b"three"])
    path = segments(tmp_path / "edge")[0][1]
    path.write_bytes(path.read_bytes().replace(b"two", b"t\ro"))

    LogWriter(tmp_path, "edge").close()

    assert everything(tmp_path / "edge") == [b"one", None, b"three"]


def test_offsets_run_on_over_segments(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "edge", segment_bytes=40) as log:
        ends = [log.append([b"record %d" % number]) for number in range(10)]

    assert len(segments(tmp_path / "edge")) > 1
    assert everything(tmp_path / "edge") == [b"record %d" % number for number in range(10)]
    assert next(read(tmp_path / "edge", ends[6])).payload == b"record 7"
    assert end_offset(tmp_path / "edge") == ends[-1]


def test_a_partition_has_one_writer(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "edge"), pytest.raises(StreamInvalid, match="another process"):
        LogWriter(tmp_path, "edge")


def test_concurrent_appends_share_syncs_and_all_are_kept(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "edge") as log:
        appends = 0
        append = log.append

        def counted(payloads: list[bytes]) -> int:
            nonlocal appends
            appends += 1
            return append(payloads)

        log.append = counted  # type: ignore[method-assign,assignment]

        async def many() -> None:
            group = GroupCommit(log)
            await asyncio.gather(*(group.append(b"%d" % number) for number in range(500)))

        asyncio.run(many())

    assert sorted(everything(tmp_path / "edge")) == sorted(b"%d" % number for number in range(500))
    assert appends < 50


def test_a_log_that_failed_once_takes_nothing_more(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, "edge")
    os.close(log._file)

    with pytest.raises(StreamInvalid, match="cannot be written"):
        log.append([b"one"])
    with pytest.raises(StreamInvalid, match="failed to write earlier"):
        log.append([b"two"])
