"""What there is to say of a campaign before it is approved: what forbids it, and all that lint found.

Reads the campaign's files, its segments' headers and its message; decides nothing and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.campaigns.campaign import FILE, folder_of, load
from pipelines.campaigns.reading import read_yaml
from pipelines.delivery import candidates
from pipelines.errors import CampaignInvalid, LettermillError, Problem, did_you_mean
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CompiledMessage
from pipelines.message.lint.rules import Finding, findings, refused_allowances
from pipelines.segments.project import discover


@dataclass(frozen=True)
class Looked:
    """What was found when a campaign was looked at: what forbids to approve it, and all of lint.

    problems  with the errors of lint among them
    message   None where it cannot be compiled
    """

    problems: list[Problem]
    findings: list[Finding]
    message: CompiledMessage | None = None


def look(slug: str, project: Path) -> Looked:
    """Everything there is to say of a campaign before it is approved."""
    try:
        campaign = load(project, slug)
    except CampaignInvalid as invalid:
        problems = list(invalid.problems) or [Problem(slug, invalid.what)]
        return Looked(problems + _unknown_segments(slug, project), [])
    problems = candidates.problems(campaign, project) + refused_allowances(campaign.lint.allow)
    try:
        message = compile_message(campaign, project=project)
    except LettermillError as invalid:
        problems += invalid.problems or (Problem("message", invalid.what),)
        return Looked(problems, [])
    found = findings(message, allowed=campaign.lint.allow)
    problems += [each.problem() for each in found if each.is_error]
    return Looked(problems, found, message)


def _unknown_segments(slug: str, project: Path) -> list[Problem]:
    """Of a campaign that is no campaign yet: the segments it names that there are not."""
    values, _ = read_yaml(folder_of(project, slug) / FILE)
    named = values.get("audience") if isinstance(values.get("audience"), dict) else {}
    known = discover(project)
    return [
        Problem(f"audience.{part}", f"there is no segment '{name}'.{did_you_mean(name, known)}")
        for part in ("include", "exclude")
        for name in (named or {}).get(part) or []
        if isinstance(name, str) and name not in known
    ]
