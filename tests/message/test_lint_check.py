"""`lettermill campaign check`, run in this process: what lint finds is told with name and fix."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cli.command import main
from pipelines.settings import CHECKOUT, Home

SLUG = "autumn-thanks"
Check = Callable[[str], tuple[int, str]]


@pytest.fixture
def check(
    workshop: Path, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Check:
    """Checks the campaign with this MJML added to its body: exit code, and what was said."""
    shutil.copytree(CHECKOUT / "sql", workshop / "sql")
    monkeypatch.setenv("LETTERMILL_HOME", str(home.root))
    monkeypatch.setenv("LETTERMILL_PROJECT", str(workshop))
    monkeypatch.setattr(sys, "argv", ["lettermill", "campaign", "check", SLUG])

    def run(added: str) -> tuple[int, str]:
        body = workshop / "assets/campaigns" / SLUG / "body.mjml.j2"
        section = f"<mj-section><mj-column>{added}</mj-column></mj-section>[% endblock %]"
        body.write_text(body.read_text().replace("[% endblock %]", section))
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


def test_a_warning_is_told_and_the_campaign_can_be_approved(check):
    code, said = check('<mj-image src="https://shop.example/fern.png" />')

    assert code == 0
    assert "! image-alt-missing  image 'https://shop.example/fern.png' has no alt text" in said
    assert '  → Add alt="what it says"; alt="" for one that only decorates.' in said
    assert f"✓ {SLUG} can be approved" in said


def test_an_error_is_told_once_with_its_fix_and_forbids_to_approve(check):
    code, said = check('<mj-text><a href="http://shop.example/">x</a></mj-text>')

    assert code == 1
    assert "✗ link-not-https  link 'http://shop.example/' is not https" in said
    assert "  → Write https://" in said
    assert said.count("http://shop.example/") == 1
    assert f"{SLUG} cannot be approved: 1 problem" in said


def test_brackets_in_what_is_told_come_out_as_they_are(check):
    code, said = check('<mj-text><a href="https://shop.example/*|URL|*[red]">x</a></mj-text>')

    assert code == 1
    assert "'https://shop.example/*|URL|*[red]' is a placeholder" in said
