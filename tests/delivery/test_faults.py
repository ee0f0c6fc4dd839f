"""The short form of `python -m bench faults`: what goes wrong while sending, done on purpose.

A few hundred recipients and a handful of faults each. Nobody twice, nobody lost, whoever is uncertain known.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import (
    faults_disk,
    faults_doubt,
    faults_kills,
    faults_launch,
    faults_leaving,
    faults_ledger,
    faults_order,
    faults_postfix,
    faults_replies,
)

pytestmark = pytest.mark.slow


def only(found: dict[str, float], *names: str) -> dict[str, float]:
    return {name: found[name] for name in names}


def nothing(*names: str) -> dict[str, float]:
    return dict.fromkeys(names, 0)


def test_after_kills_at_any_time_and_at_every_stage_nobody_is_lost_or_mailed_twice(tmp_path: Path):
    found = faults_kills.kills(tmp_path, people=800, wanted=4)

    bad = ("duplicates", "lost", "accepted_not_received", "in_doubt_after")
    assert only(found, *bad) == nothing(*bad)
    assert found["kills"] == 4
    assert found["in_doubt_per_kill_over_connections"] <= 1


def test_after_another_boot_every_unsettled_claim_is_in_doubt_and_none_is_sent_again(
    tmp_path: Path,
):
    found = faults_doubt.another_boot(tmp_path, people=600)

    bad = ("boot_in_doubt_missing", "boot_resent", "boot_duplicates", "boot_lost")
    assert only(found, *bad) == nothing(*bad)
    assert found["boot_claims_unsettled"] == found["boot_resolved"] > 0


def test_whose_connection_is_dropped_after_the_dot_is_in_doubt_until_there_is_evidence(
    tmp_path: Path,
):
    found = faults_doubt.drops_after_the_dot(tmp_path, people=300)

    bad = ("drops_not_in_doubt", "drops_resent_unasked", "drops_duplicates", "drops_lost")
    assert only(found, *bad) == nothing(*bad)
    assert found["drops_after_dot"] == found["drops_resolved"] > 0


def test_bad_replies_lose_nobody_and_suppress_unknown_users_only(tmp_path: Path):
    found = faults_replies.replies(tmp_path, people=60, times=1, stages=("rcpt", "dot"))

    bad = tuple(name for name in found if name not in ("replies_given", "replies_starts"))
    assert only(found, *bad) == nothing(*bad)
    assert found["replies_given"] == 2 * 2 * len(faults_replies.KINDS)


def test_of_ten_launches_at_once_one_sends(tmp_path: Path):
    found = faults_launch.launches(tmp_path, people=300, count=10)

    assert found["launches_that_sent"] == 1
    assert found["launches_refused"] == 9
    assert found["launches_duplicates"] == found["launches_lost"] == 0


def test_while_the_holder_stands_still_nobody_else_gets_in(tmp_path: Path):
    found = faults_launch.standing_still(tmp_path, people=300, rounds=3, seconds=0.2)

    assert found["stopped_others_refused"] == 3
    assert found["stopped_sent"] == 300
    assert found["stopped_duplicates"] == found["stopped_lost"] == 0


def test_a_ledger_that_is_not_the_one_this_home_knows_is_refused(tmp_path: Path):
    found = faults_ledger.other_ledgers(tmp_path, people=600)

    assert found["ledgers_refused"] == found["ledgers_not_trusted"] == 5
    assert found["ledgers_sent_all_the_same"] == found["ledgers_duplicates"] == 0


def test_claims_that_a_torn_log_lost_are_not_taken_for_unsent(tmp_path: Path):
    found = faults_ledger.torn(tmp_path, people=600, cuts=2, flips=0, kinds=("wal",))

    bad = ("torn_sent_twice", "torn_lost", "torn_without_words")
    assert only(found, *bad) == nothing(*bad)


def test_a_torn_file_is_refused_with_words(tmp_path: Path):
    found = faults_ledger.torn(tmp_path, people=600, cuts=1, flips=0, kinds=("file",))

    bad = ("torn_sent_twice", "torn_lost", "torn_without_words")
    assert only(found, *bad) == nothing(*bad)


def test_bits_that_flipped_in_the_file_send_nobody_anything_twice(tmp_path: Path):
    found = faults_ledger.torn(tmp_path, people=600, cuts=0, flips=2, kinds=("file",))

    assert found["torn_ledgers"] == 2
    assert found["torn_sent_twice"] == 0


def test_who_leaves_during_the_send_is_begun_no_more_after_a_second(tmp_path: Path):
    found = faults_leaving.leaving(tmp_path, people=1_200, leave=50, seconds=4.0)

    bad = ("leaving_begun_after_1s", "leaving_duplicates", "leaving_lost")
    assert only(found, *bad) == nothing(*bad)
    assert found["leaving_withheld"] > 0


@pytest.mark.services
def test_when_the_ledgers_disk_fails_the_send_stops_with_words_and_then_goes_on(tmp_path: Path):
    found = faults_disk.disk_errors(tmp_path, people=300, places=(4,), lasting=(False,))

    bad = ("disk_without_words", "disk_sends_without_claim", "disk_duplicates", "disk_lost")
    assert only(found, *bad) == nothing(*bad)
    assert found["disk_errors"] > 0


@pytest.mark.services
def test_when_the_disk_fails_before_any_worker_the_send_stops_with_words(tmp_path: Path):
    found = faults_disk.disk_errors(tmp_path, people=300, places=(5,), lasting=(True,))

    assert found["disk_sends_without_claim"] == found["disk_duplicates"] == 0
    assert found["disk_without_words"] == 0


@pytest.mark.services
def test_every_dot_is_written_after_its_claim_is_synced(tmp_path: Path):
    found = faults_order.order(tmp_path, people=400)

    assert found["order_dots_seen"] == found["order_messages"] == 400
    assert found["order_violations"] == 0


@pytest.mark.services
def test_what_postfix_answered_with_250_is_not_lost_when_it_is_stopped_or_killed(tmp_path: Path):
    found = faults_postfix.restarts(tmp_path, people=900, rounds=3)

    bad = ("postfix_lost_after_250", "postfix_lost", "postfix_duplicates_of_ours")
    assert only(found, *bad) == nothing(*bad)
    assert found["postfix_restarts"] == 3
