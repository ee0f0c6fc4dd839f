"""What every test may ask for: a home, a lake, a clock that stands still, and three people.

ada   buys often, reads everything, agreed to mail and to tracking
bert  agreed to mail but not to tracking; has an umlaut in his name
cleo  unsubscribed from everything
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.clock import FrozenClock
from pipelines.lake import Lake
from pipelines.settings import CHECKOUT, Home, HomeKind, make_home

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Person:
    """One of the three people the tests know by name."""

    contact_id: int
    address: str
    first_name: str
    last_name: str
    tracking: bool
    unsubscribed: bool


@pytest.fixture
def ada() -> Person:
    return Person(1, "ada@shop.example", "Ada", "Archer", tracking=True, unsubscribed=False)


@pytest.fixture
def bert() -> Person:
    return Person(2, "bert@shop.example", "Bert", "Brückner", tracking=False, unsubscribed=False)


@pytest.fixture
def cleo() -> Person:
    return Person(3, "cleo@shop.example", "Cleo", "Chen", tracking=True, unsubscribed=True)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOON)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home", kind=HomeKind.DEVELOPMENT, at=NOON)


@pytest.fixture
def lake(home: Home) -> Lake:
    return Lake(home.lake)


@pytest.fixture
def project() -> Path:
    """The checkout's own project: sources, topics, campaigns, templates, SQL."""
    return CHECKOUT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start processes go first: at the end one of several workers would be alone with them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-golden", action="store_true", help="Write tests/golden anew: a change is meant."
    )
