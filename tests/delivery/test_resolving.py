"""Who is in doubt is settled by evidence, a word or a policy; a second copy is never silent, and only one."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
import yaml

from pipelines.campaigns.bundle import load_current, save
from pipelines.campaigns.kinds import InDoubt
from pipelines.clock import FrozenClock
from pipelines.delivery import control, sink
from pipelines.delivery.carriers import keep
from pipelines.delivery.due import due
from pipelines.delivery.evidence import Log
from pipelines.delivery.ledger import Ledger, moment
from pipelines.delivery.lock import CampaignLock
from pipelines.delivery.overview import status, unaccounted, why
from pipelines.delivery.pausing import paused
from pipelines.delivery.relay import Relay
from pipelines.delivery.relay_log import LAG, Dating
from pipelines.delivery.resolving import Decision, Resolved, resolve
from pipelines.delivery.routes import Way
from pipelines.delivery.sender import SendResult
from pipelines.delivery.sending import send_campaign
from pipelines.delivery.states import Source, State
from pipelines.demo.prepare import Demo
from pipelines.engagement.events import Event, frame
from pipelines.errors import LedgerRefused, SendHeld
from pipelines.reporting.campaign_report import build
from pipelines.reporting.wording import notes
from pipelines.schema import ENGAGEMENT_EVENTS
from pipelines.settings import DeliveryMode, HomeKind, Settings, make_home
from pipelines.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from conftest import Copied

pytestmark = pytest.mark.slow
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
# Three connections end after the dot with nothing kept, two with the message kept.
LOST, KEPT = 3, 2
DROPS = [
    {"stage": "dot", "nth": 20, "times": LOST, "reply": ""},
    {"stage": "kept", "nth": 60, "times": KEPT, "reply": ""},
]


@dataclass(frozen=True)
class Doubted:
    """A shop whose mail goes to a relay that is none of its own, and five of it are in doubt."""

    demo: Demo
    relay: Path

    @property
    def key(self) -> str:
        return self.demo.campaign

    @property
    def space(self) -> Workspace:
        return self.at(timedelta())

    def at(self, later: timedelta) -> Workspace:
        changes = {"delivery_mode": DeliveryMode.REDIRECT, "redirect_to": "qa@mill.example"}
        settings = self.demo.settings.model_copy(update=changes)
        now = open_workspace(settings)
        return now if not later else open_workspace(settings, FrozenClock(now.clock.now() + later))

    def send(self, *, script: Path | None = None, later: timedelta = timedelta()) -> SendResult:
        home = make_home(self.relay, kind=HomeKind.DEVELOPMENT, at=NOON)
        with sink.running(home, Settings(home=home.root), script=script) as (_, port):
            relay = {"host": "127.0.0.1", "port": port, "tls": "none"}
            path = self.space.project / "assets/delivery.yaml"
            path.write_text(yaml.safe_dump({"relays": {"main": relay}}))
            return send_campaign(self.key, self.at(later))

    def kept(self) -> Counter[str]:
        """How often the relay has each Message-ID."""
        paths = (self.relay / "sink/new").glob("*")
        parsed = (BytesHeaderParser().parsebytes(path.read_bytes()) for path in paths)
        return Counter(str(each["Message-ID"]) for each in parsed)

    def rows(self, state: State) -> list[dict[str, object]]:
        ledger = Ledger(self.demo.home.ledgers / f"{self.key}.sqlite")
        try:
            return ledger.rows(state)
        finally:
            ledger.close()

    def policy(self, **changes: object) -> None:
        """Approve it with another policy, as if it had been from the first."""
        bundle = load_current(self.key, self.demo.home.approvals)
        assert bundle is not None
        campaign = bundle.campaign.model_copy(update=changes)
        amends = bundle.versions
        changed = bundle.model_copy(update={"campaign": campaign, "amends": amends})
        save(changed, self.demo.home.approvals)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        ledger = Ledger(self.demo.home.ledgers / f"{self.key}.sqlite")
        try:
            yield ledger
        finally:
            ledger.close()

    def arrived(self) -> set[int]:
        """Those in doubt whose message the relay has."""
        kept = self.kept()
        return {
            int(str(row["contact_id"]))
            for row in self.rows(State.IN_DOUBT)
            if row["message_id"] in kept
        }

    def log(self, path: Path, *, leave_out: frozenset[str] = frozenset()) -> Log:
        """The log that the relay's Postfix would have written of what it has."""
        with self.ledger() as ledger:
            times = {row["message_id"]: moment(int(row["settled_at"])) for row in ledger.rows()}
        lines = [(min(times.values()) - LAG, "postfix/anvil[1]: statistics: none")]
        for number, name in enumerate(sorted(self.kept().keys() - leave_out)):
            queue, at = f"4Xyz{number:06d}", times[name]
            lines.append((at, f"postfix/cleanup[2]: {queue}: message-id={name}"))
            lines.append((at, f"postfix/qmgr[3]: {queue}: removed"))
        lines.append((max(times.values()) + LAG * 2, "postfix/anvil[1]: statistics: none"))
        text = "".join(f"{at.isoformat()} relay {said}\n" for at, said in sorted(lines))
        path.write_text(text)
        return Log((path,), Dating(self.space.clock.now()))


@pytest.fixture(scope="module")
def _doubted(another: Copied, tmp_path_factory: pytest.TempPathFactory) -> Doubted:
    folder = tmp_path_factory.mktemp("doubted")
    script = folder / "script.json"
    script.write_text(json.dumps(DROPS))
    found = Doubted(another(folder / "shop"), folder / "relay")
    result = found.send(script=script)
    assert result.counts == {"accepted": result.audience - LOST - KEPT, "in_doubt": LOST + KEPT}
    return found


@pytest.fixture
def doubted(another: Copied, _doubted: Doubted, tmp_path: Path) -> Doubted:
    shutil.copytree(_doubted.relay, tmp_path / "relay")
    return Doubted(another(tmp_path / "shop", _doubted.demo), tmp_path / "relay")


def event(who: int, kind: str, campaign: str) -> pl.DataFrame:
    return frame(
        [
            Event(
                event_id=f"{kind}{who}",
                kind=kind,
                occurred_at=NOON,
                campaign=campaign,
                contact_id=who,
                link=None,
                detail=None,
                is_machine=kind == "open",
                verdict="person",
                rule_version=1,
                user_agent=None,
                network=None,
                log_partition="edge",
                log_offset=who,
            )
        ]
    )


def settled(found: Resolved) -> dict[tuple[str, str], int]:
    return {(state.value, source.value): count for (state, source), count in found.settled.items()}


def test_whatever_somebody_did_with_it_proves_that_they_got_it(doubted: Doubted):
    arrived = sorted(doubted.arrived())
    for who, kind in zip(arrived, ("open", "delivery"), strict=True):
        doubted.space.lake.append(ENGAGEMENT_EVENTS, event(who, kind, doubted.key))
    stranger = next(
        iter({int(str(r["contact_id"])) for r in doubted.rows(State.IN_DOUBT)} - {*arrived})
    )
    doubted.space.lake.append(ENGAGEMENT_EVENTS, event(stranger, "click", "another"))

    found = resolve(doubted.key, doubted.space)

    assert settled(found) == {("confirmed_sent", "event"): KEPT}
    assert found.in_doubt == LOST
    assert {int(str(row["contact_id"])) for row in doubted.rows(State.CONFIRMED_SENT)} == set(
        arrived
    )
    told = "\n".join(why(doubted.key, arrived[0], doubted.space))
    assert "was in doubt: confirmed sent by an event (open)" in told
    assert ", by relay main\n" in told


def test_a_relay_s_whole_log_settles_everybody_and_who_got_nothing_is_sent_to(
    doubted: Doubted, tmp_path: Path
):
    log = doubted.log(tmp_path / "mail.log")

    found = resolve(doubted.key, doubted.space, log=log)
    ended = doubted.send()

    assert settled(found) == {
        ("confirmed_sent", "relay_log"): KEPT,
        ("confirmed_unsent", "relay_log"): LOST,
    }
    assert ended.counts == {"accepted": ended.audience - KEPT, "confirmed_sent": KEPT}
    assert set(doubted.kept().values()) == {1}
    assert len(doubted.kept()) == ended.audience


def test_of_whom_a_log_says_too_little_nobody_is_taken_for_unsent(doubted: Doubted, tmp_path: Path):
    whole = doubted.log(tmp_path / "whole.log").paths[0].read_text().splitlines(keepends=True)
    with doubted.ledger() as ledger:
        known = ledger.rows(State.ACCEPTED)
    cut, other = tmp_path / "cut.log", tmp_path / "other.log"
    cut.write_text("".join(whole[:-1]))
    missing = frozenset(str(row["message_id"]) for row in known)

    too_short = resolve(doubted.key, doubted.space, log=Log((cut,), Dating(NOON)))
    of_another = resolve(doubted.key, doubted.space, log=doubted.log(other, leave_out=missing))

    assert settled(too_short) == {("confirmed_sent", "relay_log"): KEPT}
    assert settled(of_another) == {}
    assert "or there was another relay" in of_another.flaws[0]
    assert of_another.in_doubt == LOST


def test_a_log_without_a_message_of_the_campaign_proves_nobody_unsent(
    doubted: Doubted, tmp_path: Path
):
    # Those accepted came after the doubts, by another relay: none stands beside those in doubt.
    with doubted.ledger() as ledger, ledger.transaction() as db:
        db.execute("update sends set settled_at = settled_at + 600000000 where state = 'accepted'")
        db.execute("update sends set settled_at = claimed_at + 1 where state = 'in_doubt'")
    log = doubted.log(tmp_path / "mail.log", leave_out=frozenset(doubted.kept()))

    found = resolve(doubted.key, doubted.space, log=log)

    assert settled(found) == {}
    assert "may be another relay's" in found.flaws[0]


def test_where_a_campaign_went_by_two_relays_neither_s_log_proves_anybody_unsent(
    doubted: Doubted, tmp_path: Path
):
    with doubted.ledger() as ledger:
        keep(ledger, ledger.epoch, Way("spare", Relay("spare.example", 25)))
        who = int(str(ledger.rows(State.IN_DOUBT)[0]["contact_id"]))
    log = doubted.log(tmp_path / "mail.log")

    found = resolve(doubted.key, doubted.space, log=log)

    assert settled(found) == {("confirmed_sent", "relay_log"): KEPT}
    assert found.flaws == ("the campaign went by 2 relays, and nobody knows which had whom",)
    assert ", by relay main or spare" in "\n".join(why(doubted.key, who, doubted.space))


def test_a_log_whose_clock_is_elsewhere_proves_nobody_unsent(doubted: Doubted, tmp_path: Path):
    log = doubted.log(tmp_path / "mail.log")
    path = log.paths[0]
    ahead = (line.partition(" ") for line in path.read_text().splitlines(keepends=True))
    hour = timedelta(hours=1)
    path.write_text(
        "".join(
            f"{datetime.fromisoformat(at) + hour:%b %d %H:%M:%S} {said}" for at, _, said in ahead
        )
    )

    found = resolve(doubted.key, doubted.space, log=log)

    assert settled(found) == {("confirmed_sent", "relay_log"): KEPT}
    assert "--zone" in found.flaws[0]


def test_evidence_that_it_arrived_is_believed_over_a_proof_that_it_did_not(
    doubted: Doubted, tmp_path: Path
):
    resolve(doubted.key, doubted.space, log=doubted.log(tmp_path / "mail.log"))
    late = int(str(doubted.rows(State.CONFIRMED_UNSENT)[0]["contact_id"]))
    doubted.space.lake.append(ENGAGEMENT_EVENTS, event(late, "click", doubted.key))

    resolve(doubted.key, doubted.space)
    ended = doubted.send()

    assert ended.counts["confirmed_sent"] == KEPT + 1
    assert ended.sent_this_run == LOST - 1


def test_a_person_may_let_them_have_a_second_copy_once_and_it_is_told_everywhere(doubted: Doubted):
    before = doubted.kept()
    ines, space = Decision(State.WAIVED_RESEND, "Ines"), doubted.space

    found = resolve(doubted.key, space, decision=ines)
    waiting = status(doubted.key, space)
    ended = doubted.send()

    assert settled(found) == {("waived_resend", "person"): LOST + KEPT}
    assert (waiting.counts["waived_resend"], waiting.resent) == (LOST + KEPT, LOST + KEPT)
    assert ended.counts == {"accepted": ended.audience}
    twice = {name for name, count in doubted.kept().items() if count == 2}
    assert len(twice) == KEPT
    assert twice <= before.keys()
    assert status(doubted.key, space).resent == LOST + KEPT
    assert unaccounted(doubted.key, space) == 0
    report = build(doubted.key, lake=space.lake, home=space.home, clock=space.clock)
    assert any("5 people may have got it twice" in note for note in notes(report))
    with doubted.ledger() as ledger:
        (who,) = ledger.ask("select min(contact_id) from doubts")[0]
    told = "\n".join(why(doubted.key, who, space))
    assert "was in doubt: let have a second copy by a person's word, Ines" in told


def test_nobody_has_more_than_one_second_copy(doubted: Doubted, tmp_path: Path):
    ines = Decision(State.WAIVED_RESEND, "Ines")
    resolve(doubted.key, doubted.space, decision=ines)
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"stage": "dot", "nth": 1, "times": 2, "reply": ""}]))
    doubted.send(script=script)

    again = resolve(
        doubted.key, doubted.space, log=doubted.log(tmp_path / "mail.log"), decision=ines
    )
    ended = doubted.send()

    # Of a second copy that was lost nothing is known of the first; where the relay has it, it is known.
    assert again.counts["confirmed_unsent"] == again.counts.get("waived_resend", 0) == 0
    assert ended.sent_this_run == 0
    assert max(doubted.kept().values()) == 2


def test_whom_a_person_leaves_at_that_is_never_sent_to(doubted: Doubted):
    resolve(doubted.key, doubted.space, decision=Decision(State.WAIVED_SKIP, "Ines"))

    ended = doubted.send()

    assert ended.sent_this_run == 0
    assert ended.counts["waived_skip"] == LOST + KEPT


def test_whom_a_cancelled_second_copy_would_have_gone_to_stays_in_doubt(doubted: Doubted):
    resolve(doubted.key, doubted.space, decision=Decision(State.WAIVED_RESEND, "Ines"))

    count = control.cancel(doubted.key, doubted.space, by="Ines", why="enough")

    assert count == 0
    assert len(doubted.rows(State.WAIVED_SKIP)) == LOST + KEPT


def test_skip_leaves_them_in_doubt_however_long_it_takes(doubted: Doubted):
    ended = doubted.send(later=timedelta(hours=1))

    assert ended.sent_this_run == 0
    assert ended.counts["in_doubt"] == LOST + KEPT
    assert [each.start for each in due(doubted.at(timedelta(days=1)))] == [False]


def test_ask_pauses_when_it_is_over_and_an_answer_lets_it_go_on(doubted: Doubted):
    doubted.policy(in_doubt=InDoubt.ASK)

    ended = doubted.send()

    assert ended.paused is not None
    assert "5 people are in doubt" in ended.paused.why
    resolve(doubted.key, doubted.space)
    assert paused(doubted.space.home.ledgers, doubted.key) is not None
    resolve(doubted.key, doubted.space, decision=Decision(State.WAIVED_SKIP, "Ines"))
    assert paused(doubted.space.home.ledgers, doubted.key) is None
    assert doubted.send().paused is None


def test_an_answer_ends_nobody_else_s_pause(doubted: Doubted):
    control.pause(doubted.key, doubted.space, by="Tom", why="the price is wrong")

    resolve(doubted.key, doubted.space, decision=Decision(State.WAIVED_SKIP, "Ines"))

    assert paused(doubted.space.home.ledgers, doubted.key) is not None


def test_resend_waits_for_its_time_and_sends_each_a_second_copy_by_itself(doubted: Doubted):
    doubted.policy(in_doubt=InDoubt.RESEND, resend_after=timedelta(hours=6))
    starts = {
        hours: [each.start for each in due(doubted.at(timedelta(hours=hours)))]
        for hours in (1, 5, 7, 9)
    }

    early = doubted.send(later=timedelta(hours=1))
    on_time = doubted.send(later=timedelta(hours=7))

    # Nine hours on, nobody was there to start it, and an overdue campaign does not start by itself.
    assert starts == {1: [False], 5: [False], 7: [True], 9: [False]}
    assert early.sent_this_run == 0
    assert on_time.counts == {"accepted": on_time.audience}
    assert status(doubted.key, doubted.space).resent == LOST + KEPT
    with doubted.ledger() as ledger:
        assert {row[0] for row in ledger.ask("select source from doubts")} == {Source.POLICY}


def test_an_overdue_campaign_with_people_to_begin_does_not_start_for_those_in_doubt(
    doubted: Doubted,
):
    doubted.policy(in_doubt=InDoubt.RESEND, resend_after=timedelta(hours=6))
    with doubted.ledger() as ledger, ledger.transaction() as db:
        db.execute("delete from sends where state = 'accepted' and recipient > 100")
    later = doubted.at(timedelta(hours=7))

    assert [each.start for each in due(later)] == [False]
    with pytest.raises(SendHeld, match="overdue"):
        doubted.send(later=timedelta(hours=7))


def test_a_lost_claim_of_a_second_try_is_found_by_its_mark(doubted: Doubted, tmp_path: Path):
    resolve(doubted.key, doubted.space, log=doubted.log(tmp_path / "mail.log"))
    ledger_file = doubted.demo.home.ledgers / f"{doubted.key}.sqlite"
    before = {path.name: path.read_bytes() for path in ledger_file.parent.glob("*.sqlite*")}
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"stage": "kept", "nth": 1, "times": LOST, "reply": ""}]))
    doubted.send(script=script)
    with doubted.ledger() as ledger:
        epoch = ledger.epoch
    for path in ledger_file.parent.glob("*.sqlite*"):
        path.unlink()
    for name, content in before.items():  # as a torn log leaves it: the later commits are gone
        (ledger_file.parent / name).write_bytes(content)
    with doubted.ledger() as ledger:
        ledger.set_meta(epoch=str(epoch))

    with pytest.raises(LedgerRefused, match="has lost 3 claims"):
        doubted.send()


def test_a_send_that_is_under_way_is_not_resolved(doubted: Doubted):
    lock = CampaignLock(doubted.demo.home.ledgers / f"{doubted.key}.lock")
    with pytest.raises(LedgerRefused, match="is being sent"):
        resolve(doubted.key, doubted.space)
    lock.release()
