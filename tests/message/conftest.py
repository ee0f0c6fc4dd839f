"""A small project on disk, to be changed by each test, and a filler for what it compiles to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.campaigns.campaign import load
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CompiledMessage
from pipelines.message.fill import Filler, Recipient

SLUG = "autumn-thanks"
KEY = b"k" * 32
URL = "https://edge.mill.example"
NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)

Compile = Callable[..., CompiledMessage]
Fill = Callable[..., Any]


@pytest.fixture
def workshop(project: Path, tmp_path: Path) -> Path:
    """A copy of the checkout's topics, templates and one campaign."""
    for part in ("assets/templates", f"assets/campaigns/{SLUG}"):
        shutil.copytree(project / part, tmp_path / part)
    shutil.copy(project / "assets/topics.yaml", tmp_path / "assets/topics.yaml")
    return tmp_path


@pytest.fixture
def compiled(workshop: Path) -> Compile:
    """Compiles the campaign, its body replaced by `body`; other files by name."""

    def run(body: str | None = None, **files: str) -> CompiledMessage:
        folder = workshop / "assets/campaigns" / SLUG
        if body is not None:
            written = (
                f'[% extends "layouts/letter.mjml.j2" %][% block content %]{body}[% endblock %]'
            )
            (folder / "body.mjml.j2").write_text(written)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text)
        return compile_message(load(workshop, SLUG), project=workshop)

    return run


@pytest.fixture
def fill() -> Fill:
    """Fills a compiled message for Ada, or for whomever the named values make of her."""

    def run(message: CompiledMessage, *, is_tracked: bool = True, **fields: Any) -> Any:
        filler = Filler(message, public_url=URL, campaign=SLUG, link_key=KEY)
        address = fields.pop("address", "ada@shop.example")
        variant = fields.pop("variant", next(iter(message.subjects)))
        values = {"first_name": "Ada", "last_name": "Archer", **fields}
        return filler.fill(Recipient(1, address, variant, is_tracked, NOON, values))

    return run
