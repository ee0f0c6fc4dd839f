"""Where a campaign stands: the numbers add up, and one contact's story is told."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from pipelines.delivery.overview import contacts_of, status, unaccounted, why
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression
from pipelines.demo.prepare import Demo
from pipelines.schema import AUDIENCE, ENGAGEMENT_EVENTS, SENDS

pytestmark = pytest.mark.slow


def table(demo: Demo, name: str) -> pl.DataFrame:
    return demo.workspace.lake.read(name).filter(campaign=demo.campaign).collect()


def write_sends(demo: Demo, sends: pl.DataFrame) -> None:
    demo.workspace.lake.replace(SENDS, sends, campaign=demo.campaign)


def test_before_a_send_everybody_to_mail_is_unaccounted_for(demo: Demo):
    found = status(demo.campaign, demo.workspace)

    assert unaccounted(demo.campaign, demo.workspace) == found.counts["mail"] > 0
    assert found.in_doubt == []


def test_after_a_send_the_counts_add_up_and_nobody_is_unaccounted_for(sent: Demo):
    counts = status(sent.campaign, sent.workspace).counts

    decisions = {name: counts.pop(name) for name in ("mail", "hold_out", "excluded")}
    assert sum(decisions.values()) == table(sent, AUDIENCE.name).height
    assert counts == {"accepted": decisions["mail"]}
    assert unaccounted(sent.campaign, sent.workspace) == 0


def test_who_is_in_doubt_is_told_by_id(sent: Demo):
    sends = table(sent, SENDS.name)
    doubted = sorted(sends["contact_id"].to_list()[:3])
    state = pl.when(pl.col("contact_id").is_in(doubted)).then(pl.lit("in_doubt"))
    write_sends(sent, sends.with_columns(state=state.otherwise("state")))

    found = status(sent.campaign, sent.workspace)

    assert found.in_doubt == doubted
    assert found.counts["accepted"] + found.counts["in_doubt"] == found.counts["mail"]


@pytest.mark.parametrize("wrong", ["missing", "twice", "strange"])
def test_a_recipient_without_exactly_one_row_is_unaccounted_for(sent: Demo, wrong: str):
    sends = table(sent, SENDS.name)
    first, rest = sends.head(1), sends.tail(-1)
    broken = {
        "missing": rest,
        "twice": pl.concat([sends, first]),
        "strange": pl.concat([sends, first.with_columns(contact_id=pl.lit(-1, pl.Int64))]),
    }
    write_sends(sent, broken[wrong])

    assert unaccounted(sent.campaign, sent.workspace) == 1


def test_another_campaigns_rows_are_not_counted(sent: Demo):
    others = table(sent, SENDS.name).with_columns(campaign=pl.lit("another"))
    sent.workspace.lake.replace(SENDS, others, campaign="another")

    assert unaccounted(sent.campaign, sent.workspace) == 0
    assert unaccounted("another", sent.workspace) == others.height


def test_the_story_of_a_recipient_is_told_from_plan_to_outcome(sent: Demo):
    mailed = table(sent, AUDIENCE.name).filter(decision="mail").row(0, named=True)

    planned, settled = why(sent.campaign, mailed["contact_id"], sent.workspace)

    assert planned.endswith(f"planned: mail, variant {mailed['variant']}")
    assert (
        "accepted after 1 attempt, reply accepted, with the message that test approved" in settled
    )


@pytest.mark.parametrize(
    ("decision", "reason", "told"),
    [
        ("hold_out", "hold_out", "planned: hold out"),
        ("excluded", "no_consent", "planned: excluded (no consent)"),
        ("excluded", "consent_withdrawn", "planned: excluded (consent withdrawn)"),
    ],
)
def test_the_story_of_who_gets_nothing_says_why(sent: Demo, decision: str, reason: str, told: str):
    chosen = table(sent, AUDIENCE.name).filter(decision=decision, reason=reason)

    (line,) = why(sent.campaign, chosen["contact_id"][0], sent.workspace)

    assert told in line


def test_of_a_contact_who_was_no_candidate_there_is_no_story(sent: Demo):
    assert why(sent.campaign, -1, sent.workspace) == []


def test_the_story_goes_on_with_what_they_did_and_what_stands_against_them_now(sent: Demo):
    row = table(sent, AUDIENCE.name).filter(decision="mail").row(0, named=True)
    contact, lake = row["contact_id"], sent.workspace.lake
    events = [
        {"kind": "click", "link": 2, "is_machine": True, "verdict": "scanner"},
        {"kind": "unsubscribe", "detail": "topic", "is_machine": False},
    ]
    common = {"campaign": sent.campaign, "contact_id": contact, "occurred_at": row["planned_at"]}
    rows = [{"event_id": str(n), **common, **each} for n, each in enumerate(events)]
    rows[1]["occurred_at"] += timedelta(minutes=1)
    lake.append(ENGAGEMENT_EVENTS, pl.DataFrame(rows, schema=ENGAGEMENT_EVENTS.schema))
    decision = Suppression(
        row["address_hash"],
        contact,
        Scope.TOPIC,
        "news",
        Reason.UNSUBSCRIBED,
        row["planned_at"],
        "t",
    )
    PeopleStore(sent.home.people).suppress([decision])

    *_, click, left, now = why(sent.campaign, contact, sent.workspace)

    assert click.endswith("click, link 2, by a machine: scanner")
    assert left.endswith("unsubscribe (topic)")
    assert now == "now suppressed for topic news: unsubscribed"


def test_somebody_is_found_by_address_or_by_id(sent: Demo):
    contacts = sent.workspace.lake.read("core.contacts").filter(pl.col("address").is_not_null())
    contact, address = contacts.select("contact_id", "address").collect().row(0)

    assert contact in contacts_of(f" {address.upper()} ", sent.workspace)
    assert contacts_of(str(contact), sent.workspace) == [contact]
    assert contacts_of("nobody@nowhere.example", sent.workspace) == []
    assert contacts_of("not an address", sent.workspace) == []
