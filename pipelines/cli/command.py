"""The `lettermill` command: nouns, then verbs.

Data goes to stdout, progress to stderr. Exit code 0: well; 1: a problem was found; 2: wrong usage.
"""

from __future__ import annotations

import sys

import typer

from pipelines.cli import (
    campaign,
    campaign_cases,
    campaign_check,
    campaign_control,
    campaign_doubt,
    campaign_preview,
    campaign_trial,
    coupon,
    demo,
    dev,
    dkim,
    home,
    mart,
    segment,
    segment_ask,
    segment_preview,
    source,
    template,
)
from pipelines.errors import LettermillError

app = typer.Typer(
    help="E-mail marketing as a data pipeline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
home.add_to(app)
dev.add_to(app)
demo.add_to(app)
app.add_typer(source.app, name="source")
for command in (segment_preview.preview, *segment_ask.COMMANDS):
    segment.app.command()(command)
app.add_typer(segment.app, name="segment")
app.add_typer(mart.app, name="mart")
campaign.app.command("check")(campaign_check.check)
campaign.app.command("preview")(campaign_preview.preview)
campaign.app.command("test")(campaign_cases.run_tests)
campaign.app.command("test-send")(campaign_trial.send_test)
campaign.app.command("resolve")(campaign_doubt.resolve)
for name in ("pause", "resume", "cancel", "amend", "retry-failed"):
    campaign.app.command(name)(getattr(campaign_control, name.replace("-", "_")))
app.add_typer(campaign.app, name="campaign")
app.add_typer(template.app, name="template")
app.add_typer(coupon.app, name="coupon")
app.add_typer(dkim.app, name="dkim")


def main() -> None:
    """Run the command; a problem the user can mend is told in words, without a traceback."""
    try:
        app()
    except LettermillError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
