"""Where mail goes and how fast: relays, destinations, limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.delivery.destinations import OTHER, Destinations, Provider, providers
from pipelines.delivery.pace import Limit
from pipelines.delivery.routes import FILE, load_routes
from pipelines.errors import CampaignInvalid
from pipelines.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(project=tmp_path, relay_host="mx.shop.example", relay_port=2500)


def write(settings: Settings, text: str) -> None:
    path = settings.project / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("address", "destination"),
    [
        ("ada@gmail.com", "google"),
        ("ada@GMAIL.com", "google"),
        ("ada@hotmail.fr", "microsoft"),
        ("ada@mail.yahoo.com", "yahoo"),
        ("ada@notgmail.com", OTHER),
        ("ada@gmail.com.shop.example", OTHER),
        ("ada@shop.example", OTHER),
        ("ada", OTHER),
    ],
)
def test_an_address_belongs_to_whoever_runs_its_domain(address: str, destination: str):
    assert Destinations().of_address(address) == destination


def test_a_project_adds_domains_and_they_go_before_the_known():
    own = {"corporate": Provider(["gmail.com"]), "google": Provider(["mill.example"])}

    found = Destinations(own)

    assert found.of_address("ada@gmail.com") == "corporate"
    assert found.of_address("ada@mill.example") == "google"


def test_no_domain_is_of_two_providers():
    domains = [domain for each in providers().values() for domain in each.domains]
    servers = [server for each in providers().values() for server in each.mx]

    assert len(domains) == len(set(domains)) > 100
    assert len(servers) == len(set(servers)) > 50


def test_without_a_file_there_is_the_relay_of_the_settings_and_no_limit(settings: Settings):
    routes = load_routes(settings, brand="mill")

    assert [(way.name, way.relay.host, way.relay.port) for way in routes.ways] == [
        ("default", "mx.shop.example", 2500)
    ]
    assert routes.rate.is_open


def test_a_brand_has_its_own_relays_or_else_those_of_everybody(settings: Settings, monkeypatch):
    monkeypatch.setenv("LETTERMILL_RELAY_PASSWORD_MAIN", "sesame")
    write(
        settings,
        """
rate: 50
relays:
  main: {host: smtp.relay.example, username: us, rate: 40, daily: 10000, connections: 12}
  spare: {host: spare.relay.example, tls: implicit, port: 465}
  own: {host: own.relay.example, brands: [tea], dsn: success}
destinations:
  google: {rate: 20, connections: 4, per_connection: 9}
  corporate: {domains: [big.example], rate: 1}
""",
    )

    mill, tea = load_routes(settings, brand="mill"), load_routes(settings, brand="tea")

    assert [way.name for way in mill.ways] == ["main", "spare"]
    assert [way.name for way in tea.ways] == ["own"]
    assert mill.ways[0].relay.password == "sesame"
    assert [way.relay.report.value for way in (*mill.ways, *tea.ways)] == [
        "failure",
        "failure",
        "success",
    ]
    assert mill.ways[0].limit == Limit(40, None, 10_000)
    assert mill.rate == Limit(50)
    assert [way.connections for way in mill.ways] == [12, None]
    assert mill.at_once == {"google": 4}
    assert mill.per_connection == {"google": 9}
    assert mill.limits == {"google": Limit(20), "corporate": Limit(1)}
    assert mill.destinations.of_address("ada@big.example") == "corporate"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rate: 0", "rate"),
        ("relays: {main: {port: 25}}", "relays.main.host"),
        ("relays: {main: {host: a, tsl: none}}", "relays.main.tsl"),
        ("destinations: {google: {connections: 0}}", "destinations.google.connections"),
        ("destinations: {gogle: {rate: 1}}", "Did you mean 'google'?"),
        ("relays: {main: {host: a, dsn: always}}", "relays.main.dsn"),
        ("rate: 5\nrelays: {Main: {host: a}}", "relays"),
        ("rate: [", "is not YAML"),
    ],
)
def test_what_is_wrong_with_the_file_is_told_with_its_place(settings, text, told):
    write(settings, text)

    with pytest.raises(CampaignInvalid) as refused:
        load_routes(settings, brand="mill")

    assert told in str(refused.value)
