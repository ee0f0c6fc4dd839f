"""Whoever changes a ledger holds the one this home knows: no command makes a lost or older one good."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.clock import FrozenClock
from pipelines.delivery import approval, control, overview
from pipelines.delivery.amending import amend
from pipelines.delivery.due import due
from pipelines.delivery.pausing import resume
from pipelines.delivery.resolving import Decision, resolve
from pipelines.delivery.sending import send_campaign
from pipelines.delivery.states import State
from pipelines.demo.prepare import Demo
from pipelines.errors import LedgerRefused, SendHeld
from pipelines.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow
COMMANDS: dict[str, Callable[[str, Workspace], object]] = {
    "send": send_campaign,
    "retry-failed": control.retry_failed,
    "resolve": resolve,
    "resolve --resend": lambda key, space: resolve(
        key, space, decision=Decision(State.WAIVED_RESEND, "Ines")
    ),
    "cancel": lambda key, space: control.cancel(key, space, by="Ines", why="test"),
    "amend": lambda key, space: amend(key, by="Ines", workspace=space),
}


def path_of(demo: Demo) -> Path:
    return demo.home.ledgers / f"{demo.campaign}.sqlite"


def lose(demo: Demo) -> None:
    for path in demo.home.ledgers.glob(f"{demo.campaign}.[sm]*"):
        path.unlink()


def change(demo: Demo, script: str) -> None:
    db = sqlite3.connect(path_of(demo))
    db.executescript(script)
    db.close()


def restore_an_earlier_copy(demo: Demo) -> None:
    change(demo, "delete from sends where recipient % 2; replace into meta values ('epoch', 0)")
    path_of(demo).with_suffix(".marks").unlink()


def empty_it(demo: Demo) -> None:
    lose(demo)
    path_of(demo).touch()


def restore_a_copy_made_while_it_was_sent(demo: Demo) -> None:
    change(demo, "delete from sends where recipient % 2")
    path_of(demo).with_suffix(".marks").unlink()


def take_one_from_elsewhere(demo: Demo) -> None:
    change(demo, "update meta set value = 'elsewhere' where name = 'home_id'")


def lose_claims(demo: Demo) -> None:
    change(demo, "delete from sends where recipient % 2")


def kept(demo: Demo) -> int:
    return len(list((demo.home.sink / "new").iterdir()))


@pytest.mark.parametrize(
    "harm",
    [
        lose,
        empty_it,
        restore_an_earlier_copy,
        restore_a_copy_made_while_it_was_sent,
        take_one_from_elsewhere,
        lose_claims,
    ],
    ids=["missing", "empty", "older", "copied", "another home's", "with claims lost"],
)
def test_no_command_makes_a_ledger_trusted_that_is_not(sent: Demo, harm: Callable[[Demo], None]):
    key, space = sent.campaign, sent.workspace
    harm(sent)
    was_there, before = path_of(sent).exists(), kept(sent)

    for name, command in COMMANDS.items():
        if name == "amend":
            control.pause(key, space, by="Ines", why="test")
        with pytest.raises(LedgerRefused, match="cannot be trusted"):
            command(key, space)
        assert path_of(sent).exists() == was_there, name

        resume(sent.home.ledgers, key)  # cancel and amend leave it paused
    with pytest.raises(LedgerRefused, match="cannot be trusted"):
        send_campaign(key, space)
    assert kept(sent) == before


def test_whom_an_older_ledger_calls_deferred_is_not_given_up_on(sent: Demo):
    change(
        sent,
        "update sends set state = 'deferred', next_at = 0; replace into meta values ('epoch', 0)",
    )
    now = sent.workspace.clock.now()
    later = open_workspace(sent.settings, FrozenClock(now + timedelta(days=4)))

    with pytest.raises(LedgerRefused, match="cannot be trusted"):
        send_campaign(sent.campaign, later)


def test_after_a_ledger_was_emptied_nothing_else_is_approved_in_its_place(sent: Demo):
    body = sent.settings.project / "assets/campaigns" / sent.campaign / "body.mjml.j2"
    body.write_text(body.read_text().replace("Warmly", "Yours"))
    empty_it(sent)

    with pytest.raises(SendHeld, match="already sent to some"):
        approval.approve(sent.campaign, by="Tom", workspace=sent.workspace)


def test_what_a_command_did_to_a_ledger_is_not_undone_by_an_earlier_copy(sent: Demo):
    key, space = sent.campaign, sent.workspace
    change(sent, "update sends set state = 'deferred', next_at = 0 where recipient = 0")
    path_of(sent).with_suffix(".marks").unlink()
    earlier = path_of(sent).read_bytes()
    assert control.cancel(key, space, by="Ines", why="the product is gone") == 1
    control.resume(key, space)

    path_of(sent).write_bytes(earlier)

    with pytest.raises(LedgerRefused, match="is older than the lake knows"):
        send_campaign(key, space)


def test_who_only_looks_makes_no_ledger(sent: Demo):
    lose(sent)
    before = sorted(path.name for path in sent.home.ledgers.iterdir())

    overview.status(sent.campaign, sent.workspace)
    overview.why(sent.campaign, 1, sent.workspace)
    due(sent.workspace)
    approval.has_begun(sent.campaign, sent.workspace)

    assert sorted(path.name for path in sent.home.ledgers.iterdir()) == before
