"""What the command says of a send: rehearsed, sent, amended, resolved."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

SLUG = "autumn-thanks"


def test_a_rehearsal_tells_what_a_send_would_do_and_leaves_no_trace(approved: Any):
    done = approved.run("campaign", "send", SLUG, "--rehearse", "--limit", "20").succeeded()

    assert "written" in done.out
    assert "20" in done.out
    assert "5 of 5 said to the relay: taken up to the dot" in done.err
    assert "was rehearsed to the last dot; nobody was mailed" in done.err
    assert not approved.began_to_send()


def test_a_limit_without_a_rehearsal_is_wrong_usage(approved: Any):
    done = approved.run("campaign", "send", SLUG, "--limit", "20")

    assert done.code == 2
    assert "a send goes to everybody" in done.err
    assert not approved.began_to_send()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--skip"], "need --by NAME"),
        (["--skip", "--resend", "--by", "ines"], "either --resend or --skip"),
        (["--zone", "Mars/Olympus"], "is not an IANA time zone"),
    ],
)
def test_a_decision_names_one_way_and_who_decides(approved: Any, words: list[str], said: str):
    done = approved.run("campaign", "resolve", SLUG, *words)

    assert done.code == 2
    assert said in " ".join(done.err.replace("│", " ").split())


def test_who_is_in_doubt_is_settled_and_the_story_is_told(approved: Any):
    approved.run("campaign", "send", SLUG).succeeded()
    with sqlite3.connect(approved.home.ledgers / f"{SLUG}.sqlite") as ledger:
        (who,) = ledger.execute("select min(contact_id) from sends").fetchone()
        ledger.execute("update sends set state = 'in_doubt' where contact_id = ?", (who,))

    settled = approved.run("campaign", "resolve", SLUG).succeeded()
    again = approved.run("campaign", "resolve", SLUG, "--json").succeeded()
    story = approved.run("campaign", "why", SLUG, str(who)).succeeded()

    assert "confirmed sent by what the sink has: 1" in settled.err
    assert "still in doubt: 0" in settled.err
    assert again.json() == {"settled": [], "in_doubt": 0, "flaws": []}
    assert "was in doubt: confirmed sent by what the sink has" in story.out
    assert "with the message that ines approved on" in story.out


def test_a_send_that_is_not_paused_is_not_amended_and_a_paused_one_is(approved: Any):
    approved.edit(f"assets/campaigns/{SLUG}/campaign.yaml", "The winter papers are here", "Now")
    running = approved.run("campaign", "amend", SLUG, "--by", "ines")
    approved.run("campaign", "pause", SLUG, "--by", "ines").succeeded()
    unsent = approved.run("campaign", "amend", SLUG, "--by", "ines")

    running.refused("is not paused", f"lettermill campaign pause {SLUG}")
    unsent.refused("was sent to nobody yet", f"lettermill campaign approve {SLUG}")
