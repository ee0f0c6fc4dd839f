"""Which relays take a brand's mail, and how fast it may go: the settings, and assets/delivery.yaml.

Without that file there is one relay, that of the settings, and no limit but theirs. Knows no connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.campaigns.kinds import Name
from pipelines.campaigns.reading import headline, problems_of, read_yaml
from pipelines.delivery.destinations import Destinations, Provider, providers
from pipelines.delivery.dsn import Report
from pipelines.delivery.pace import Limit
from pipelines.delivery.relay import Relay
from pipelines.errors import CampaignInvalid, Problem, did_you_mean
from pipelines.settings import Settings, named_secrets, secret_files

FILE = Path("assets/delivery.yaml")
PASSWORDS = "LETTERMILL_RELAY_PASSWORD_"
DEFAULT = "default"

Rate = Annotated[float, Field(gt=0, le=100_000)]
Count = Annotated[int, Field(ge=1)]


class _Paced(BaseModel):
    """Limits of one way. rate: messages a second."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Rate | None = None
    hourly: Count | None = None
    daily: Count | None = None

    @property
    def limit(self) -> Limit:
        return Limit(self.rate, self.hourly, self.daily)


class RelaySettings(_Paced):
    """One relay. Its password is LETTERMILL_RELAY_PASSWORD_<NAME>, or in the file of …_FILE."""

    host: str = Field(min_length=1, max_length=253)
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: Annotated[str, Field(pattern="^(none|starttls|implicit)$")] = "starttls"
    username: str | None = None
    auth: Annotated[str, Field(pattern="^(auto|xoauth2)$")] = "auto"
    # Whose mail it takes; everybody's who has no relay of their own otherwise.
    brands: list[str] = []
    # Messages handed over on one connection before another is opened.
    per_connection: Count | None = None
    # Connections open to it at once, over all workers and campaigns.
    connections: Count | None = None
    # What it is asked to report of a message, where it offers DSN.
    dsn: Report = Report.FAILURE


class DestinationSettings(_Paced):
    """How fast mail goes to one destination; what belongs to it beside the known: domains, servers."""

    domains: list[str] = []
    mx: list[str] = []
    # Messages under way to it at once, over all workers and campaigns.
    connections: Count | None = None
    # Messages to it handed over on one connection before another is opened.
    per_connection: Count | None = None


class DeliverySettings(BaseModel):
    """The file as a whole. rate: messages a second over all relays, the one setting most need.

    mx  whether domains nobody knows are told by their servers; unsaid, where destinations have limits
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Rate | None = None
    relays: dict[Name, RelaySettings] = {}
    destinations: dict[Name, DestinationSettings] = {}
    mx: bool | None = None


@dataclass(frozen=True)
class Way:
    """One relay a brand's mail may take, and how many connections at once; None: as many as there are."""

    name: str
    relay: Relay
    limit: Limit = field(default_factory=Limit)
    connections: int | None = None


@dataclass(frozen=True)
class Routes:
    """Everything that says where mail goes and how fast.

    ways            relays in the order they are tried: the next one takes over when one is down
    destinations    what is known of them; by name their limits, and how many messages at once
    per_connection  how many messages to a destination on one connection
    """

    ways: tuple[Way, ...]
    rate: Limit = field(default_factory=Limit)
    limits: Mapping[str, Limit] = field(default_factory=dict)
    at_once: Mapping[str, int] = field(default_factory=dict)
    per_connection: Mapping[str, int] = field(default_factory=dict)
    destinations: Destinations = field(default_factory=Destinations)
    asks_mx: bool = False


def load_routes(settings: Settings, *, brand: str) -> Routes:
    """The routes of a brand's mail. Raises CampaignInvalid with every problem of the file."""
    given = read_delivery(settings.project)
    own = {name: each for name, each in given.relays.items() if brand in each.brands}
    shared = {name: each for name, each in given.relays.items() if not each.brands}
    secrets, files = named_secrets(PASSWORDS), secret_files(PASSWORDS)
    ways = tuple(
        Way(
            name,
            _relay(each, secrets.get(variable), files.get(variable)),
            each.limit,
            each.connections,
        )
        for name, each in (own or shared).items()
        for variable in (PASSWORDS + name.upper(),)
    )
    return Routes(
        ways=ways or (Way(DEFAULT, Relay.from_settings(settings)),),
        rate=Limit(given.rate),
        limits={name: each.limit for name, each in given.destinations.items()},
        at_once={
            name: each.connections
            for name, each in given.destinations.items()
            if each.connections is not None
        },
        per_connection={
            name: each.per_connection
            for name, each in given.destinations.items()
            if each.per_connection is not None
        },
        destinations=Destinations(
            {name: Provider(each.domains, each.mx) for name, each in given.destinations.items()}
        ),
        asks_mx=bool(given.destinations) if given.mx is None else given.mx,
    )


def by_relay(name: str) -> str:
    """What the slots of a relay are called."""
    return f"relay {name}"


def read_delivery(project: Path) -> DeliverySettings:
    """assets/delivery.yaml, checked; without the file all is as the settings say."""
    path = project / FILE
    if not path.is_file():
        return DeliverySettings()
    values, problems = read_yaml(path)
    found = DeliverySettings()
    if not problems:
        try:
            found = DeliverySettings.model_validate(values)
        except ValidationError as invalid:
            problems = problems_of(invalid, DeliverySettings)
    problems += _strangers(found)
    if problems:
        do = "Fix the file, then run: lettermill doctor"
        raise CampaignInvalid(headline(path, problems, project), problems, do=do)
    return found


def _strangers(given: DeliverySettings) -> list[Problem]:
    """Destinations nobody knows and of which nothing is given: a limit that would hold for nobody."""
    return [
        Problem(
            f"destinations.{name}",
            f"is none that is known, and has no domains and no mx.{did_you_mean(name, providers())}",
        )
        for name, each in given.destinations.items()
        if name not in providers() and name != "other" and not (each.domains or each.mx)
    ]


def _relay(given: RelaySettings, password: str | None, file: Path | None) -> Relay:
    return Relay(
        given.host,
        given.port,
        given.username,
        password,
        given.tls,
        given.auth,
        given.per_connection,
        given.dsn,
        file,
    )
