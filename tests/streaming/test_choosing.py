"""The page on which somebody chooses what they get, and the way back after leaving."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from starlette.testclient import TestClient

from pipelines.clock import FrozenClock
from pipelines.delivery.people import Reason, Scope, Suppression
from pipelines.lake import Lake
from pipelines.message.tokens import Purpose, Token, sign
from pipelines.schema import CONSENTS, IDENTITIES
from streaming import pages
from streaming.edge import make_app

if TYPE_CHECKING:
    from conftest import Campaigning

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
SAVED: dict[str, object] = {"choose": "these", "shown": ["news", "offers"]}


@pytest.fixture
def page(campaigning: Campaigning, lake: Lake) -> Iterator[str]:
    """The address of contact 1's page, who agreed to news and offers, and to being counted."""
    said = [("marketing", "news"), ("marketing", "offers"), ("tracking", None)]
    rows = [
        {
            "contact_id": 1,
            "purpose": purpose,
            "topic": topic,
            "status": "granted",
            "recorded_at": NOON,
        }
        for purpose, topic in said
    ]
    lake.append(CONSENTS, pl.DataFrame(rows, schema=CONSENTS.schema))
    token = Token(Purpose.PREFERENCES, "spring", 1)
    return f"/p/{sign(token, campaigning.home.key('links'))}"


def ticked(html: str) -> dict[str, bool]:
    boxes = re.findall(r'<input type="checkbox" name="(?:topic" value=")?(\w+)"([^>]*)>', html)
    return {name: "checked" in rest for name, rest in boxes}


def test_it_offers_what_somebody_agreed_to_and_nothing_else(browser: TestClient, page: str) -> None:
    answer = browser.get(page)

    assert answer.status_code == 200
    assert ticked(answer.text) == {"news": True, "offers": True, "counted": True}
    assert "Events" not in answer.text


def test_looking_changes_nothing(browser: TestClient, page: str, campaigning: Campaigning) -> None:
    browser.get(page)
    browser.head(page)

    assert campaigning.people.decisions("hash-1", 1) == []
    assert campaigning.logged() == []


def test_what_is_not_ticked_is_left_at_once_and_the_rest_is_kept(
    browser: TestClient, page: str, campaigning: Campaigning
) -> None:
    answer = browser.post(page, data={**SAVED, "topic": ["news"], "counted": "yes"})

    assert ticked(answer.text) == {"news": True, "offers": False, "counted": True}
    assert campaigning.people.suppressed_hashes("offers", "mill") == {"hash-1"}
    assert campaigning.people.suppressed_hashes("news", "mill") == set()
    [hit] = campaigning.logged()
    assert (hit["kind"], hit["detail"]) == ("unsubscribe", "topic")


def test_who_left_may_come_back_and_saving_twice_is_saving_once(
    browser: TestClient, page: str, campaigning: Campaigning
) -> None:
    browser.post(page, data=SAVED)
    assert campaigning.people.suppressed_hashes("news", "mill") == {"hash-1"}

    for _ in range(2):
        browser.post(page, data={**SAVED, "topic": ["news", "offers"]})

    assert campaigning.people.suppressed_hashes("news", "mill") == set()
    assert campaigning.people.suppressed_hashes("offers", "mill") == set()


def test_the_page_after_one_click_leads_back(
    browser: TestClient, page: str, campaigning: Campaigning
) -> None:
    left = browser.post(campaigning.url(Purpose.UNSUBSCRIBE), data={"leave": "all"})
    (back,) = re.findall(r'<a href="\.\.(/p/[\w-]+)">', left.text)

    assert back == page
    browser.post(back, data={**SAVED, "topic": ["news"]})
    assert campaigning.people.suppressed_hashes("news", "mill") == set()
    assert campaigning.people.suppressed_hashes("offers", "mill") == {"hash-1"}


def test_a_mail_program_that_leaves_for_somebody_is_given_no_way_back(
    browser: TestClient, campaigning: Campaigning
) -> None:
    left = browser.post(
        campaigning.url(Purpose.UNSUBSCRIBE), data={"List-Unsubscribe": "One-Click"}
    )

    assert left.status_code == 200
    assert "/p/" not in left.text


def test_a_form_of_many_topics_is_read_whole(
    browser: TestClient, page: str, campaigning: Campaigning
) -> None:
    others = [f"a_topic_with_a_long_name_{number}" for number in range(200)]
    form = {"choose": "these", "shown": [*others, "news", "offers"], "topic": [*others, "news"]}

    answer = browser.post(page, data=form)

    assert answer.status_code == 200
    assert campaigning.people.suppressed_hashes("offers", "mill") == {"hash-1"}
    assert campaigning.people.suppressed_hashes("news", "mill") == set()


def test_a_topic_they_were_not_shown_is_left_as_it_was(
    browser: TestClient, page: str, campaigning: Campaigning
) -> None:
    browser.post(page, data={"choose": "these", "shown": ["news"], "topic": ["news"]})

    assert campaigning.people.decisions("hash-1", 1) == []


def test_whoever_left_everything_comes_back_to_what_they_ticked_alone(
    browser: TestClient, page: str, campaigning: Campaigning
) -> None:
    browser.post(campaigning.url(Purpose.UNSUBSCRIBE), data={"leave": "all"})

    browser.post(page, data={"choose": "these", "shown": ["news"], "topic": ["news"]})

    assert campaigning.people.suppressed_hashes("news", "mill") == set()
    assert campaigning.people.suppressed_hashes("offers", "mill") == {"hash-1"}


@pytest.mark.parametrize("scope", [Scope.ALL, Scope.TOPIC])
@pytest.mark.parametrize(
    "reason", [each for each in Reason if each is not Reason.UNSUBSCRIBED], ids=str
)
@pytest.mark.parametrize("own_first", [True, False])
def test_no_tick_undoes_what_others_decided_whenever_they_did(
    own_first: bool,
    reason: Reason,
    scope: Scope,
    browser: TestClient,
    page: str,
    campaigning: Campaigning,
) -> None:
    def decided(why: Reason) -> Suppression:
        return Suppression("hash-1", 1, scope, "news", why, NOON, "test")

    both = [decided(Reason.UNSUBSCRIBED), decided(reason)]
    for each in both if own_first else reversed(both):
        campaigning.people.suppress([each])

    browser.post(page, data={**SAVED, "topic": ["news", "offers"]})

    assert campaigning.people.suppressed_hashes("news", "mill") == {"hash-1"}


@pytest.mark.parametrize("reason", [Reason.COMPLAINT, Reason.HARD_BOUNCE, Reason.MANUAL])
def test_no_tick_undoes_a_complaint_a_bounce_or_what_a_person_decided(
    reason: Reason, browser: TestClient, page: str, campaigning: Campaigning
) -> None:
    decision = Suppression("hash-1", 1, Scope.ALL, "", reason, NOON, "test")
    campaigning.people.suppress([decision])

    answer = browser.post(page, data={**SAVED, "topic": ["news", "offers"]})

    assert "We send nothing to this address" in answer.text
    assert ticked(answer.text) == {}
    assert campaigning.people.suppressed_hashes("news", "mill") == {"hash-1"}


def test_no_form_makes_a_consent_that_was_not_given(
    browser: TestClient, page: str, campaigning: Campaigning
) -> None:
    campaigning.people.suppress(
        [Suppression("hash-1", 1, Scope.TOPIC, "events", Reason.UNSUBSCRIBED, NOON, "test")]
    )

    browser.post(page, data={**SAVED, "topic": ["news", "offers", "events", "../x", "<b>"]})

    assert campaigning.people.suppressed_hashes("events", "mill") == {"hash-1"}


def test_being_counted_is_ended_and_taken_up_again(
    browser: TestClient, page: str, campaigning: Campaigning
) -> None:
    everything = {**SAVED, "topic": ["news", "offers"]}

    browser.post(page, data=everything)
    assert campaigning.people.withdrawn_tracking() == {1}

    browser.post(page, data={**everything, "counted": "yes"})
    assert campaigning.people.withdrawn_tracking() == set()


def test_a_form_without_its_mark_does_nothing(
    browser: TestClient, page: str, campaigning: Campaigning
) -> None:
    assert browser.post(page, data={"topic": "news"}).status_code == 400
    assert campaigning.people.decisions("hash-1", 1) == []


def test_a_token_for_leaving_opens_no_preferences(
    browser: TestClient, campaigning: Campaigning
) -> None:
    token = campaigning.url(Purpose.UNSUBSCRIBE).removeprefix("/u/")

    assert browser.get(f"/p/{token}").status_code == 404


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("tlh, fr;q=0.5, en;q=0.4", "fr"),
        ("en;q=0.1, nl;q=0.9", "nl"),
        ("de;q=0, it", "it"),
        ("*;q=x,,;", "en"),
        ("a" * 100_000, "en"),
    ],
)
def test_a_page_speaks_the_language_the_browser_asks_for(accepted: str, language: str) -> None:
    assert pages.words_for(accepted).language == language


def test_every_language_says_everything() -> None:
    said = {name: set(pages.words_for(name)._told) for name in ("en", "de", "fr", "es", "it", "nl")}

    assert set(map(frozenset, said.values())) == {frozenset(said["en"])}
    assert len(said["en"]) > 15


def test_the_topic_is_called_as_the_reader_calls_it(browser: TestClient, page: str) -> None:
    answer = browser.get(page, headers={"Accept-Language": "fr-FR"})

    assert "Nouvelles" in answer.text
    assert 'lang="fr"' in answer.text


def test_coming_back_ends_nobody_else_s_decision_under_the_same_address(
    browser: TestClient, page: str, campaigning: Campaigning
) -> None:
    theirs = Suppression("hash-1", 2, Scope.ALL, "", Reason.UNSUBSCRIBED, NOON, "test")
    campaigning.people.suppress([theirs])

    browser.post(page, data={**SAVED, "topic": ["news", "offers"]})

    assert campaigning.people.suppressed_hashes("news", "mill") == {"hash-1"}


def test_whoever_left_a_brand_sees_it_and_may_come_back(
    browser: TestClient, page: str, campaigning: Campaigning
) -> None:
    left = Suppression("hash-1", 1, Scope.BRAND, "mill", Reason.UNSUBSCRIBED, NOON, "test")
    campaigning.people.suppress([left])

    assert ticked(browser.get(page).text)["news"] is False
    browser.post(page, data={**SAVED, "topic": ["news"]})

    assert campaigning.people.suppressed_hashes("news", "mill") == set()
    assert campaigning.people.suppressed_hashes("offers", "mill") == {"hash-1"}


def test_while_the_topics_cannot_be_read_nothing_is_said_to_be_saved(
    campaigning: Campaigning, clock: FrozenClock, page: str, tmp_path: Path
) -> None:
    with TestClient(make_app(campaigning.home, clock, project=tmp_path)) as elsewhere:
        answer = elsewhere.post(page, data=SAVED)

    assert answer.status_code == 503
    assert campaigning.people.decisions("hash-1", 1) == []


def test_whoever_was_merged_since_is_shown_what_they_get_by_now(
    browser: TestClient, page: str, campaigning: Campaigning, lake: Lake
) -> None:
    merged = [{"source": "merged", "external_id": "1", "contact_id": 9}]
    lake.append(IDENTITIES, pl.DataFrame(merged, schema=IDENTITIES.schema))
    said = [("marketing", "news"), ("tracking", None)]
    rows = [
        {
            "contact_id": 9,
            "purpose": purpose,
            "topic": topic,
            "status": "granted",
            "recorded_at": NOON,
        }
        for purpose, topic in said
    ]
    # What core.consents says of somebody merged, it says of whom they were merged into.
    lake.replace(CONSENTS, pl.DataFrame(rows, schema=CONSENTS.schema))
    left = Suppression("other", 9, Scope.TOPIC, "news", Reason.UNSUBSCRIBED, NOON, "campaign x")
    campaigning.people.suppress([left])

    assert ticked(browser.get(page).text) == {"news": False, "counted": True}
    browser.post(page, data={"choose": "these", "shown": ["news"], "topic": ["news"]})

    assert campaigning.people.decisions("other", 9) == []
    assert 9 in campaigning.people.withdrawn_tracking()
