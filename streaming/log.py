"""An append-only event log in files: one folder per writer, read by offset.

An offset is the position of a record's first byte, counted over all segments of its partition; a
segment file is named by the offset it starts at. A record is one line: CRC-32 of the payload, a
space, the payload, a newline. Knows nothing of what a payload means, except that it holds none.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pipelines.errors import Problem, StreamInvalid

SEGMENT_BYTES = 64 * 1024 * 1024
READ_BYTES = 1024 * 1024
SUFFIX = ".log"
LOCK_FILE = "lock"


@dataclass(frozen=True)
class Record:
    """One line of the log; `payload` is None when its checksum does not fit."""

    offset: int
    end: int
    payload: bytes | None


def encode(payload: bytes) -> bytes:
    """The line of a payload. Raises ValueError when it could not be read back."""
    if b"\n" in payload:
        raise ValueError("a payload holds a newline")
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def decode(line: bytes) -> bytes | None:
    """The payload of a whole line, or None when the line is not what was written."""
    payload = line[9:-1]
    whole = line[8:9] == b" " and line[-1:] == b"\n"
    return payload if whole and line[:8] == b"%08x" % zlib.crc32(payload) else None


def segments(folder: Path) -> list[tuple[int, Path]]:
    """Start offset and file of every segment, in order."""
    return sorted((int(path.stem), path) for path in folder.glob("*" + SUFFIX))


def partitions(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def end_offset(folder: Path) -> int:
    """Where the next record of a partition will begin, as far as files tell."""
    found = segments(folder)
    return found[-1][0] + found[-1][1].stat().st_size if found else 0


def read(folder: Path, offset: int, *, limit_bytes: int = READ_BYTES) -> Iterator[Record]:
    """Whole records from `offset` on, about `limit_bytes` of them; none when there is nothing new.

    What is handed out is on disk: a reader that remembers its offset never runs ahead of the log.
    """
    for start, path in segments(folder):
        if start + path.stat().st_size <= offset:
            continue
        with path.open("rb") as file:
            file.seek(max(offset - start, 0))
            block = file.read(limit_bytes)
            if not block.endswith(b"\n"):
                block += file.readline()
            # Syncing here covers what the writer wrote and has not yet synced itself.
            os.fdatasync(file.fileno())
        yield from _records(block, max(offset, start))
        return


def _records(block: bytes, position: int) -> Iterator[Record]:
    for line in block.splitlines(keepends=True) if b"\r" not in block else _lines(block):
        if not line.endswith(b"\n"):
            return
        yield Record(position, position + len(line), decode(line))
        position += len(line)


def _lines(block: bytes) -> Iterator[bytes]:
    """`splitlines` also breaks at carriage returns; a damaged block may hold some."""
    *whole, rest = block.split(b"\n")
    yield from (line + b"\n" for line in whole)
    yield rest


class LogWriter:
    """The one writer of a partition, by lock. Appends are durable when they return."""

    def __init__(self, root: Path, partition: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = root / partition
        self.folder.mkdir(parents=True, exist_ok=True)
        self._segment_bytes = segment_bytes
        self._lock = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StreamInvalid(
                f"partition '{partition}' of the event log is written by another process",
                do="Stop that process first; one edge and one mailbox reader run at a time",
            ) from None
        self._failed = False
        found = segments(self.folder)
        if found:
            start, path = found[-1]
            self._start, self._file = start, os.open(path, os.O_RDWR | os.O_CLOEXEC)
            self._size = self._cut_torn_tail(path)
        else:
            self._start, self._file, self._size = 0, self._new_segment(0), 0

    def append(self, payloads: Sequence[bytes]) -> int:
        """Write records and sync once; returns the log's new end. A failed sync fails for good."""
        if self._failed:
            raise StreamInvalid(
                "the event log failed to write earlier", do="Look at the disk, then restart"
            )
        if self._size >= self._segment_bytes:
            self._roll()
        block = memoryview(b"".join(map(encode, payloads)))
        try:
            written = 0
            while written < len(block):
                written += os.pwrite(self._file, block[written:], self._size + written)
            os.fdatasync(self._file)
        except OSError as error:
            # After a failed sync nobody can tell which pages reached the disk.
            self._failed = True
            problem = Problem(str(self.folder), error.strerror or type(error).__name__)
            raise StreamInvalid("the event log cannot be written", [problem]) from error
        self._size += len(block)
        return self._start + self._size

    def close(self) -> None:
        os.close(self._file)
        os.close(self._lock)

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _roll(self) -> None:
        os.close(self._file)
        self._start += self._size
        self._file, self._size = self._new_segment(self._start), 0

    def _new_segment(self, start: int) -> int:
        path = self.folder / f"{start:020d}{SUFFIX}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return file

    def _cut_torn_tail(self, path: Path) -> int:
        """Drop what follows the last whole record; damage before it is the reader's to report."""
        whole, position = 0, 0
        with path.open("rb") as lines:
            for line in lines:
                position += len(line)
                whole = position if decode(line) is not None else whole
        if whole < position:
            os.ftruncate(self._file, whole)
            os.fsync(self._file)
        return whole


class GroupCommit:
    """Many concurrent appends share one sync; each is acknowledged after its own sync."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None

    async def append(self, payload: bytes) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((payload, done))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure: StreamInvalid | None = None
            try:
                await asyncio.to_thread(self._writer.append, [payload for payload, _ in batch])
            except StreamInvalid as error:
                failure = error
            for _, done in batch:
                if done.done():
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)
