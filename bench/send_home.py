"""A home of its own with a promotion that is approved and due to so many people, for bench/send.py.

Contacts, consents and the audience are written straight into the lake: planning is not what is measured.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import orjson
import polars as pl

from bench.render import NAMES, PRODUCTS, SLUG, TEMPLATE
from pipelines.campaigns.brands import load_brand
from pipelines.campaigns.bundle import Bundle, load_current, save
from pipelines.campaigns.campaign import campaign_key, load
from pipelines.campaigns.topics import load_topics
from pipelines.clock import SystemClock
from pipelines.contacts.address import hash_series
from pipelines.delivery.letters import Letters
from pipelines.lake import Lake
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CONTACT_FIELDS
from pipelines.message.dkim_keys import activate, make_key
from pipelines.schema import AUDIENCE, CONSENTS, CONTACTS, LEDGER_HEADS, SENDS, Table
from pipelines.settings import CHECKOUT, DeliveryMode, HomeKind, Settings, make_home
from pipelines.workspace import Workspace, open_workspace

DOMAIN, CITY = "shop.example", "Millbridge"
# Rows of the audience that are made at once: a million with their products are a gigabyte.
CHUNK = 250_000
# The template's five products make a message of 16 kB; the bars are for 12.
PRODUCTS_EACH = 1


def prepared(folder: Path, people: int, *, port: int, connections: int) -> Workspace:
    """A workspace whose campaign goes to `people` recipients by a relay on this port."""
    project = folder / "project"
    shutil.copytree(CHECKOUT / "assets/templates", project / "assets/templates")
    shutil.copy(CHECKOUT / "assets/topics.yaml", project / "assets/topics.yaml")
    shutil.copytree(TEMPLATE, project / "assets/campaigns" / SLUG)
    home = make_home(folder / "home", kind=HomeKind.DEVELOPMENT, at=SystemClock().now())
    settings = Settings(
        home=home.root,
        project=project,
        delivery_mode=DeliveryMode.ALLOWLIST,
        allowlist=[f"@{DOMAIN}"],
        relay_host="127.0.0.1",
        relay_port=port,
        relay_tls="none",
        connections=connections,
    )
    space = open_workspace(settings)
    bundle = _approved(space, people)
    for first in range(0, people, CHUNK):
        _write(space, bundle, range(first, min(first + CHUNK, people)))
    return space


def sign(space: Workspace) -> None:
    """Give the home an RSA-2048 key for the sender's domain, and let it sign."""
    domain = str(_current(space).message["sender_address"]).rpartition("@")[2]
    make_key(space.home.keys, domain, "bench")
    activate(space.home.keys, domain, "bench")


def forget(space: Workspace) -> None:
    """As if nothing had been sent: no ledger, no marks, no export of them."""
    for path in space.home.ledgers.iterdir():
        path.unlink()
    space.home.people.unlink(missing_ok=True)
    for name in (SENDS.name, LEDGER_HEADS.name):
        shutil.rmtree(space.lake.path(name), ignore_errors=True)


def a_message(space: Workspace) -> bytes:
    """What one recipient gets."""
    row = dict.fromkeys(CONTACT_FIELDS) | {
        "contact_id": 1,
        "address": f"p1@{DOMAIN}",
        "first_name": NAMES[1],
        "last_name": "Archer 1",
        "city": CITY,
        "variant": "a",
        "is_tracked": True,
        "attributes": None,
        "fields": f'{{"product": "fern green", "products": {_offer(1)}}}',
    }
    letter = Letters(_current(space), space.settings, space.home, space.clock).write(row)
    assert letter is not None
    return letter.raw


def _current(space: Workspace) -> Bundle:
    bundle = load_current(SLUG, space.home.approvals)
    assert bundle is not None
    return bundle


def _approved(space: Workspace, people: int) -> Bundle:
    campaign = load(space.project, SLUG)
    bundle = Bundle(
        # Whenever the benchmark runs, it is due.
        campaign=campaign.model_copy(update={"send_at": None, "time_zone": None}),
        key=campaign_key(SLUG),
        segments={},
        message=compile_message(campaign, project=space.project).model_dump(mode="json"),
        topic=load_topics(space.project)[campaign.topic],
        brand=load_brand(space.project, campaign.brand),
        sources={},
        approved_by="bench",
        approved_at=space.clock.now(),
        expected_recipients=people,
        environment=space.settings.environment.value,
        home_id=space.home.identity().home_id,
    )
    save(bundle, space.home.approvals)
    return bundle


def _write(space: Workspace, bundle: Bundle, numbers: range) -> None:
    at = space.clock.now() - timedelta(minutes=1)
    rows = pl.DataFrame({"contact_id": pl.Series(numbers, dtype=pl.Int64)})
    number = pl.col("contact_id")
    rows = rows.with_columns(
        address=pl.format("p{}@" + DOMAIN, number),
        first_name=pl.lit(pl.Series(NAMES)).gather(number % len(NAMES)),
        last_name=pl.format("Archer {}", number),
    )
    contacts = rows.with_columns(address_normalised="address", city=pl.lit(CITY))
    _append(space.lake, CONTACTS, contacts)
    consents = rows.select(
        "contact_id",
        consent_id=pl.format("c{}", number),
        purpose=pl.lit("marketing"),
        topic=pl.lit("news"),
        status=pl.lit("granted"),
        recorded_at=pl.lit(at),
    )
    _append(space.lake, CONSENTS, consents)
    offers = pl.Series([_offer(first) for first in range(len(PRODUCTS))])
    hashes = hash_series(rows["address"], space.home.key("addresses"))
    audience = rows.select(
        "contact_id",
        campaign=pl.lit(bundle.key),
        bundle=pl.lit(bundle.content_hash),
        recipient=number,
        decision=pl.lit("mail"),
        variant=pl.lit("a"),
        send_at=pl.lit(at),
        is_tracked=pl.lit(value=True),
        address_hash=hashes,
        fields=pl.concat_str(
            pl.lit('{"product": "fern green", "units": '),
            (number % 90).cast(pl.String),
            pl.lit(', "points": '),
            (number % 500).cast(pl.String),
            pl.lit(', "products": '),
            pl.lit(offers).gather(number % len(PRODUCTS)),
            pl.lit("}"),
        ),
    )
    _append(space.lake, AUDIENCE, audience)


def _append(lake: Lake, table: Table, rows: pl.DataFrame) -> None:
    lake.append(table, pl.concat([table.empty(), rows], how="diagonal_relaxed"))


def _offer(first: int) -> str:
    chosen = [PRODUCTS[(first + place) % len(PRODUCTS)] for place in range(PRODUCTS_EACH)]
    return orjson.dumps(chosen).decode()
