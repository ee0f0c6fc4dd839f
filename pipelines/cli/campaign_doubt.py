"""`lettermill campaign resolve`: whoever is in doubt, settled by evidence or by somebody's word."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape

from pipelines.cli.output import console, emit_json, workspace
from pipelines.delivery import resolving
from pipelines.delivery.evidence import Log
from pipelines.delivery.overview import SAID, WORDS
from pipelines.delivery.relay_log import Dating
from pipelines.delivery.resolving import Decision, Resolved
from pipelines.delivery.states import State


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ValueError, OSError, LookupError):
        raise typer.BadParameter("is not an IANA time zone such as Europe/Paris") from None


def resolve(
    slug: Annotated[str, typer.Argument(help="The campaign: slug, or slug@occurrence.")],
    relay_log: Annotated[
        list[Path] | None, typer.Option(help="A log of the relay's Postfix; several if need be.")
    ] = None,
    zone: Annotated[
        ZoneInfo | None, typer.Option(parser=_zone, help="Where the log's clock is: Europe/Paris.")
    ] = None,
    resend: Annotated[
        bool, typer.Option("--resend", help="Send a second copy to whom no evidence settles.")
    ] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Leave them at that.")] = False,
    by: Annotated[str | None, typer.Option(help="Who says so.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Settle who is in doubt by what is known; who certainly got nothing is sent to next time."""
    if resend and skip:
        raise typer.BadParameter("either --resend or --skip")
    if (resend or skip) and not by:
        raise typer.BadParameter("--resend and --skip need --by NAME")
    state = State.WAIVED_RESEND if resend else State.WAIVED_SKIP
    space = workspace()
    found = resolving.resolve(
        slug,
        space,
        log=Log(tuple(relay_log), Dating(space.clock.now(), zone)) if relay_log else None,
        decision=Decision(state, by) if by and (resend or skip) else None,
    )
    _as_json(found) if as_json else _tell(slug, found)


def _as_json(found: Resolved) -> None:
    settled = [
        {"state": state, "source": source, "count": count}
        for (state, source), count in sorted(found.settled.items())
    ]
    emit_json({"settled": settled, "in_doubt": found.in_doubt, "flaws": list(found.flaws)})


def _tell(slug: str, found: Resolved) -> None:
    for (state, source), count in sorted(found.settled.items()):
        console.print(f"{SAID[state]} by {WORDS[source]}: {count:,}")
    for flaw in found.flaws:
        told = f"of nobody does the log prove that they got nothing: {flaw}"
        console.print(f"[yellow]![/] {escape(told)}")
    console.print(f"still in doubt: {found.in_doubt:,}")
    if found.in_doubt:
        console.print(
            "  A relay's log may settle them: --relay-log FILE. Or decide, with --by NAME: --skip\n"
            "  leaves them at that, --resend sends a second copy, once, with the same Message-ID."
        )
    elif any(state in (State.CONFIRMED_UNSENT, State.WAIVED_RESEND) for state, _ in found.settled):
        console.print(f"  Send to them: lettermill campaign send {slug}")
