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


@pytest.fixture
def allow(workshop: Path) -> Callable[[str, str], None]:
    """Has the campaign allow a rule for a reason."""

    def run(rule: str, reason: str) -> None:
        path = workshop / "assets/campaigns" / SLUG / "campaign.yaml"
        path.write_text(f"{path.read_text()}\nlint: {{allow: {{{rule}: {reason}}}}}\n")

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


def test_what_the_campaign_allows_is_told_with_its_reason_and_forbids_nothing(check, allow):
    allow("link-not-https", "The archive has no https yet")

    code, said = check('<mj-text><a href="http://shop.example/">x</a></mj-text>')

    assert code == 0
    assert "○ link-not-https  link 'http://shop.example/' is not https" in said
    assert "  allowed: The archive has no https yet" in said


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            "link-not-http",
            "is no rule of lint; docs/lint.md lists them. Did you mean 'link-not-https'?",
        ),
        ("unsubscribe-missing", "can never be allowed: Add [[ footer() ]]"),
    ],
)
def test_a_rule_there_is_none_of_and_one_that_nobody_may_break_are_problems(
    check, allow, rule, told
):
    allow(rule, "We do it another way here")

    code, said = check("")

    assert code == 1
    assert f"lint.allow.{rule}" in said
    assert told in said


def test_an_allowance_without_a_reason_is_a_problem(check, allow):
    allow("link-not-https", "known")

    code, said = check("")

    assert code == 1
    assert "lint.allow.link-not-https   'known': say why in a sentence of 3 words or more" in said


def test_links_are_asked_only_when_that_is_said(check, monkeypatch):
    quiet, unasked = check("")
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--links"])

    code, said = check("")

    # Nobody has a name under .example (RFC 2606).
    assert (quiet, code) == (0, 1)
    assert "is not known" not in unasked
    assert "✗ https://shop.example/" in said
    assert "  cannot be reached: shop.example is not known" in said
    assert "of the message cannot be followed now" in said


def test_brackets_in_what_is_told_come_out_as_they_are(check):
    code, said = check('<mj-text><a href="https://shop.example/*|URL|*[red]">x</a></mj-text>')

    assert code == 1
    assert "'https://shop.example/*|URL|*[red]' is a placeholder" in said
