"""The kernel's wall around a query, alone: what a process that shut itself in still reaches, and for good."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.segments import landlock

# Of Landlock: TCP since Linux 6.7, signals and abstract sockets since 6.12.
TCP_SINCE, SCOPES_SINCE = landlock.NETWORK_SINCE, landlock.SCOPES_SINCE


@pytest.fixture(scope="module")
def version() -> int:
    """The kernel's version of Landlock. Without one nothing here can be told: the tests fail, and say so."""
    found = landlock.version()
    assert found, (
        "this kernel has no Landlock (Linux 5.13, and `landlock` among lsm=): only one wall"
    )
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One file and one folder that are allowed, and one file beside them that is not."""
    (tmp_path / "job").mkdir()
    (tmp_path / "pinned.txt").write_text("pinned")
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path


def shut_in(folder: str, attempt: str, argument: Any, answer: Any) -> None:
    """Shut this process in, then try one thing and send what became of it."""
    read = [f"{folder}/pinned.txt", sys.prefix, sys.base_prefix, "/lib", "/usr/lib"]
    restricted = landlock.restrict(read=read, write=[f"{folder}/job"])
    try:
        answer.send((restricted, ATTEMPTS[attempt](folder, argument)))
    except OSError as error:
        answer.send((restricted, type(error).__name__))


def tried(folder: Path, attempt: str, argument: Any = None) -> Any:
    """What becomes of an attempt in a process that is shut in."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=shut_in, args=(str(folder), attempt, argument, there))
    process.start()
    there.close()
    restricted, became = here.recv()
    process.join()
    assert restricted
    return became


def reads(folder: str, name: str) -> str:
    return Path(folder, name).read_text()


def writes(folder: str, name: str) -> str:
    Path(folder, name).write_text("written")
    return reads(folder, name)


def replaces(folder: str, name: str) -> str:
    Path(folder, f"{name}.part").write_text("written")
    Path(folder, f"{name}.part").rename(Path(folder, name))
    return reads(folder, name)


def spills(folder: str, name: str) -> list[str]:
    """Make a folder and a file in it, shorten the file, and remove both."""
    path = Path(folder, name)
    path.mkdir()
    (path / "spilled").write_text("spilled")
    os.truncate(path / "spilled", 1)
    (path / "spilled").unlink()
    path.rmdir()
    return os.listdir(path.parent)  # noqa: PTH208 - only names


def empties(folder: str, name: str) -> str:
    os.truncate(Path(folder, name), 0)
    return "emptied"


def lists(folder: str, name: str) -> list[str]:
    return os.listdir(Path(folder, name))  # noqa: PTH208


def removes(folder: str, name: str) -> str:
    Path(folder, name).unlink()
    return "removed"


def moves_out(folder: str, name: str) -> str:
    Path(folder, "job", name).write_text("written")
    Path(folder, "job", name).rename(Path(folder, name))
    return "moved"


def links(folder: str, name: str) -> str:
    """Read a file by a link to it in one's own folder."""
    Path(folder, "job", "link").symlink_to(Path(folder, name))
    return reads(folder, "job/link")


def runs(folder: str, program: str) -> str:
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout


def connects(folder: str, port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return "connected"


def listens(folder: str, _: None) -> str:
    with socket.create_server(("127.0.0.1", 0)):
        return "listens"


def calls(folder: str, name: str) -> str:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(name)
        return "connected"


def kills(folder: str, process: int) -> str:
    os.kill(process, signal.SIGTERM)
    return "killed"


def frees_itself(folder: str, name: str) -> str:
    landlock.restrict(read=[folder], write=[folder])
    return reads(folder, name)


def asks_duckdb(folder: str, sql: str) -> str:
    """What DuckDB answers that has no lock of its own."""
    try:
        return str(duckdb.connect().execute(sql.format(folder)).fetchall())
    except duckdb.Error as error:
        return str(error).splitlines()[0]


ATTEMPTS: dict[str, Callable[[str, Any], Any]] = {
    each.__name__: each
    for each in (
        reads, writes, replaces, spills, empties, lists, removes, moves_out, links, runs, connects,
        listens, calls, kills, frees_itself, asks_duckdb,
    )
}  # fmt: skip


@pytest.mark.parametrize(
    ("attempt", "name", "became"),
    [
        ("reads", "pinned.txt", "pinned"),
        ("writes", "job/rows.parquet", "written"),
        ("replaces", "job/answer.json", "written"),
        ("spills", "job/spill", []),
        ("lists", "job", []),
    ],
)
def test_what_a_query_needs_it_may(
    version: int, folder: Path, attempt: str, name: str, became: object
):
    assert tried(folder, attempt, name) == became


@pytest.mark.parametrize(
    ("attempt", "name"),
    [
        ("reads", "secret.txt"),
        ("reads", "../../../../../../../../etc/passwd"),
        ("reads", "job/../secret.txt"),
        ("links", "secret.txt"),
        ("writes", "secret.txt"),
        ("writes", "pinned.txt"),
        ("writes", "new.txt"),
        ("removes", "secret.txt"),
        ("removes", "pinned.txt"),
        ("lists", "."),
        ("runs", "/bin/true"),
        ("moves_out", "new.txt"),
        ("frees_itself", "secret.txt"),
    ],
)
def test_no_other_file_is_read_written_removed_or_run(
    version: int, folder: Path, attempt: str, name: str
):
    became = tried(folder, attempt, name)

    assert became in ("PermissionError", "OSError")
    assert sorted(path.name for path in folder.iterdir()) == ["job", "pinned.txt", "secret.txt"]
    assert (folder / "secret.txt").read_text() == "secret"
    assert (folder / "pinned.txt").read_text() == "pinned"


def test_a_file_that_is_only_read_is_not_emptied(version: int, folder: Path):
    assert version >= 3, "this kernel lets a file be emptied that may only be read (Linux 6.2)"

    assert tried(folder, "empties", "pinned.txt") == "PermissionError"


@contextmanager
def listener(family: int, address: Any) -> Iterator[Any]:
    with socket.socket(family) as server:
        server.bind(address)
        server.listen()
        yield server.getsockname()


def test_nobody_is_reached_over_the_network_and_nobody_is_let_in(version: int, folder: Path):
    assert version >= TCP_SINCE, "this kernel's Landlock knows no TCP (Linux 6.7)"

    with listener(socket.AF_INET, ("127.0.0.1", 0)) as (_, port):
        became = tried(folder, "connects", port)

    assert became == "PermissionError"
    assert tried(folder, "listens") == "PermissionError"


def test_no_other_process_is_called_or_killed(version: int, folder: Path):
    assert version >= SCOPES_SINCE, "this kernel's Landlock knows no signals (Linux 6.12)"
    other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=-1)

    with listener(socket.AF_UNIX, f"\0{folder}") as name:
        called = tried(folder, "calls", name)
    killed = tried(folder, "kills", other.pid)

    assert (called, killed) == ("PermissionError", "PermissionError")
    assert other.poll() is None
    other.communicate()


@pytest.mark.parametrize(
    "sql",
    [
        "select content from read_text('{}/secret.txt')",
        "from read_csv('{}/*.txt')",
        "copy (select 42 as stolen) to '{}/stolen.csv'",
        "copy (select 42 as stolen) to '{}/pinned.txt' (use_tmp_file false)",
        "attach '{}/other.duckdb'",
    ],
)
def test_a_duckdb_without_a_lock_of_its_own_is_shut_in_too(version: int, folder: Path, sql: str):
    told = tried(folder, "asks_duckdb", sql)

    assert "secret" not in told.replace("secret.txt", "")
    assert sorted(path.name for path in folder.iterdir()) == ["job", "pinned.txt", "secret.txt"]
    assert (folder / "pinned.txt").read_text() == "pinned"


def test_a_kernel_without_landlock_is_told_and_restricts_nothing(
    monkeypatch: pytest.MonkeyPatch, folder: Path
):
    class Old:
        """The C library on a kernel that does not know the call."""

        def syscall(self, *_: object) -> int:
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Old())

    assert landlock.version() == 0
    assert landlock.restrict(read=[], write=[]) is False
    assert (folder / "secret.txt").read_text() == "secret"
