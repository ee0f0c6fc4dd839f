"""Whatever happens to a send, nobody who may have got it is claimed again."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipelines.delivery.claims import Shard, claim
from pipelines.delivery.doubts import Verdict, doubts, settle
from pipelines.delivery.export import export_sends, mailed
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.marks import Mark, Marks
from pipelines.delivery.recovery import TRIED_AGAIN
from pipelines.delivery.replies import Retry
from pipelines.delivery.sending import Consent, send_campaign
from pipelines.delivery.states import TO_RESEND, Candidate, Settlement, Source, State
from pipelines.demo.prepare import Demo
from pipelines.errors import LedgerRefused

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
# Two pairs share an address, as a family does.
EVERYBODY = [Candidate(10 + n, f"hash{h}", n) for n, h in enumerate([0, 0, 1, 2, 3, 4, 5, 5])]
OUTCOMES = {
    State.ACCEPTED: Mark.ACCEPTED, State.DEFERRED: Mark.DEFERRED,
    State.REJECTED: Mark.REJECTED, State.IN_DOUBT: Mark.DOT,
}  # fmt: skip
RECOVERED = {
    **{mark: state for state, mark in OUTCOMES.items()},
    Mark.NONE: State.CLAIMED, Mark.CLAIMED: State.CLAIMED,
}  # fmt: skip


class Sending(RuleBasedStateMachine):
    """A send that dies at any moment, beside a plain memory of what left the house."""

    @initialize()
    def first_run(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name) / "spring.sqlite")
        self.at = NOON
        self.closed: set[str] = set()  # addresses nobody may be claimed for any more
        self.open: dict[int, Candidate] = {}
        self.resent: set[int] = set()  # contacts who were let have a second copy
        self.begin()

    def begin(self) -> None:
        self.marks = Marks(Path(self.folder.name) / "spring.marks", len(EVERYBODY))
        self.epoch = self.ledger.begin_epoch(marks=self.marks, at=self.at)

    @rule(wanted=st.lists(st.sampled_from(EVERYBODY), unique=True, min_size=1))
    def claim(self, wanted: list[Candidate]) -> None:
        taken = self.ledger.claim(wanted, marks=self.marks, epoch=self.epoch, worker=0, at=self.at)

        hashes = [each.address_hash for each in taken]
        assert not self.closed & set(hashes)
        assert len(set(hashes)) == len(hashes)
        assert not {each.address_hash for each in self.open.values()} & set(hashes)
        assert all(self.marks[each.recipient] is Mark.CLAIMED for each in taken)
        self.open |= {each.contact_id: each for each in taken}

    @precondition(lambda self: self.open)
    @rule(data=st.data(), state=st.sampled_from(list(OUTCOMES)))
    def settle(self, data: st.DataObject, state: State) -> None:
        who = data.draw(st.sampled_from(sorted(self.open.values(), key=lambda c: c.contact_id)))
        self.mark(who, OUTCOMES[state])
        retry = Retry.SOON if state is State.DEFERRED else None
        row = Settlement(who.contact_id, state, reply_class="policy", retry=retry)
        self.ledger.settle([row], epoch=self.epoch, at=self.at)
        del self.open[who.contact_id]

    def mark(self, who: Candidate, mark: Mark) -> None:
        self.marks[who.recipient] = mark
        if mark in (Mark.DOT, Mark.ACCEPTED, Mark.REJECTED):
            self.closed.add(who.address_hash)
        else:
            self.closed.discard(who.address_hash)

    @rule(data=st.data(), reboot=st.sampled_from([False, False, True]))
    def die_and_begin_again(self, data: st.DataObject, reboot: bool) -> None:
        for who in self.open.values():
            # None: it died before it had set a mark of its own beyond the claim's.
            if (mark := data.draw(st.sampled_from([None, Mark.DOT, *Mark]))) is not None:
                self.mark(who, mark)
        expected = {
            contact: State.IN_DOUBT if reboot else RECOVERED[self.marks[who.recipient]]
            for contact, who in self.open.items()
        }
        self.marks.close()
        if reboot:
            file = Path(self.folder.name) / "spring.marks"
            file.write_bytes(b"another-boot" + file.read_bytes()[12:])
            self.closed |= {each.address_hash for each in self.open.values()}
        self.open = {}
        self.begin()

        found = {row["contact_id"]: row["state"] for row in self.ledger.rows()}
        assert expected.items() <= found.items()

    @precondition(lambda self: self.open)
    @rule(state=st.sampled_from(State))
    def a_dead_run_speaks_up(self, state: State) -> None:
        before, past = self.ledger.rows(), self.epoch - 1

        self.ledger.settle([Settlement(who, state) for who in self.open], epoch=past, at=self.at)
        with pytest.raises(LedgerRefused, match="a newer run has taken over"):
            self.ledger.claim(EVERYBODY, marks=self.marks, epoch=past, worker=0, at=self.at)

        assert self.ledger.rows() == before

    @rule(sent=st.booleans())
    def evidence_comes_in(self, sent: bool) -> None:
        state = State.CONFIRMED_SENT if sent else State.CONFIRMED_UNSENT
        doubted = self.ledger.rows(State.IN_DOUBT)
        hashes = {row["contact_id"]: row["address_hash"] for row in doubted}
        verdicts = [
            Verdict(each, state, Source.SINK)
            for each in doubts(self.ledger)
            if each.state is State.IN_DOUBT
        ]

        settled = settle(self.ledger, self.marks, verdicts, at=self.at)

        # Of who had a second copy already, nothing proves that they got none.
        open_again = {each.doubt.contact_id for each in verdicts if not each.doubt.was_resent}
        assert settled.total() == (len(doubted) if sent else len(open_again))
        if not sent:
            self.closed -= {hashes[contact] for contact in open_again}

    @rule()
    def somebody_lets_them_have_a_second_copy(self) -> None:
        known = [each for each in doubts(self.ledger) if each.state is State.IN_DOUBT]
        hashes = {row["contact_id"]: row["address_hash"] for row in self.ledger.rows()}
        words = [Verdict(each, State.WAIVED_RESEND, Source.PERSON) for each in known]

        settle(self.ledger, self.marks, words, at=self.at, by="Ines")

        again = [each.contact_id for each in known if not each.was_resent]
        assert not self.resent & set(again)
        self.resent |= set(again)
        self.closed -= {hashes[contact] for contact in again}

    @rule()
    def time_passes(self) -> None:
        self.at += timedelta(minutes=10)

    @rule()
    def give_up(self) -> None:
        # Whom a person lets be tried once more is not given up on before.
        put_off = [row for row in self.ledger.rows(State.DEFERRED) if row["reason"] != TRIED_AGAIN]

        assert self.ledger.expire(at=self.at) == len(put_off)
        self.closed |= {row["address_hash"] for row in put_off}

    @precondition(lambda self: not self.open)
    @rule()
    def somebody_cancels(self) -> None:
        before = self.ledger.counts()

        count = self.ledger.cancel(EVERYBODY, at=self.at)

        after = self.ledger.counts()
        assert after.get(State.CANCELLED, 0) - before.get(State.CANCELLED, 0) == count
        assert not {State.DEFERRED, *TO_RESEND, State.CLAIMED} & set(after)
        self.closed |= {each.address_hash for each in EVERYBODY}

    @precondition(lambda self: not self.open)
    @rule()
    def somebody_asks_for_another_try(self) -> None:
        again = [*self.ledger.rows(State.REJECTED), *self.ledger.rows(State.EXPIRED)]

        assert self.ledger.try_again(["policy"], at=self.at) == len(again)
        assert self.ledger.try_again(["policy"], at=self.at) == 0
        self.closed -= {row["address_hash"] for row in again}

    @invariant()
    def the_counts_add_up_and_no_address_has_two_rows(self) -> None:
        rows = self.ledger.rows()
        assert sum(self.ledger.counts().values()) == len(rows)
        assert len({row["address_hash"] for row in rows}) == len(rows)

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()


Sending.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAnyInterleaving = Sending.TestCase


@pytest.fixture
def fresh(tmp_path: Path) -> tuple[Ledger, Marks, int]:
    ledger = Ledger(tmp_path / "spring.sqlite")
    marks = Marks(tmp_path / "spring.marks", len(EVERYBODY))
    return ledger, marks, ledger.begin_epoch(marks=marks, at=NOON)


def test_of_two_contacts_with_one_address_the_first_is_claimed(fresh: tuple[Ledger, Marks, int]):
    ledger, marks, epoch = fresh

    taken = ledger.claim(EVERYBODY[:3], marks=marks, epoch=epoch, worker=0, at=NOON)

    assert [each.contact_id for each in taken] == [10, 12]


def test_a_doubt_spares_who_is_proven_and_stops_everybody_else(fresh: tuple[Ledger, Marks, int]):
    ledger, marks, epoch = fresh
    ledger.claim(EVERYBODY[2:5], marks=marks, epoch=epoch, worker=0, at=NOON)
    ended = [Settlement(12, State.ACCEPTED), Settlement(13, State.DEFERRED)]
    ledger.settle(ended, epoch=epoch, at=NOON)

    ledger.doubt(EVERYBODY, at=NOON)
    taken = ledger.claim(EVERYBODY, marks=marks, epoch=epoch, worker=0, at=NOON)

    assert taken == []
    assert ledger.counts() == {"accepted": 1, "in_doubt": 5, "withheld": 2}


def path_of(demo: Demo) -> Path:
    return demo.home.ledgers / f"{demo.campaign}.sqlite"


def lose(demo: Demo) -> None:
    for path in demo.home.ledgers.glob("*.sqlite*"):
        path.unlink()


def edit(demo: Demo, script: str) -> None:
    db = sqlite3.connect(path_of(demo))
    db.executescript(script)
    db.close()


def kept(demo: Demo) -> int:
    return len(list((demo.home.sink / "new").iterdir()))


def restore_an_earlier_copy(demo: Demo) -> None:
    shutil.copy(path_of(demo), demo.home.root / "copy")
    send_campaign(demo.campaign, demo.workspace)
    lose(demo)
    shutil.copy(demo.home.root / "copy", path_of(demo))


def made_elsewhere(name: str) -> Any:
    return lambda demo: edit(demo, f"update meta set value = 'elsewhere' where name = '{name}'")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lose, r"is missing; the lake knows 1 earlier starts"),
        (restore_an_earlier_copy, r"is older than the lake knows: start 1, not 2"),
        (made_elsewhere("home_id"), r"home_id +is another one"),
        (made_elsewhere("machine_id"), r"machine_id +is another one"),
        (made_elsewhere("campaign"), r"campaign +is another one"),
    ],
    ids=["missing", "older", "another home's", "another machine's", "another campaign's"],
)
def test_a_ledger_that_cannot_be_trusted_mails_nobody(sent: Demo, harm: Any, why: str):
    harm(sent)
    before = kept(sent)

    for _ in range(2):
        with pytest.raises(LedgerRefused, match=why):
            send_campaign(sent.campaign, sent.workspace)

    assert kept(sent) == before


@pytest.mark.slow
def test_who_accepts_a_lost_ledger_puts_everybody_in_doubt(sent: Demo):
    everybody = kept(sent)
    lose(sent)

    result = send_campaign(sent.campaign, sent.workspace, consent=Consent(ledger=True))

    assert (result.counts, result.epoch) == ({"in_doubt": everybody}, 2)
    assert kept(sent) == everybody


@pytest.mark.slow
def test_who_accepts_an_older_ledger_keeps_what_it_proves_and_doubts_the_rest(sent: Demo):
    everybody = kept(sent)
    edit(sent, "delete from sends where recipient > 49; replace into meta values ('epoch', 0)")

    result = send_campaign(sent.campaign, sent.workspace, consent=Consent(ledger=True))

    assert result.counts == {"accepted": 50, "in_doubt": everybody - 50}
    assert kept(sent) == everybody


def test_an_export_in_chunks_is_the_whole(sent: Demo):
    ledger = Ledger(sent.home.ledgers / f"{sent.campaign}.sqlite")
    recipients = mailed(sent.campaign, sent.workspace.lake)

    some = export_sends(sent.campaign, ledger, recipients, chunk=7)
    whole = export_sends(sent.campaign, ledger, recipients)

    assert some.equals(whole)
    assert sorted(whole["recipient"]) == list(range(recipients.collect().height))
    assert set(whole["state"]) == {"accepted"}


@pytest.mark.parametrize("window", [1, 17, 1_000])
def test_whatever_is_read_at_once_everybody_is_claimed_once(demo: Demo, window: int):
    space, key = demo.workspace, demo.campaign
    size = mailed(key, space.lake).collect().height
    ledger = Ledger(space.home.ledgers / f"{key}.sqlite")
    marks = Marks(space.home.ledgers / f"{key}.marks", size)
    epoch = ledger.begin_epoch(marks=marks, at=space.clock.now())
    pins = space.lake.pin(("campaigns.audience", "core.contacts"))

    claimed = [
        (row["recipient"], row["address"] is not None)
        for number in range(2)
        for rows in claim(
            Shard(key, number, 2, epoch, size, pins),
            space.home,
            ledger=ledger,
            marks=marks,
            clock=space.clock,
            window=window,
        )
        for row in rows
    ]

    assert sorted(claimed) == [(number, True) for number in range(size)]


@pytest.mark.parametrize(
    ("mark", "statement", "lost"),
    [
        (Mark.ACCEPTED, "delete from sends", 1),
        (Mark.DOT, "delete from sends", 1),
        (Mark.CLAIMED, "delete from sends", 0),
        (Mark.ACCEPTED, "update sends set state = 'deferred'", 1),
        (Mark.DEFERRED, "update sends set state = 'deferred'", 0),
        (Mark.REJECTED, "update sends set state = 'deferred'", 1),
        (Mark.REJECTED, "update sends set state = 'deferred', reason = 'tried_again'", 0),
        (Mark.DOT, "update sends set state = 'confirmed_unsent'", 0),
        (Mark.ACCEPTED, "update sends set state = 'confirmed_unsent'", 1),
        (Mark.DOT, "update sends set state = 'confirmed_unsent', reason = 'sink'", 1),
        (Mark.CLAIMED, "update sends set state = 'confirmed_unsent', reason = 'sink'", 0),
        (Mark.DEFERRED, "update sends set state = 'waived_resend', reason = 'policy'", 1),
        (Mark.ACCEPTED, "update sends set state = 'claimed'", 0),
    ],
)
def test_a_mark_that_says_more_than_its_row_tells_that_claims_were_lost(
    tmp_path: Path, mark: Mark, statement: str, lost: int
):
    ledger, marks = Ledger(tmp_path / "a.sqlite"), Marks(tmp_path / "a.marks", 3)
    epoch = ledger.begin_epoch(marks=marks, at=NOON)
    ledger.claim([Candidate(7, "hash", 1)], marks=marks, epoch=epoch, worker=0, at=NOON)
    marks[1] = mark
    with sqlite3.connect(ledger.path) as torn:
        torn.execute(statement)

    assert ledger.contradicted(marks) == lost


def test_every_start_says_whose_message_its_claims_get(fresh: tuple[Ledger, Marks, int]):
    ledger, marks, _ = fresh
    for bundle in ("first", None, "second"):
        ledger.begin_epoch(marks=marks, at=NOON, bundle=bundle)

    assert ledger.bundles() == {2: "first", 3: "first", 4: "second"}


def test_a_ledger_from_before_there_were_several_messages_knows_its_one(
    fresh: tuple[Ledger, Marks, int],
):
    ledger, marks, _ = fresh
    ledger.set_meta(bundle="only")
    ledger.begin_epoch(marks=marks, at=NOON, bundle="amended")

    assert ledger.bundles() == {1: "only", 2: "amended"}
