"""What `lettermill doctor` looks at: settings, home, keys, clock, relay, edge, stream.

Each finding says what was seen and what to do; nothing is changed.
"""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import URLError

from pipelines.campaigns.brands import brand_names, load_brand
from pipelines.delivery.exchangers import ask
from pipelines.delivery.relay import Relay
from pipelines.delivery.routes import FILE, load_routes, read_delivery
from pipelines.errors import CampaignInvalid, LettermillError
from pipelines.message.dkim_keys import brand_keys
from pipelines.settings import DeliveryMode, Environment, Home, HomeKind, Settings, machine_id

PATIENCE_SECONDS = 3
# Asked for its servers, to see whether anybody answers.
KNOWN_DOMAIN = "gmail.com"
# What a selector may look like, in what is to be done.
SELECTOR = "2026-11"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `fine`, a `note`, or a `problem`."""

    what: str
    state: str
    told: str
    do: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order in which they are best mended."""
    home = Home(settings.home)
    if not home.exists:
        told = f"{home.root} is not a home"
        return [Finding("home", "problem", told, "Make one: lettermill init")]
    found = [*_home(home), *_keys(home), *_project(settings), *_signatures(settings, home)]
    found += [*_delivery(settings, home), *_relay(settings), *_servers(settings)]
    return [*found, _edge(settings, home), _stream(home)]


def _home(home: Home) -> Iterator[Finding]:
    identity = home.identity()
    yield Finding("home", "fine", f"{home.root}, for {identity.kind}, {identity.home_id[:8]}")
    if identity.machine_id != machine_id():
        do = "Sends are refused here; make a new home, or accept each ledger with --accept"
        yield Finding("machine", "problem", "this home was made on another machine", do)


def _keys(home: Home) -> Iterator[Finding]:
    try:
        for purpose in ("links", "addresses", "variants"):
            home.key(purpose)
    except LettermillError as error:
        yield Finding("keys", "problem", error.what, error.do)
        return
    open_to_others = [path.name for path in home.keys.iterdir() if path.stat().st_mode & 0o077]
    if open_to_others:
        told = f"others can read {', '.join(sorted(open_to_others))}"
        yield Finding("keys", "problem", told, f"chmod 600 {home.keys}/*.key")
    else:
        yield Finding("keys", "fine", "links, addresses and variants can be signed")


def _project(settings: Settings) -> Iterator[Finding]:
    if not (settings.project / "assets").is_dir():
        told = f"{settings.project} holds no assets folder: no source and no campaign"
        yield Finding("project", "problem", told, "Set LETTERMILL_PROJECT to the project's folder")


def _signatures(settings: Settings, home: Home) -> Iterator[Finding]:
    """Who signs for each brand's sender; nobody is a problem only where real people are mailed."""
    is_live = settings.delivery_mode is DeliveryMode.LIVE
    try:
        brands = [load_brand(settings.project, name) for name in brand_names(settings.project)]
        # Brands of one domain that name no keys are signed alike.
        alike = {(each.sender_address.rpartition("@")[2], each.dkim): each for each in brands}
        for (domain, _), brand in sorted(alike.items(), key=lambda each: each[1].name):
            keys = brand_keys(brand, home.keys)
            if keys:
                told = ", ".join(
                    f"{key.selector} of {key.domain} ({key.algorithm})" for key in keys
                )
                yield Finding("signatures", "fine", f"{domain}: {told}")
            else:
                told = f"nobody signs for {domain}, unless the relay does"
                do = f"lettermill dkim new {domain} {SELECTOR}, publish its record, activate it"
                yield Finding(
                    "signatures", "note" if is_live else "fine", told, do if is_live else ""
                )
    except LettermillError as error:
        yield Finding("signatures", "problem", error.what, error.do)


def _delivery(settings: Settings, home: Home) -> Iterator[Finding]:
    mode = settings.delivery_mode
    if mode is not DeliveryMode.LIVE:
        told = {
            DeliveryMode.SINK: "sink: mail is kept in the home and reaches nobody",
            DeliveryMode.REDIRECT: "redirect: everything goes to one address",
            DeliveryMode.ALLOWLIST: f"allowlist: {len(settings.allowlist)} entries are mailed",
        }[mode]
        yield Finding("delivery", "fine", told)
        return
    if settings.environment is not Environment.PRODUCTION:
        do = "Set LETTERMILL_ENVIRONMENT=production"
        yield Finding("delivery", "problem", "live needs the production environment", do)
    if home.identity().kind is not HomeKind.PRODUCTION:
        do = "Make one: LETTERMILL_ENVIRONMENT=production lettermill init DIR"
        yield Finding("delivery", "problem", "live needs a home made for production", do)
    if not settings.public_url.startswith("https://"):
        do = "Set LETTERMILL_PUBLIC_URL to the https address of the edge"
        yield Finding("delivery", "problem", "live needs an https public URL", do)


def _relay(settings: Settings) -> Iterator[Finding]:
    if settings.delivery_mode is DeliveryMode.SINK:
        yield Finding("relay", "fine", "the sink is started by whatever sends")
        return
    try:
        named = read_delivery(settings.project).relays
    except CampaignInvalid as invalid:
        yield Finding("relay", "problem", invalid.what, f"See the problems of {FILE} and mend them")
        return
    relays = {
        name: Relay(each.host, each.port, each.username, None, each.tls)
        for name, each in named.items()
    }
    for name, relay in (relays or {"": Relay.from_settings(settings)}).items():
        what, where = f"relay {name}".strip(), f"{relay.host}:{relay.port}"
        mend = f"Set it right in {FILE}" if name else "Set LETTERMILL_RELAY_HOST, _PORT and _TLS"
        try:
            yield Finding(what, "fine", f"{where} {_greeting(relay)}")
        except (OSError, smtplib.SMTPException) as error:
            yield Finding(what, "problem", f"{where}: {error}", f"{mend} to your SMTP server")


def _servers(settings: Settings) -> Iterator[Finding]:
    """Whether DNS answers, where destinations are told by the servers of a domain."""
    if settings.delivery_mode is DeliveryMode.SINK:
        return
    try:
        routes = load_routes(settings, brand="")
    except CampaignInvalid:
        return  # told with the relays
    if not routes.asks_mx:
        return
    if ask([KNOWN_DOMAIN], seconds=PATIENCE_SECONDS):
        yield Finding("destinations", "fine", "told by their servers; DNS answers")
    else:
        told = "DNS does not answer: every domain that no list knows is of destination 'other'"
        yield Finding(
            "destinations", "note", told, f"Let this machine ask DNS, or set mx: false in {FILE}"
        )


def _greeting(relay: Relay) -> str:
    """Say EHLO (and STARTTLS where set), and leave: nothing is sent."""
    tls = ssl.create_default_context()
    host, port = relay.host, relay.port
    if relay.tls == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=PATIENCE_SECONDS, context=tls)
    else:
        client = smtplib.SMTP(host, port, timeout=PATIENCE_SECONDS)
    with client:
        client.ehlo()
        if relay.tls == "starttls":
            client.starttls(context=tls)
        return "answers" + ("" if relay.tls == "none" else " over verified TLS")


def _edge(settings: Settings, home: Home) -> Finding:
    url = f"{settings.public_url}/.well-known/lettermill"
    serious = "problem" if settings.delivery_mode is DeliveryMode.LIVE else "note"
    do = "Start it: make dev, or python -m streaming.edge behind your web server"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            found = dict(json.load(answer)).get("home_id")
    except (URLError, OSError, ValueError, HTTPException) as error:
        return Finding("edge", serious, f"{settings.public_url} does not answer ({error})", do)
    if found != home.identity().home_id:
        return Finding("edge", "problem", "the public URL belongs to another home", do)
    return Finding("edge", "fine", f"{settings.public_url} answers for this home")


def _stream(home: Home) -> Finding:
    partitions = [path.name for path in home.event_log.glob("*") if path.is_dir()]
    if not partitions:
        return Finding("stream", "note", "no event was ever logged")
    return Finding("stream", "fine", f"event log with {len(partitions)} partitions")
