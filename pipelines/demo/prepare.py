"""The demonstration's own home: where it lies, what it sends through, and the export it starts from.

Always the sink and reserved domains, whatever is set elsewhere.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from pipelines.campaigns.campaign import CampaignKey
from pipelines.clock import SystemClock
from pipelines.contacts.source import Source, discover
from pipelines.demo.shop import people_in, write_shop
from pipelines.errors import ExportMissing, HomeInvalid, Problem, SourceInvalid, did_you_mean
from pipelines.settings import (
    CHECKOUT,
    DeliveryMode,
    Environment,
    Home,
    HomeKind,
    Settings,
    make_home,
)
from pipelines.workspace import Workspace, open_workspace

SEED = 7
CONTACTS = 50_000
# Which campaign each source of the repository is shown with.
CAMPAIGNS = {
    "shop": "autumn-thanks",
    "cdnow": "cdnow-win-back",
    "online_retail_france": "online-retail-top",
    "online_retail_germany": "online-retail-top",
    "hillstrom": "hillstrom-recent",
}


@dataclass(frozen=True)
class Demo:
    """One demonstration: a source, its campaign, and a home that is nobody else's."""

    source: str
    settings: Settings
    home: Home

    @property
    def workspace(self) -> Workspace:
        return open_workspace(self.settings)

    @property
    def campaign(self) -> CampaignKey:
        return CampaignKey(CAMPAIGNS[self.source])


def prepare(
    source: str,
    file: Path | None = None,
    *,
    contacts: int | None = None,
    home: Path | None = None,
) -> Demo:
    """Make the demo's home and put the export where the source looks for it.

    contacts  how many the generated shop has; a shop that is there keeps its own
    """
    known = discover(CHECKOUT)
    if source not in CAMPAIGNS or source not in known:
        raise SourceInvalid(
            f"there is no demo for source '{source}'.{did_you_mean(source, CAMPAIGNS)}",
            do=f"Name one of: {', '.join(CAMPAIGNS)}",
        )
    found = known[source]
    if isinstance(found, SourceInvalid):
        raise found
    if file is not None and not file.is_file():
        raise ExportMissing(f"{file} is not a file", do="Check the path given with --file")
    folder = home or CHECKOUT / ".lettermill-demo" / source
    made = make_home(folder, kind=HomeKind.DEMO, at=SystemClock().now())
    if made.identity().kind is not HomeKind.DEMO:
        raise HomeInvalid(f"{made.root} is not a demo's home", do="Give --home another folder")
    # Who is held out and who gets which subject follow from this key: fixed, so that every demo agrees.
    (made.keys / "variants.key").write_text(hashlib.sha256(b"lettermill demo").hexdigest())
    shutil.copy(CHECKOUT / "dagster.yaml", made.dagster / "dagster.yaml")
    if source == "shop" and file is None:
        _same_shop(made, contacts)
        write_shop(made.exports / "shop", contacts=contacts or CONTACTS, seed=SEED)
    else:
        _place(found, file, made)
    return Demo(source, _settings(made), made)


def _same_shop(home: Home, contacts: int | None) -> None:
    """Raises HomeInvalid when another number of contacts is asked for than the shop of this home has."""
    file = home.exports / "shop" / "contacts.csv"
    there = people_in(file) if contacts is not None and file.exists() else contacts
    if there != contacts:
        raise HomeInvalid(
            f"the shop of this demo has {there:,} contacts already",
            [Problem("--contacts", f"{contacts:,} were asked for")],
            do="Leave --contacts out, or give --home another folder",
        )


def _place(source: Source, file: Path | None, home: Home) -> None:
    target = home.exports / next(iter(source.exports.values())).file
    if file is None:
        if not target.exists():
            raise ExportMissing("this source needs its file", do="Give it: --file PATH")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def _settings(home: Home) -> Settings:
    """The sink and loopback, whatever the environment says; ports nobody else uses."""
    edge, sink, dagster = _free_ports(3)
    return Settings(
        home=home.root,
        project=CHECKOUT,
        environment=Environment.DEVELOPMENT,
        delivery_mode=DeliveryMode.SINK,
        public_url=f"http://127.0.0.1:{edge}",
        edge_port=edge,
        sink_port=sink,
        dagster_port=dagster,
    )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports
