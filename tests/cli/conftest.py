"""The real command in a process of its own, in a home and a project that are each test's own.

The shop is loaded once; a test that needs data gets a copy of that home. Whatever is set outside is
not passed on, and the public URL points at a port on which nobody answers.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.clock import SystemClock
from pipelines.delivery import approval
from pipelines.demo.shop import write_shop
from pipelines.lake import Lake
from pipelines.settings import CHECKOUT, Home, HomeKind, Settings, make_home
from pipelines.workspace import open_workspace

CONTACTS = 200
SLUG = "autumn-thanks"
LONG_AGO = "2020-01-06 09:00"
Approving = Callable[[str | None], Path]
COMMAND = (sys.executable, "-m", "pipelines.cli.command")


@dataclass(frozen=True)
class Done:
    """What one call of the command came to."""

    code: int
    out: str
    err: str

    def succeeded(self) -> Done:
        assert self.code == 0, self.err
        return self

    def refused(self, *words: str) -> None:
        """Exit code 1, no traceback, nothing on stdout, one message that holds all the words."""
        assert self.code == 1, (self.out, self.err)
        assert "Traceback" not in self.err
        assert self.out == ""
        assert [word for word in words if word not in self.err] == [], self.err

    def json(self) -> Any:
        """Stdout, which is one JSON document and nothing else."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Place:
    """A home and a project, and the command that works in them."""

    home: Home
    project: Path

    def run(self, *words: str, **settings: str) -> Done:
        done = subprocess.run(
            [*COMMAND, *words],
            env={**environ_without_ours(), **self.settings(), **settings},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def settings(self) -> dict[str, str]:
        return {
            "LETTERMILL_HOME": str(self.home.root),
            "LETTERMILL_PROJECT": str(self.project),
            "LETTERMILL_PUBLIC_URL": f"http://127.0.0.1:{closed_port()}",
            "LETTERMILL_WORKERS": "1",
        }

    @property
    def lake(self) -> Lake:
        return Lake(self.home.lake)

    def versions(self) -> Mapping[str, int | None]:
        return {name: self.lake.version(name) for name in self.lake.names()}

    def letters(self) -> list[Path]:
        """Every message the sink of this home has kept."""
        return sorted((self.home.sink / "new").glob("*"))

    def began_to_send(self) -> bool:
        """Whether a send has left any trace: a ledger, a message, a row in the lake."""
        tables = ("campaigns.ledger_heads", "campaigns.sends")
        known = [self.lake.version(name) for name in tables]
        return bool(self.letters() or list(self.home.ledgers.glob("*.sqlite"))) or any(
            version is not None for version in known
        )

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.project / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def write(self, file: str, text: str) -> None:
        path = self.project / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def schedule(self, slug: str, send_at: str | None) -> None:
        """Give a campaign another time, or none: then it is due as soon as it is approved."""
        path = self.project / "assets/campaigns" / slug / "campaign.yaml"
        times = ("send_at", "time_zone", "if_passed")
        values = {k: v for k, v in yaml.safe_load(path.read_text()).items() if k not in times}
        if send_at is not None:
            values |= {"send_at": send_at, "time_zone": "Europe/Paris"}
        path.write_text(yaml.safe_dump(values))


def environ_without_ours() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("LETTERMILL_")}


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def nobody_listens() -> str:
    """A port of this machine on which no server answers."""
    return str(closed_port())


@pytest.fixture(scope="session")
def _copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for part in ("assets", "sql", "tests/sql"):
        ignored = shutil.ignore_patterns("__pycache__", "*.py")
        shutil.copytree(CHECKOUT / part, folder / part, ignore=ignored)
    return folder


@pytest.fixture
def project(_copy: Path, tmp_path: Path) -> Path:
    """A copy of the checkout's project that a test may spoil."""
    return shutil.copytree(_copy, tmp_path / "project")


@pytest.fixture
def empty(project: Path, tmp_path: Path) -> Place:
    """A place where no home was made yet."""
    return Place(Home(tmp_path / "home"), project)


@pytest.fixture
def fresh(project: Path, tmp_path: Path) -> Place:
    """A home as it is on a new machine, without the folder of approvals; the exports are there."""
    return Place(_made(tmp_path / "home"), project)


@pytest.fixture
def fresh_beside(_copy: Path, tmp_path: Path) -> Place:
    """Another new home, for a test that has one already, with the project as it was."""
    return Place(_made(tmp_path / "beside"), _copy)


def _made(root: Path) -> Home:
    home = make_home(root, kind=HomeKind.DEVELOPMENT, at=SystemClock().now())
    home.approvals.rmdir()
    write_shop(home.exports / "shop", contacts=CONTACTS, seed=7)
    return home


@pytest.fixture(scope="session")
def _loading(_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    home = _made(tmp_path_factory.mktemp("shop") / "home")
    return home.root, Place(home, _copy).run("source", "load", "shop", "--json").succeeded()


@pytest.fixture
def loaded(_loading: tuple[Path, Done]) -> Done:
    """What the load of the shop said."""
    return _loading[1]


@pytest.fixture
def shop(_loading: tuple[Path, Done], project: Path, tmp_path: Path) -> Place:
    """A home in which the shop is loaded and nothing is approved."""
    return Place(Home(shutil.copytree(_loading[0], tmp_path / "home")), project)


@pytest.fixture
def shop_to_read(_loading: tuple[Path, Done], _copy: Path) -> Place:
    """The loaded shop itself, for tests that write nothing."""
    return Place(Home(_loading[0]), _copy)


@pytest.fixture(scope="session")
def _approving(_loading: tuple[Path, Done], _copy: Path, tmp_path_factory: Any) -> Approving:
    def approve(send_at: str | None) -> Path:
        root = tmp_path_factory.mktemp("approved")
        place = Place(
            Home(shutil.copytree(_loading[0], root / "home")),
            shutil.copytree(_copy, root / "project"),
        )
        place.schedule(SLUG, send_at)
        space = open_workspace(Settings(home=place.home.root, project=place.project))
        approval.approve(SLUG, by="ines", workspace=space)
        return root

    return cache(approve)


@pytest.fixture
def approved(_approving: Approving, tmp_path: Path) -> Place:
    """The shop with its campaign approved; it is due at once."""
    root = shutil.copytree(_approving(None), tmp_path, dirs_exist_ok=True)
    return Place(Home(root / "home"), root / "project")


@pytest.fixture
def overdue(_approving: Approving, tmp_path: Path) -> Place:
    """The shop with its campaign approved for a day of the past."""
    root = shutil.copytree(_approving(LONG_AGO), tmp_path, dirs_exist_ok=True)
    return Place(Home(root / "home"), root / "project")
