"""The people store: a decision is durable, shared by processes, and made once."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def decision(address_hash: str, scope: Scope = Scope.ALL, key: str = "") -> Suppression:
    return Suppression(address_hash, 7, scope, key, Reason.UNSUBSCRIBED, NOON, "edge")


@pytest.fixture
def store(tmp_path: Path) -> PeopleStore:
    return PeopleStore(tmp_path / "people.sqlite")


def test_the_same_decision_twice_is_one(store: PeopleStore):
    assert store.suppress([decision("a")]) == 1
    assert store.suppress([decision("a")]) == 0
    assert store.export().height == 1


@pytest.mark.parametrize(
    ("scope", "key", "reached"),
    [
        (Scope.ALL, "", set()),
        (Scope.TOPIC, "news", {"offers"}),
        (Scope.TOPIC, "offers", {"news"}),
        (Scope.BRAND, "mill", set()),
        (Scope.BRAND, "other", {"news", "offers"}),
    ],
)
def test_a_decision_reaches_as_far_as_its_scope(
    store: PeopleStore, scope: Scope, key: str, reached: set[str]
):
    store.suppress([decision("a", scope, key)])

    still = {t for t in ("news", "offers") if not store.is_suppressed("a", topic=t, brand="mill")}

    assert still == reached


def test_who_comes_back_is_mailed_and_who_leaves_again_is_not(store: PeopleStore):
    store.suppress([decision("a", Scope.TOPIC, "news")])

    released = store.release("a", scope=Scope.TOPIC, scope_key="news", at=NOON + timedelta(days=1))
    came_back = store.suppressed_hashes("news", "mill")
    # An export of before is loaded once more, and then they leave again.
    store.suppress([decision("a", Scope.TOPIC, "news")])
    loaded_again = store.suppressed_hashes("news", "mill")
    later = replace(decision("a", Scope.TOPIC, "news"), since_at=NOON + timedelta(days=2))
    store.suppress([later])

    assert released == 1
    assert came_back == loaded_again == set()
    assert store.suppressed_hashes("news", "mill") == {"a"}


def _suppress(path: Path, address_hash: str) -> None:
    PeopleStore(path).suppress([decision(address_hash)])


def test_a_poller_sees_that_another_process_has_written(store: PeopleStore):
    before = store.changes()
    unchanged = store.changes()
    spawn = multiprocessing.get_context("spawn")

    writers = [spawn.Process(target=_suppress, args=(store.path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert unchanged == before
    assert store.changes() != before
    assert store.suppressed_hashes("news", "mill") == {"a", "b"}


def test_a_poller_sees_its_own_writes(store: PeopleStore):
    before = store.changes()

    store.suppress([decision("a")])

    assert store.changes() != before


def test_the_last_mail_of_any_occurrence_counts(store: PeopleStore):
    store.record_mailed([1, 2], "birthday@2026-10", NOON)
    store.record_mailed([2], "birthday@2026-11", NOON + timedelta(days=30))
    store.record_mailed([3], "birthday-special", NOON)

    mailed = dict(store.last_mailed("birthday", but="birthday@2026-12").rows())

    assert mailed == {1: NOON, 2: NOON + timedelta(days=30)}


@given(hashes=st.lists(st.text("abcdef0123456789", min_size=1, max_size=8), max_size=30))
def test_everybody_suppressed_is_exported_once(
    tmp_path_factory: pytest.TempPathFactory, hashes: list[str]
):
    store = PeopleStore(tmp_path_factory.mktemp("people") / "people.sqlite")

    new = store.suppress(decision(each) for each in hashes)

    assert new == len(set(hashes))
    assert sorted(store.export()["address_hash"]) == sorted(set(hashes))


def test_a_bounce_counts_whenever_it_was_whoever_came_back_since(store: PeopleStore):
    store.suppress([decision("a", Scope.TOPIC, "news")])
    store.release("a", scope=Scope.TOPIC, scope_key="news", at=NOON + timedelta(days=1))

    store.suppress([replace(decision("a", Scope.TOPIC, "news"), reason=Reason.HARD_BOUNCE)])

    assert store.suppressed_hashes("news", "mill") == {"a"}
