"""Who really gets the mail in each mode, and everything that keeps mode live from sending."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from pipelines.delivery import sink
from pipelines.delivery.modes import LiveFacts, Routing, check_mode, is_reserved, live_facts
from pipelines.delivery.sending import send_campaign
from pipelines.demo.prepare import Demo
from pipelines.errors import SendHeld
from pipelines.settings import (
    IDENTITY_FILE,
    DeliveryMode,
    Environment,
    Home,
    HomeKind,
    Settings,
    make_home,
)
from pipelines.workspace import Workspace, open_workspace

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
URL = "https://mail.mill.example"
REAL = LiveFacts(reserved=0, fictitious=0)


@dataclass(frozen=True)
class Outside:
    """An SMTP server that is not the home's own, and what it received."""

    folder: Path
    host: str
    port: int

    def recipients(self) -> Counter[str]:
        found = (
            re.findall(rb"^Delivered-To: (.*)\r$", p.read_bytes(), re.M)
            for p in self.folder.iterdir()
        )
        return Counter(address.decode() for addresses in found for address in addresses)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    home = make_home(tmp_path / "outside", kind=HomeKind.DEVELOPMENT, at=NOON)
    with sink.running(home, Settings(home=home.root)) as where:
        yield Outside(home.sink / "new", *where)


def sending_to(outside: Outside, demo: Demo, **settings: Any) -> Workspace:
    relay = {"relay_host": outside.host, "relay_port": outside.port, "relay_tls": "none"}
    return open_workspace(demo.settings.model_copy(update={**relay, **settings}))


def mailed(demo: Demo) -> pl.DataFrame:
    lake = demo.workspace.lake
    audience = lake.read("campaigns.audience").filter(decision="mail")
    return audience.join(lake.read("core.contacts"), on="contact_id").sort("recipient").collect()


@pytest.mark.slow
def test_mode_redirect_sends_everybodys_mail_to_one_address(demo: Demo, outside: Outside):
    space = sending_to(
        outside, demo, delivery_mode=DeliveryMode.REDIRECT, redirect_to="qa@mill.example"
    )

    result = send_campaign(demo.campaign, space)

    assert outside.recipients() == {"qa@mill.example": mailed(demo).height}
    assert result.counts == {"accepted": mailed(demo).height}


@pytest.mark.slow
def test_mode_allowlist_mails_who_is_listed_and_withholds_the_rest(demo: Demo, outside: Outside):
    listed = mailed(demo)["address"].to_list()[3:5]
    space = sending_to(outside, demo, delivery_mode=DeliveryMode.ALLOWLIST, allowlist=listed)

    result = send_campaign(demo.campaign, space)

    assert outside.recipients() == dict.fromkeys(listed, 1)
    assert result.counts == {"accepted": 2, "withheld": mailed(demo).height - 2}


@pytest.mark.slow
def test_mode_live_mails_nobody_of_a_demo(demo: Demo, outside: Outside):
    space = sending_to(outside, demo, delivery_mode=DeliveryMode.LIVE)

    with pytest.raises(SendHeld, match=r"made for production(.|\n)*reserved domains"):
        send_campaign(demo.campaign, space)

    assert outside.recipients() == {}


def test_a_demos_whole_audience_is_at_reserved_domains_and_its_consent_is_made_up(shop: Demo):
    everybody = mailed(shop).height

    assert live_facts(shop.workspace.lake, shop.campaign) == LiveFacts(everybody, everybody)


@pytest.mark.parametrize(
    ("entry", "address", "target"),
    [
        ("ada@shop.test", "ada@shop.test", "ada@shop.test"),
        ("ADA@shop.test", "Ada@Shop.test", "Ada@Shop.test"),
        ("@shop.test", "bert@shop.test", "bert@shop.test"),
        ("@shop.test", "bert@old.shop.test", None),
        ("@shop.test", "bert@myshop.test", None),
        ("shop.test", "bert@shop.test", None),
        ("ada@shop.test", "bert@shop.test", None),
    ],
)
def test_an_allowlist_names_whole_addresses_or_whole_domains(
    entry: str, address: str, target: str | None
):
    assert Routing(DeliveryMode.ALLOWLIST, allowlist=(entry,)).target(address) == target


@hypothesis(deadline=None)
@given(address=st.emails())
def test_mode_redirect_never_names_the_recipient(address: str):
    assert Routing(DeliveryMode.REDIRECT, "qa@mill.example").target(address) == "qa@mill.example"


@pytest.mark.parametrize(
    ("mode", "setting"),
    [(DeliveryMode.REDIRECT, "LETTERMILL_REDIRECT_TO"), (DeliveryMode.ALLOWLIST, "LETTERMILL_ALLOWLIST")],
)  # fmt: skip
def test_a_mode_without_its_addresses_is_held(home: Home, mode: DeliveryMode, setting: str):
    with pytest.raises(SendHeld, match=setting):
        check_mode(
            Settings(home=home.root, delivery_mode=mode), home, probe=lambda _: None, facts=REAL
        )


@pytest.mark.parametrize(
    "address",
    ["a@shop.example", "a@EXAMPLE.com", "a@mail.example.org", "a@b.test", "a@b.invalid", "a@localhost",
     "a@b.local", "a@b.onion", "a@b.test."],
)  # fmt: skip
def test_a_domain_that_stands_for_nobody_is_reserved(address: str):
    assert is_reserved(address)


@pytest.mark.parametrize("address", ["a@example.shop", "a@myexample.com", "a@contest.fr"])
def test_a_domain_that_only_looks_like_it_is_not_reserved(address: str):
    assert not is_reserved(address)


@dataclass(frozen=True)
class Live:
    """Everything mode live looks at, right unless said otherwise."""

    environment: Environment = Environment.PRODUCTION
    kind: HomeKind = HomeKind.PRODUCTION
    elsewhere: bool = False
    url: str = URL
    answers: bool = True
    facts: LiveFacts = REAL

    def problems(self, root: Path) -> list[str]:
        home = make_home(root, kind=self.kind, at=NOON)
        identity = json.loads((home.root / IDENTITY_FILE).read_text())
        if self.elsewhere:
            text = json.dumps({**identity, "machine_id": "another"})
            (home.root / IDENTITY_FILE).write_text(text)
        settings = Settings(
            home=root,
            environment=self.environment,
            delivery_mode=DeliveryMode.LIVE,
            public_url=self.url,
        )
        found = identity["home_id"] if self.answers else None
        try:
            check_mode(settings, home, probe=lambda _: found, facts=self.facts)
        except SendHeld as held:
            return [f"{problem.where} {problem.what}" for problem in held.problems]
        return []


REASONS = {
    "LETTERMILL_ENVIRONMENT is not 'production'": {"environment": Environment.DEVELOPMENT},
    "home was not made for production: lettermill init": {"kind": HomeKind.DEMO},
    "home was made on another machine": {"elsewhere": True},
    "LETTERMILL_PUBLIC_URL is not https": {"url": "http://mail.mill.example"},
    "LETTERMILL_PUBLIC_URL does not answer with this home's id": {"answers": False},
    "audience 3 recipients are at reserved domains": {"facts": LiveFacts(3, 0)},
    "audience 4 recipients' consent is fictitious": {"facts": LiveFacts(0, 4)},
}


def test_mode_live_sends_when_nothing_stands_in_the_way(tmp_path: Path):
    assert Live().problems(tmp_path / "home") == []


@pytest.mark.parametrize(("reason", "wrong"), REASONS.items(), ids=list(REASONS))
def test_each_reason_alone_keeps_mode_live_from_sending(
    tmp_path: Path, reason: str, wrong: dict[str, Any]
):
    assert Live(**wrong).problems(tmp_path / "home") == [reason]


@pytest.mark.parametrize("answered", ["http://mail.mill.example", URL])
def test_mode_live_tells_every_reason_at_once(tmp_path: Path, answered: str):
    everything = {name: value for wrong in REASONS.values() for name, value in wrong.items()}
    worst = Live(**{**everything, "url": answered, "facts": LiveFacts(3, 4)})

    told = worst.problems(tmp_path / "home")

    unasked = {reason for reason in REASONS if ("https" if answered == URL else "answer") in reason}
    assert set(told) == set(REASONS) - unasked
