"""`lettermill dkim`: the keys that sign what is sent, and the DNS records they need."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table as Grid

from pipelines.cli.output import console, emit_json, out
from pipelines.errors import SettingInvalid
from pipelines.message.dkim_keys import activate, listed, make_key, record
from pipelines.settings import Home, Settings

KINDS = ("rsa", "ed25519")
app = typer.Typer(help="Keys that sign what is sent.", no_args_is_help=True)
Domain = Annotated[str, typer.Argument(help="The domain of the sender's address, or its parent.")]
Selector = Annotated[str, typer.Argument(help="A name for the key, used once, such as 2026-11.")]


@app.command()
def new(
    domain: Domain,
    selector: Selector,
    kind: Annotated[
        str, typer.Option(help="rsa (everybody reads it) or ed25519 (beside it).")
    ] = "rsa",
) -> None:
    """Make a key and show the record to publish; it signs once it is activated."""
    if kind not in KINDS:
        raise SettingInvalid(
            f"there is no kind of key '{kind}'", do=f"Name one of: {', '.join(KINDS)}"
        )
    key = make_key(_home().keys, domain, selector, kind=kind)
    console.print(f"[green]✓[/] made, and used by nothing yet. Publish in the zone of {domain}:")
    out.print(f"{selector}._domainkey.{domain}. TXT {record(key)}", soft_wrap=True, markup=False)
    console.print(f"When everybody can see it: lettermill dkim activate {domain} {selector}")


@app.command("activate")
def activate_key(domain: Domain, selector: Selector) -> None:
    """Sign with a key from the next run on; the one before it is kept and signs no more."""
    retired = activate(_home().keys, domain, selector)
    console.print(f"[green]✓[/] {selector} of {domain} signs from the next run on")
    for each in retired:
        console.print(
            f"  {each} signs no more: leave its record for a week, while mail is on its way,"
            " then publish it with an empty p="
        )


@app.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the keys in files: domain, selector, kind, state; `--json` with their records."""
    found = [
        {
            "domain": key.domain,
            "selector": key.selector,
            "kind": key.algorithm.removesuffix("-sha256"),
            "state": state,
            "record": record(key),
        }
        for state, key in listed(_home().keys)
    ]
    if as_json:
        emit_json(found)
        return
    grid = Grid("domain", "selector", "kind", "state", box=None, pad_edge=False)
    for each in found:
        grid.add_row(each["domain"], each["selector"], each["kind"], each["state"])
    out.print(grid)


def _home() -> Home:
    home = Home(Settings.load().home)
    home.identity()
    return home
