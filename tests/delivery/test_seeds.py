"""Seeds see a campaign as it goes out: once, marked, and in none of its numbers."""

from __future__ import annotations

import json
from contextlib import closing
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path

import pytest
import yaml

from bench import faults_server
from bench.faults_sink import Act, Speaker
from pipelines.contacts.address import address_hash, normalise
from pipelines.delivery import approval, sink
from pipelines.delivery.ledger import Ledger, micros
from pipelines.delivery.overview import status, unaccounted
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.delivery.routes import FILE
from pipelines.delivery.seeds import BEGIN, BEGUN, at_start
from pipelines.delivery.sending import send_campaign
from pipelines.demo.prepare import Demo
from pipelines.settings import DeliveryMode
from pipelines.workspace import open_workspace

pytestmark = pytest.mark.slow
INES, TOM = "ines@seeds.example", "tom@seeds.example"


@pytest.fixture
def seeded(demo: Demo) -> Demo:
    """A shop whose campaign has a seed, and whose brand has another and the same once more."""
    space = demo.workspace
    campaign = space.project / f"assets/campaigns/{demo.campaign}/campaign.yaml"
    brand = space.project / "assets/templates/brands/mill.yaml"
    for path, seeds in ((campaign, [INES]), (brand, [TOM, INES.upper()])):
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "seeds": seeds}))
    approval.approve(demo.campaign, by="test", workspace=space)
    approval.freeze_audience(demo.campaign, space)
    return demo


def arrived(demo: Demo) -> list[Message]:
    """What came to a seed."""
    paths = (demo.home.sink / "new").glob("*")
    mails = [message_from_bytes(path.read_bytes(), policy=default) for path in paths]
    return [mail for mail in mails if "@seeds.example" in str(mail["Delivered-To"])]


def test_each_gets_every_variant_once_and_is_in_no_number(seeded: Demo):
    key, space = seeded.campaign, seeded.workspace

    first = send_campaign(key, space)
    again = send_campaign(key, space)

    mails = arrived(seeded)
    variants = approval.approved(key, space).campaign.variants
    assert len(mails) == 2 * len(variants) == len({mail["Message-ID"] for mail in mails})
    assert {str(mail["Delivered-To"]) for mail in mails} == {INES, TOM}
    assert all(str(mail["Subject"]).startswith("[Seed] ") for mail in mails)
    assert first.counts == again.counts == {"accepted": first.audience}
    assert unaccounted(key, space) == 0
    assert status(key, space).seeds == {"accepted": len(mails)}
    assert not any("/c/" in mail.get_body(("html",)).get_content() for mail in mails)  # type: ignore[attr-defined]


def test_one_that_was_begun_when_a_run_died_is_not_begun_again(seeded: Demo):
    key, space = seeded.campaign, seeded.workspace
    name = address_hash(normalise(INES), space.home.key("addresses"))
    with (
        closing(Ledger(space.home.ledgers / f"{key}.sqlite")) as ledger,
        ledger.transaction() as db,
    ):
        for variant in approval.approved(key, space).message["subjects"]:
            db.execute(BEGIN, (name, variant, BEGUN, micros(space.clock.now())))

    send_campaign(key, space)

    assert {str(mail["Delivered-To"]) for mail in arrived(seeded)} == {TOM}
    assert status(key, space).seeds["begun"] == len(arrived(seeded))


def test_whoever_left_gets_no_seed_and_the_send_goes_on(seeded: Demo):
    key, space = seeded.campaign, seeded.workspace
    hashed = address_hash(normalise(INES), space.home.key("addresses"))
    now = space.clock.now()
    PeopleStore(space.home.people).suppress(
        [Suppression(hashed, None, Scope.ALL, "", Reason.UNSUBSCRIBED, now, "test")]
    )

    result = send_campaign(key, space)

    assert result.counts == {"accepted": result.audience}
    assert {str(mail["Delivered-To"]) for mail in arrived(seeded)} == {TOM}
    assert set(status(key, space).seeds) == {"accepted", "failed"}


def test_what_the_relay_says_of_a_seed_holds_nobody_up(seeded: Demo, tmp_path: Path):
    script = tmp_path / "script.json"
    refused = {"stage": "rcpt", "nth": 1, "times": 1, "reply": "550 5.1.1 no such user"}
    dropped = {"stage": "dot", "nth": 1, "times": 1, "reply": ""}
    script.write_text(json.dumps([refused, dropped]))

    with sink.running(seeded.home, seeded.settings, script=script):
        result = send_campaign(seeded.campaign, seeded.workspace)

    assert result.counts == {"accepted": result.audience}
    assert status(seeded.campaign, seeded.workspace).seeds["failed"] == 2
    assert PeopleStore(seeded.home.people).export().filter(origin="smtp").is_empty()


def test_a_seed_that_is_on_no_allowlist_gets_nothing(seeded: Demo):
    changes = {"delivery_mode": DeliveryMode.ALLOWLIST, "allowlist": ["@mill.example"]}
    space = open_workspace(seeded.settings.model_copy(update=changes))
    begin = at_start(approval.approved(seeded.campaign, space), space)
    assert begin is not None

    with closing(Ledger(space.home.ledgers / "other.sqlite")) as ledger:
        begin(ledger)
        told = ledger.ask("select distinct state, told from seeds")

    assert told == [("failed", "this address is not on the allowlist")]


def test_seeds_keep_nobody_waiting_for_long(seeded: Demo):
    space = seeded.workspace
    begin = at_start(approval.approved(seeded.campaign, space), space, seconds=0)
    assert begin is not None

    with closing(Ledger(space.home.ledgers / "other.sqlite")) as ledger:
        begin(ledger)
        told = ledger.ask("select distinct state, told from seeds")

    assert told == [("failed", "the relay took too long over those before it")]
    assert arrived(seeded) == []


def test_a_relay_that_takes_its_time_over_a_seed_keeps_nobody_waiting_for_long(seeded: Demo):
    changes = {"delivery_mode": DeliveryMode.REDIRECT, "redirect_to": "qa@mill.example"}
    space = open_workspace(seeded.settings.model_copy(update=changes))

    def slow(stage: str, _session: Speaker) -> Act | None:
        return Act(delay_seconds=5.0) if stage == "dot" else None

    with (
        faults_server.running(decide=slow) as server,
        closing(Ledger(space.home.ledgers / "other.sqlite")) as ledger,
    ):
        relay = {"host": "127.0.0.1", "port": server.port, "tls": "none"}
        (space.project / FILE).write_text(yaml.safe_dump({"relays": {"main": relay}}))
        begin = at_start(approval.approved(seeded.campaign, space), space, seconds=1.0)
        assert begin is not None
        begin(ledger)
        told = ledger.ask("select distinct state, told from seeds")

    assert set(told) == {
        ("failed", "the connection ended; it may have arrived"),
        ("failed", "the relay took too long over those before it"),
    }
