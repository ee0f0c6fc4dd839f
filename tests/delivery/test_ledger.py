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
from pipelines.delivery.ledger import Ledger, reached_by_others
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
KEPT = (
    "state",
    "reason",
    "reply_class",
    "attempts",
    "claimed_at",
    "settled_at",
    "next_at",
    "epoch",
)
ENDED = (State.CANCELLED, State.REJECTED, State.EXPIRED, State.WITHHELD)
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
        self.before: dict[int, dict[str, Any] | None] = {}  # rows as they were before their claim
        self.resent: set[int] = set()  # contacts who were let have a second copy
        self.begin()

    def begin(self) -> None:
        self.marks = Marks(Path(self.folder.name) / "spring.marks", len(EVERYBODY))
        self.epoch = self.ledger.begin_epoch(marks=self.marks, at=self.at)

    @rule(wanted=st.lists(st.sampled_from(EVERYBODY), unique=True, min_size=1))
    def claim(self, wanted: list[Candidate]) -> None:
        rows = {row["contact_id"]: row for row in self.ledger.rows()}
        taken = self.ledger.claim(wanted, marks=self.marks, epoch=self.epoch, worker=0, at=self.at)

        for each in taken:
            # Who is claimed anew after a kill stays as before the first of these claims.
            row = rows.get(each.contact_id)
            if row is None or row["state"] != State.CLAIMED:
                self.before[each.contact_id] = row
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

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def give_back_unbegun(self, data: st.DataObject) -> None:
        who = data.draw(st.sampled_from(sorted(self.open.values(), key=lambda c: c.contact_id)))

        self.ledger.free([who.contact_id], epoch=self.epoch)

        del self.open[who.contact_id]
        rows = {row["contact_id"]: row for row in self.ledger.rows()}
        found, before = rows.get(who.contact_id), self.before.get(who.contact_id)
        assert (found is None) == (before is None)
        if found is not None and before is not None:
            assert {name: found[name] for name in KEPT} == {name: before[name] for name in KEPT}

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
        doubted = [row["contact_id"] for row in self.ledger.rows() if self.may_have_it(row)]
        put_off = [row for row in self.ledger.rows(State.DEFERRED) if row["reason"] != TRIED_AGAIN]

        assert self.ledger.expire(at=self.at) == len(put_off)
        self.closed |= {row["address_hash"] for row in put_off}
        states = {row["contact_id"]: row["state"] for row in self.ledger.rows()}
        assert {states[contact] for contact in doubted} <= {State.WAIVED_SKIP}

    def may_have_it(self, row: dict[str, Any]) -> bool:
        """Whether somebody put off has had a first copy, perhaps."""
        is_put_off = row["state"] == State.DEFERRED and row["reason"] != TRIED_AGAIN
        return is_put_off and row["contact_id"] in self.resent

    @precondition(lambda self: not self.open)
    @rule()
    def somebody_cancels(self) -> None:
        before = self.ledger.counts()
        ended = {row["contact_id"] for row in self.ledger.rows() if row["state"] in ENDED}

        count = self.ledger.cancel(EVERYBODY, at=self.at)

        after = self.ledger.counts()
        assert after.get(State.CANCELLED, 0) - before.get(State.CANCELLED, 0) == count
        assert not {State.DEFERRED, *TO_RESEND, State.CLAIMED} & set(after)
        self.closed |= {each.address_hash for each in EVERYBODY}
        told = {row["contact_id"] for row in self.ledger.rows(State.CANCELLED)}
        assert not (told - ended) & self.resent  # nobody knows that they got nothing

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


def of_the_next_process(ledger: Ledger) -> Marks:
    """The marks as whoever comes after a killed run finds them."""
    return Marks(ledger.path.with_suffix(".marks"), len(EVERYBODY))


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
    marks = Marks(tmp_path / "a.marks", 3)
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


SECOND = Candidate(12, "hash1", 2)


@pytest.fixture
def second(fresh: tuple[Ledger, Marks, int]) -> tuple[Ledger, Marks, int]:
    """Somebody was in doubt, was let have a second copy, and is claimed for it."""
    ledger, marks, epoch = fresh
    ledger.claim([SECOND], marks=marks, epoch=epoch, worker=0, at=NOON)
    lost = Settlement(12, State.IN_DOUBT, reason="connection_lost")
    ledger.settle([lost], epoch=epoch, at=NOON)
    words = [Verdict(each, State.WAIVED_RESEND, Source.PERSON) for each in doubts(ledger)]
    settle(ledger, marks, words, at=NOON, by="Ines")
    assert ledger.claim([SECOND], marks=marks, epoch=epoch, worker=0, at=NOON) == [SECOND]
    return ledger, marks, epoch


def put_off(ledger: Ledger, epoch: int) -> None:
    later = Settlement(12, State.DEFERRED, reply_class="busy", retry=Retry.SOON)
    ledger.settle([later], epoch=epoch, at=NOON)


def test_a_second_copy_that_was_not_begun_is_waited_for_as_before(
    second: tuple[Ledger, Marks, int],
):
    ledger, _, epoch = second

    ledger.free([12], epoch=epoch)

    assert [(each.state, each.was_resent) for each in doubts(ledger)] == [("waived_resend", True)]
    assert ledger.expiring() == 0


def test_of_a_second_copy_that_was_put_off_evidence_of_the_first_is_still_believed(
    second: tuple[Ledger, Marks, int],
):
    ledger, marks, epoch = second
    put_off(ledger, epoch)
    verdicts = [Verdict(each, State.CONFIRMED_SENT, Source.EVENT) for each in doubts(ledger)]

    settle(ledger, marks, verdicts, at=NOON)

    assert ledger.counts() == {"confirmed_sent": 1}
    assert ledger.due_again(NOON + timedelta(days=1)) == 0


@pytest.mark.parametrize("end", ["cancel", "expire"])
def test_who_may_have_the_first_copy_is_not_told_as_one_who_got_nothing(
    second: tuple[Ledger, Marks, int], end: str
):
    ledger, _, epoch = second
    put_off(ledger, epoch)

    if end == "cancel":
        assert ledger.cancel([SECOND], at=NOON) == 0
    else:
        ledger.expire(at=NOON)

    assert [(row["state"], row["reason"]) for row in ledger.rows()] == [("waived_skip", "person")]
    assert len(doubts(ledger)) == 1


def test_whoever_may_have_the_first_copy_is_reached_however_the_second_ended(
    second: tuple[Ledger, Marks, int],
):
    ledger, _, epoch = second
    ledger.settle([Settlement(12, State.REJECTED)], epoch=epoch, at=NOON)

    assert reached_by_others(ledger.path.parent, "spring", "spring@2") == {12}


def test_who_was_never_begun_is_so_after_a_kill_and_a_pause(fresh: tuple[Ledger, Marks, int]):
    ledger, marks, epoch = fresh
    ledger.claim([SECOND], marks=marks, epoch=epoch, worker=0, at=NOON)
    marks = of_the_next_process(ledger)
    epoch = ledger.begin_epoch(marks=marks, at=NOON)
    ledger.claim([SECOND], marks=marks, epoch=epoch, worker=0, at=NOON)

    ledger.free([12], epoch=epoch)

    assert ledger.rows() == []


def test_whom_a_person_lets_be_tried_once_more_is_so_after_a_pause(
    fresh: tuple[Ledger, Marks, int],
):
    ledger, marks, epoch = fresh
    ledger.claim([SECOND], marks=marks, epoch=epoch, worker=0, at=NOON)
    ledger.settle([Settlement(12, State.REJECTED)], epoch=epoch, at=NOON)
    ledger.try_again(["policy"], at=NOON)
    ledger.claim([SECOND], marks=marks, epoch=epoch, worker=0, at=NOON)

    ledger.free([12], epoch=epoch)

    assert [(row["reason"], row["attempts"]) for row in ledger.rows()] == [(TRIED_AGAIN, 1)]
    assert ledger.expiring() == 0


def test_a_ledger_from_before_claims_remembered_forgets_no_second_copy(
    second: tuple[Ledger, Marks, int],
):
    ledger, _, _ = second
    before = ledger.rows()
    ledger.close()
    with sqlite3.connect(ledger.path) as older:
        older.execute("alter table sends drop column was")

    ledger = Ledger(ledger.path)
    marks = of_the_next_process(ledger)
    epoch = ledger.begin_epoch(marks=marks, at=NOON)
    ledger.claim([SECOND], marks=marks, epoch=epoch, worker=0, at=NOON)
    ledger.free([12], epoch=epoch)

    assert before[0]["state"] == "claimed"
    assert ledger.counts() == {"waived_resend": 1}


@pytest.mark.parametrize("mark", [Mark.CLAIMED, Mark.DOT, Mark.DEFERRED, Mark.REJECTED])
def test_after_a_power_cut_a_mark_from_before_the_last_tells_of_no_lost_claim(
    fresh: tuple[Ledger, Marks, int], mark: Mark
):
    ledger, marks, epoch = fresh
    ledger.claim([SECOND], marks=marks, epoch=epoch, worker=0, at=NOON)
    put_off(ledger, epoch)
    marks[SECOND.recipient] = mark
    marks.close()
    for boot in ("another", "this", "this"):
        file = ledger.path.with_suffix(".marks")
        if boot == "another":
            file.write_bytes(b"another-boot" + file.read_bytes()[12:])
        marks = Marks(file, len(EVERYBODY))

        assert ledger.contradicted(marks) == 0
        ledger.begin_epoch(marks=marks, at=NOON)
        marks.close()


def test_after_a_power_cut_a_message_without_a_row_still_tells_of_a_lost_claim(
    fresh: tuple[Ledger, Marks, int],
):
    ledger, marks, epoch = fresh
    ledger.claim([SECOND], marks=marks, epoch=epoch, worker=0, at=NOON)
    put_off(ledger, epoch)
    marks[1], marks[SECOND.recipient] = Mark.DOT, Mark.ACCEPTED
    marks.trusted = False

    assert ledger.contradicted(marks) == 2
