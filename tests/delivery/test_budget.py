"""A send pauses by itself when the other side keeps saying that something is wrong with it."""

from __future__ import annotations

import pytest

from pipelines.delivery.budget import FEWEST, FEWEST_SLOW, LATEST, Budget
from pipelines.delivery.replies import Reply

GOOD = Reply(250, "2.0.0 ok")
POLICY = Reply(550, "5.7.1 blocked using zen.spamhaus.org; see ada@shop.example")
RATE = Reply(421, "4.7.28 unusual rate of mail")
UNKNOWN = Reply(550, "5.1.1 no such user")


def first_alarm(replies: list[Reply], share: float = 0.05) -> int | None:
    budget = Budget(share)
    return next((n for n, reply in enumerate(replies, 1) if budget.spent(reply)), None)


@pytest.mark.parametrize("bad", [POLICY, UNKNOWN, Reply(421, "4.7.30 DKIM did not pass")])
def test_ten_in_a_row_are_enough_and_nine_are_chance(bad: Reply):
    assert first_alarm([bad] * FEWEST) == FEWEST
    assert first_alarm([bad] * (FEWEST - 1) + [GOOD] * LATEST + [bad]) is None


@pytest.mark.parametrize(
    "harmless", [Reply(450, "4.2.0 greylisted"), Reply(552, "5.2.2 full"), GOOD]
)
def test_what_is_said_of_the_moment_or_of_a_mailbox_pauses_nothing(harmless: Reply):
    assert first_alarm([harmless] * 1_000) is None


def test_a_share_within_the_budget_goes_on_and_one_above_it_does_not():
    assert first_alarm(([POLICY] + [GOOD] * 24) * 100) is None  # 4 %
    assert first_alarm(([POLICY] + [GOOD] * 9) * 100) is not None  # 10 %
    assert first_alarm(([POLICY] + [GOOD] * 9) * 100, share=0.2) is None


def test_whoever_asks_for_less_is_slowed_down_first_and_pauses_it_when_that_did_not_help():
    def alarm(replies: list[Reply], *, crawls: bool, share: float = 0.05) -> int | None:
        budget = Budget(share)
        said = (budget.spent(reply, crawls=crawls) for reply in replies)
        return next((n for n, why in enumerate(said, 1) if why is not None), None)

    assert alarm([RATE] * 1_000, crawls=False) is None
    assert alarm([RATE] * 1_000, crawls=True) == FEWEST_SLOW
    assert alarm([RATE, GOOD, GOOD] * 500, crawls=True) is None
    assert alarm([RATE] * 1_000, crawls=True, share=1) is None


def test_too_fast_said_for_good_is_a_refusal_like_any_other():
    assert first_alarm([Reply(550, "5.4.5 Daily user sending quota exceeded")] * FEWEST) == FEWEST


def test_two_kinds_of_refusal_are_counted_apart():
    assert first_alarm([POLICY, UNKNOWN] * (FEWEST - 1)) is None


def test_the_reason_says_how_many_of_what_and_names_nobody():
    budget = Budget(0.05)
    (why,) = (why for _ in range(FEWEST) if (why := budget.spent(POLICY)))

    assert why.startswith("10 of the latest 10 replies: taken for spam or listed.")
    assert "spamhaus" in why
    assert "ada@" not in why
