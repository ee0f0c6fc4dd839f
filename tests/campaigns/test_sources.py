"""Which files an approval remembers the fingerprints of."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipelines.campaigns.campaign import load
from pipelines.campaigns.sources import fingerprints

SLUG = "autumn-thanks"
TEMPLATES = "assets/templates"


def test_whatever_a_body_may_include_is_remembered_and_what_none_is_made_from_is_not(
    project: Path, tmp_path: Path
):
    for part in (TEMPLATES, f"assets/campaigns/{SLUG}", "sql/segments"):
        shutil.copytree(project / part, tmp_path / part)
    shutil.copy(project / "assets/topics.yaml", tmp_path / "assets/topics.yaml")
    for name in ("parts/note.mjml.j2", "alone.txt.j2", "images/a.png", "brands/other.yaml"):
        path = tmp_path / TEMPLATES / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")

    found = {
        name.removeprefix(f"{TEMPLATES}/")
        for name in fingerprints(load(tmp_path, SLUG), tmp_path)
        if name.startswith(TEMPLATES)
    }

    assert {"parts/note.mjml.j2", "alone.txt.j2", "images/a.png", "phrases.yaml"} < found
    assert {"blocks/button.mjml.j2", "layouts/letter.mjml.j2", "brands/mill.yaml"} < found
    assert not {name for name in found if name.startswith(("starters/", "reports/"))}
    assert "brands/other.yaml" not in found
