from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pipelines.campaigns import bundle
from pipelines.clock import FrozenClock, SystemClock
from pipelines.lake import Lake
from pipelines.message.tokens import Purpose, Token, sign
from pipelines.schema import AUDIENCE
from pipelines.settings import CHECKOUT, Settings
from streaming.forms import MAX_BODY_BYTES

if TYPE_CHECKING:
    from conftest import Campaigning

SHOP = "https://shop.example/spring?from=mail&x=1"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
REDIRECT_PAYLOADS = [
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\/\\/evil.example/",
    "https:evil.example",
    "https://evil.example",
    "http:evil.example",
    "//evil%00.example",
    "//%0d%0aLocation:%20https://evil.example",
    "%0d%0aSet-Cookie:a=b",
    "/%09/evil.example",
    "/%5cevil.example",
    "//evil%E3%80%82example",
    "//shop.example@evil.example",
    "https://shop.example.evil.example",
    "//evil.example/%2f..",
    "//evil.example/%2e%2e%2f",
    "javascript:alert(1)",
    "java%0d%0ascript%0d%0a:alert(0)",
    "data:text/html;base64,PHNjcmlwdD4=",
    ";@evil.example",
    "0?url=https://evil.example",
    "0?redirect=//evil.example",
    "0?next=https://evil.example&to=//evil.example",
    "0/https://evil.example",
    "0#https://evil.example",
    "0%00",
    "-1",
    "1",
    "99",
    "00000000000000000000",
    "٠",
    "0.0",
    "1e0",
]


def test_a_pixel_is_a_gif_nobody_keeps_and_an_open_in_the_log(
    browser: TestClient, campaigning: Campaigning
) -> None:
    answer = browser.get(campaigning.url(Purpose.OPEN) + ".gif", headers={"User-Agent": "Reader"})

    assert answer.content.startswith(b"GIF89a")
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    [hit] = campaigning.logged()
    assert (hit["kind"], hit["campaign"], hit["contact_id"]) == ("open", "spring", 1)
    assert hit["user_agent"] == "Reader"


def test_a_click_leads_to_the_approved_link(browser: TestClient, campaigning: Campaigning) -> None:
    answer = browser.get(campaigning.url(Purpose.CLICK) + "/0")

    assert answer.status_code == 302
    assert answer.headers["location"] == SHOP
    assert campaigning.logged()[0]["link"] == 0


@pytest.mark.parametrize("payload", REDIRECT_PAYLOADS)
def test_no_request_chooses_where_a_click_leads(
    payload: str, browser: TestClient, campaigning: Campaigning
) -> None:
    answer = browser.get(f"{campaigning.url(Purpose.CLICK)}/{payload}")

    assert answer.headers.get("location") in (None, SHOP)
    assert answer.status_code in (302, 404)
    assert "evil" not in answer.text


def test_a_host_header_chooses_nothing(browser: TestClient, campaigning: Campaigning) -> None:
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}

    answer = browser.get(campaigning.url(Purpose.CLICK) + "/0/", headers=forged)

    assert answer.status_code == 404
    assert "evil" not in str(answer.headers)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 60), letter=st.sampled_from("ABCXYZabcxyz0189-_"))
def test_a_token_with_one_letter_changed_is_no_token(
    browser: TestClient, campaigning: Campaigning, place: int, letter: str
) -> None:
    for purpose, rest in ((Purpose.OPEN, ".gif"), (Purpose.CLICK, "/0"), (Purpose.UNSUBSCRIBE, "")):
        url = campaigning.url(purpose)
        at = 3 + place % (len(url) - 3)
        if url[at] != letter:
            forged = url[:at] + letter + url[at + 1 :]
            assert browser.get(forged + rest).status_code == 404
            assert campaigning.people.export().is_empty()
    assert campaigning.logged() == []


@pytest.mark.parametrize("purpose", [Purpose.OPEN, Purpose.CLICK, Purpose.VIEW])
def test_a_token_made_for_something_else_unsubscribes_nobody(
    purpose: Purpose, browser: TestClient, campaigning: Campaigning
) -> None:
    token = sign(Token(purpose, "spring", 1), campaigning.home.key("links"))

    assert browser.post(f"/u/{token}", data=ONE_CLICK).status_code == 404
    assert campaigning.people.export().is_empty()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_a_scanner_that_fetches_every_address_unsubscribes_nobody(
    method: str, browser: TestClient, campaigning: Campaigning
) -> None:
    url = campaigning.url(Purpose.UNSUBSCRIBE) + "?leave=all&List-Unsubscribe=One-Click"

    browser.request(method, url)

    assert campaigning.people.export().is_empty()
    assert campaigning.logged() == []


def test_one_click_leaves_the_topic_at_once_and_without_a_redirect(
    browser: TestClient, campaigning: Campaigning
) -> None:
    answer = browser.post(campaigning.url(Purpose.UNSUBSCRIBE), data=ONE_CLICK)

    assert answer.status_code == 200
    [row] = campaigning.people.export().to_dicts()
    assert (row["address_hash"], row["scope"], row["scope_key"]) == ("hash-1", "topic", "offers")
    assert [hit["kind"] for hit in campaigning.logged()] == ["unsubscribe"]


def test_one_click_may_come_as_multipart(browser: TestClient, campaigning: Campaigning) -> None:
    parts = {name: (None, value) for name, value in ONE_CLICK.items()}

    answer = browser.post(campaigning.url(Purpose.UNSUBSCRIBE), files=parts)

    assert answer.status_code == 200
    assert campaigning.people.export().height == 1


def test_the_page_offers_the_topic_and_everything_and_its_form_acts(
    browser: TestClient, campaigning: Campaigning
) -> None:
    page = browser.get(campaigning.url(Purpose.UNSUBSCRIBE))
    answer = browser.post(campaigning.url(Purpose.UNSUBSCRIBE), data={"leave": "all"})

    assert 'value="topic"' in page.text
    assert "Offers" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "all marketing mail" in answer.text
    assert campaigning.people.export()["scope"].to_list() == ["all"]


def test_a_campaign_whose_approval_is_gone_can_still_be_left(
    browser: TestClient, campaigning: Campaigning
) -> None:
    (campaigning.home.approvals / "spring" / "current").unlink()

    answer = browser.post(campaigning.url(Purpose.UNSUBSCRIBE, 77), data=ONE_CLICK)

    assert answer.status_code == 200
    [row] = campaigning.people.export().to_dicts()
    assert (row["contact_id"], row["scope"], row["address_hash"]) == (77, "all", "")


@pytest.mark.parametrize("body", [b"", b"leave=nothing", b"List-Unsubscribe=No", b"\xff\xfe=\x00"])
def test_a_post_that_asks_for_nothing_does_nothing(
    body: bytes, browser: TestClient, campaigning: Campaigning
) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = browser.post(campaigning.url(Purpose.UNSUBSCRIBE), content=body, headers=form)

    assert answer.status_code == 400
    assert campaigning.people.export().is_empty()


def test_a_body_past_the_cap_is_refused(browser: TestClient, campaigning: Campaigning) -> None:
    answer = browser.post(campaigning.url(Purpose.UNSUBSCRIBE), content=b"x" * (MAX_BODY_BYTES + 1))

    assert answer.status_code == 413


def test_who_withdrew_tracking_is_answered_and_not_recorded(
    browser: TestClient, campaigning: Campaigning, clock: FrozenClock
) -> None:
    campaigning.people.withdraw_tracking(1, clock.now())

    pixel = browser.get(campaigning.url(Purpose.OPEN) + ".gif")
    click = browser.get(campaigning.url(Purpose.CLICK) + "/0")

    assert (pixel.status_code, click.status_code) == (200, 302)
    assert campaigning.logged() == []


def test_a_click_in_mail_that_is_out_leads_where_it_led_whatever_is_approved_later(
    browser: TestClient, campaigning: Campaigning, lake: Lake
) -> None:
    sent = bundle.load_current("spring", campaigning.home.approvals)
    assert sent is not None
    planned = lake.read("campaigns.audience").with_columns(bundle=pl.lit(sent.content_hash))
    lake.replace(AUDIENCE, pl.DataFrame(planned.collect()))
    later = sent.model_copy(update={"message": {"links": ["https://shop.example/summer"]}})
    bundle.save(later, campaigning.home.approvals)

    answer = browser.get(campaigning.url(Purpose.CLICK) + "/0")

    assert answer.headers["location"] == SHOP


def test_a_link_that_is_no_web_address_is_not_followed(
    browser: TestClient, campaigning: Campaigning
) -> None:
    assert browser.get(campaigning.url(Purpose.CLICK) + "/1").status_code == 404


def test_it_says_whose_edge_it_is(browser: TestClient, campaigning: Campaigning) -> None:
    answer = browser.get("/.well-known/lettermill").json()

    assert answer == {"home_id": campaigning.home.identity().home_id}
    assert browser.get("/healthz").json() == {"status": "ok"}


@pytest.mark.slow
def test_as_a_process_it_listens_logs_and_ends_when_asked(campaigning: Campaigning) -> None:
    home = campaigning.home
    environ = Settings(home=home.root, edge_port=0).environ()
    process = subprocess.Popen([sys.executable, "-m", "streaming.edge"], env=environ, cwd=CHECKOUT)
    where, clock = home.stream / "edge.json", SystemClock()
    deadline = clock.monotonic() + 30
    while not where.exists() and clock.monotonic() < deadline:
        clock.sleep(0.05)
    port = json.loads(where.read_text())["port"]

    with urllib.request.urlopen(
        f"http://127.0.0.1:{port}{campaigning.url(Purpose.OPEN)}.gif"
    ) as answer:
        assert answer.read().startswith(b"GIF89a")
    os.kill(process.pid, signal.SIGTERM)

    assert process.wait(timeout=10) == 0
    assert len(campaigning.logged()) == 1
