"""`lettermill coupon …`: codes to hand out, each to one person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table as Grid

from pipelines.cli.output import console, emit_json, out, workspace
from pipelines.delivery.coupons import Coupons
from pipelines.errors import CampaignInvalid

app = typer.Typer(help="Coupon codes: pools, and how many are left.", no_args_is_help=True)


@app.command()
def load(
    pool: Annotated[str, typer.Argument(help="The pool a campaign names under `coupon`.")],
    file: Annotated[Path, typer.Argument(help="One code on each line.")],
) -> None:
    """Add codes to a pool. Those it has already stay as they are, whoever has them."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        told = f"{file.name} cannot be read"
        raise CampaignInvalid(told, do="Name a text file with one code on each line") from error
    coupons = Coupons(workspace().home.coupons)
    new = coupons.load(pool, lines)
    left = next(each.left for each in coupons.pools() if each.name == pool)
    console.print(f"[green]✓[/] {new:,} new codes in {pool}; {left:,} are left to hand out")


@app.command("list")
def list_pools(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the pools: how many codes each has, and how many people have one."""
    pools = Coupons(workspace().home.coupons).pools()
    if as_json:
        emit_json(
            {p.name: {"codes": p.codes, "handed_out": p.handed_out, "left": p.left} for p in pools}
        )
        return
    if not pools:
        console.print("[yellow]![/] there is no pool yet: lettermill coupon load POOL FILE")
        return
    grid = Grid("pool", "codes", "handed out", "left", box=None, pad_edge=False)
    for column in grid.columns[1:]:
        column.justify = "right"
    for pool in pools:
        grid.add_row(pool.name, f"{pool.codes:,}", f"{pool.handed_out:,}", f"{pool.left:,}")
    out.print(grid)
