"""Whose servers take the mail of a domain: asked of a real DNS server on loopback, or of none."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
import polars as pl
import pytest
from dns.asyncresolver import Resolver

from pipelines.cli.doctor import examine
from pipelines.clock import FrozenClock
from pipelines.delivery import exchangers
from pipelines.delivery.destinations import OTHER, Destinations
from pipelines.delivery.exchangers import KEPT, KEPT_NONE, Exchangers, ask, knowing, recalled
from pipelines.delivery.relay import Relay
from pipelines.delivery.routes import FILE, Routes, Way, load_routes
from pipelines.schema import AUDIENCE, CONTACTS
from pipelines.settings import DeliveryMode, Home, Settings
from pipelines.workspace import Workspace, open_workspace

SERVERS = {
    "mill.example": ("10 aspmx.l.google.com.", "20 alt1.aspmx.l.google.com."),
    "tea.example": ("20 spare.tea.example.", "0 tea-example.mail.protection.outlook.com."),
    "own.example": ("10 mx.own.example.",),
    "never.example": ("0 .",),
}


@dataclass
class Names:
    """A DNS server. It knows SERVERS, says nothing about `silent` ones, and counts what it is asked."""

    resolver: Resolver
    asked: Counter[str] = field(default_factory=Counter)
    silent: bool = False

    def answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        name = query.question[0].name
        text = name.to_text(omit_final_dot=True)
        self.asked[text] += 1
        if self.silent:
            return None
        reply = dns.message.make_response(query)
        if (records := SERVERS.get(text)) is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        else:
            reply.answer.append(dns.rrset.from_text(name, 300, "IN", "MX", *records))
        return reply.to_wire()


@pytest.fixture
def names() -> Iterator[Names]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        resolver = Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], listening.getsockname()[1]
        found = Names(resolver)

        def serve() -> None:
            while (got := listening.recvfrom(4096))[0] != b"end":
                if (reply := found.answer(got[0])) is not None:
                    listening.sendto(reply, got[1])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield found
        finally:
            listening.sendto(b"end", listening.getsockname())
            thread.join()


@pytest.fixture
def space(home: Home, clock: FrozenClock) -> Workspace:
    """A campaign to six recipients at four domains."""
    workspace = open_workspace(Settings(home=home.root), clock)
    domains = ("mill", "MILL", "tea", "own", "none")
    addresses = [*(f"ada@{each}.example" for each in domains), "ada@gmail.com"]
    contacts = pl.DataFrame({"contact_id": range(6), "address": addresses})
    audience = pl.DataFrame({"contact_id": range(6)}).with_columns(
        campaign=pl.lit("spring"), decision=pl.lit("mail")
    )
    for table, rows in ((CONTACTS, contacts), (AUDIENCE, audience)):
        workspace.lake.append(table, pl.concat([table.empty(), rows], how="diagonal_relaxed"))
    return workspace


ROUTES = Routes((Way("main", Relay("127.0.0.1", 25)),), asks_mx=True)


def test_the_most_preferred_server_of_each_domain_is_told(names: Names):
    found = ask([*SERVERS, "none.example"], resolver=names.resolver)

    assert found == {
        "mill.example": "aspmx.l.google.com",
        "tea.example": "tea-example.mail.protection.outlook.com",
        "own.example": "mx.own.example",
        "never.example": "",
        "none.example": "",
    }


@pytest.mark.parametrize(
    ("server", "destination"),
    [
        ("aspmx.l.google.com", "google"),
        ("ASPMX.L.GOOGLE.COM.", "google"),
        ("tea-example.mail.protection.outlook.com", "microsoft"),
        ("mx1.mail.icloud.com", "apple"),
        ("mta5.am0.yahoodns.net", "yahoo"),
        ("mx.notgoogle.com", OTHER),
        ("google.com.own.example", OTHER),
        ("", OTHER),
    ],
)
def test_a_server_belongs_to_whoever_runs_it(server: str, destination: str):
    assert Destinations().of_server(server) == destination


def test_domains_nobody_knows_are_of_the_destination_that_runs_their_servers(
    space: Workspace, names: Names
):
    found = knowing(ROUTES, "spring", space, resolver=names.resolver).destinations

    told = {each: found.of_address(f"x@{each}") for each in ("mill.example", "TEA.example.")}
    assert told == {"mill.example": "google", "TEA.example.": "microsoft"}
    assert found.of_address("x@own.example") == found.of_address("x@none.example") == OTHER
    # Nobody is asked about a domain that is on a list.
    assert set(names.asked) == {"mill.example", "tea.example", "own.example", "none.example"}


def test_what_was_asked_is_kept_for_a_week_and_a_domain_without_servers_for_a_day(
    space: Workspace, names: Names, clock: FrozenClock
):
    def again() -> list[str]:
        names.asked.clear()
        knowing(ROUTES, "spring", space, resolver=names.resolver)
        return sorted(names.asked)

    again()

    assert again() == []
    clock.at += KEPT_NONE
    assert again() == ["none.example"]
    clock.at += KEPT - KEPT_NONE
    assert again() == ["mill.example", "none.example", "own.example", "tea.example"]


def test_what_is_kept_is_recalled_without_asking(space: Workspace, names: Names):
    knowing(ROUTES, "spring", space, resolver=names.resolver)
    names.asked.clear()

    found = recalled(ROUTES, ["Mill.Example", None, "new.example"], space).destinations

    assert found.of_domain("mill.example") == "google"
    assert found.of_domain("new.example") == OTHER
    assert not names.asked


def test_a_server_that_says_nothing_leaves_every_domain_unknown_and_is_asked_again(
    space: Workspace, names: Names, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exchangers, "EACH_SECONDS", 0.1)
    names.silent = True
    found = knowing(ROUTES, "spring", space, resolver=names.resolver).destinations

    names.silent = False
    later = knowing(ROUTES, "spring", space, resolver=names.resolver).destinations

    assert found.of_domain("mill.example") == OTHER
    assert later.of_domain("mill.example") == "google"


def test_no_more_is_asked_in_vain_than_shows_that_nobody_answers(
    names: Names, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exchangers, "EACH_SECONDS", 0.05)
    names.silent = True

    found = ask([f"d{number}.example" for number in range(2_000)], resolver=names.resolver)

    assert found == {}
    assert len(names.asked) <= exchangers.AT_ONCE + exchangers.IN_VAIN


def test_the_deadline_ends_what_has_no_answer_yet_and_keeps_what_has(names: Names):
    names.silent = True

    assert ask(["mill.example"], resolver=names.resolver, seconds=0.1) == {}


def test_a_machine_that_names_no_server_knows_nothing_and_goes_on(monkeypatch: pytest.MonkeyPatch):
    def none(*_: Any, **__: Any) -> Resolver:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr("dns.asyncresolver.Resolver", none)

    assert ask(["mill.example"]) == {}


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("rate: 5", False),
        ("relays: {main: {host: a}}", False),
        ("destinations: {google: {rate: 1}}", True),
        ("mx: true", True),
        ("mx: false\ndestinations: {google: {rate: 1}}", False),
    ],
)
def test_dns_is_asked_where_destinations_have_limits_unless_it_is_said_otherwise(
    tmp_path: Path, text: str, asks: bool
):
    path = tmp_path / FILE
    path.parent.mkdir()
    path.write_text(text)

    assert load_routes(Settings(project=tmp_path), brand="mill").asks_mx is asks


def test_a_project_names_servers_of_a_destination_of_its_own(tmp_path: Path, space: Workspace):
    path = tmp_path / FILE
    path.parent.mkdir()
    path.write_text("destinations: {house: {mx: [own.example], rate: 1}}")
    Exchangers(space.home.exchangers, space.clock).keep({"shop.example": "mx.own.example"})

    routes = load_routes(Settings(project=tmp_path), brand="mill")

    assert (
        recalled(routes, ["shop.example"], space).destinations.of_domain("shop.example") == "house"
    )


@pytest.mark.parametrize(("silent", "state"), [(False, "fine"), (True, "note")])
def test_doctor_says_whether_dns_answers_where_it_is_asked(
    tmp_path: Path,
    home: Home,
    names: Names,
    silent: bool,
    state: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("dns.asyncresolver.Resolver", lambda: names.resolver)
    monkeypatch.setattr(exchangers, "EACH_SECONDS", 0.1)
    names.silent = silent
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text("mx: true\nrelays: {main: {host: 127.0.0.1, port: 1}}")
    settings = Settings(home=home.root, project=tmp_path, delivery_mode=DeliveryMode.ALLOWLIST)

    found = [each.state for each in examine(settings) if each.what == "destinations"]

    assert found == [state]
