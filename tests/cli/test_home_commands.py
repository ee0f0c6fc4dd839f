"""init, doctor, tables and sql; and what `--json` promises of every command that has it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest

CONTACTS = 200


@pytest.fixture
def no_web_server() -> Iterator[str]:
    """The URL of a port whose server greets like a mail server."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"220 mail.example ESMTP\r\n")

    thread = Thread(target=answer)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    thread.join()
    server.close()


def findings(done: Any) -> dict[str, tuple[str, str, str]]:
    return {each["what"]: (each["state"], each["told"], each["do"]) for each in done.json()}


def test_init_makes_a_home_and_a_second_time_changes_nothing(empty: Any):
    first = empty.run("init").succeeded()
    before = {path: path.read_bytes() for path in empty.home.root.rglob("*") if path.is_file()}
    second = empty.run("init").succeeded()
    after = {path: path.read_bytes() for path in empty.home.root.rglob("*") if path.is_file()}

    assert (first.out, second.out) == ("", "")
    assert "lettermill doctor" in first.err
    assert after == before
    assert len(list(empty.home.keys.iterdir())) == 3


def test_init_elsewhere_says_how_to_use_that_home(empty: Any):
    folder = empty.home.root.parent / "another"

    done = empty.run("init", str(folder)).succeeded()

    assert f"export LETTERMILL_HOME={folder}" in done.err
    assert not empty.home.root.exists()


def test_init_where_a_file_stands_is_refused_and_leaves_it(empty: Any):
    empty.home.root.write_text("mine")

    done = empty.run("init")

    done.refused("HomeInvalid", str(empty.home.root), "File exists", "lettermill init DIR")
    assert empty.home.root.read_text() == "mine"


def test_init_does_not_write_over_an_identity_it_cannot_read(fresh: Any):
    (fresh.home.root / "home.json").write_text("{")
    keys = {path: path.read_text() for path in fresh.home.keys.iterdir()}

    done = fresh.run("init")

    done.refused("HomeInvalid", "home.json", "Restore it from a backup")
    assert {path: path.read_text() for path in fresh.home.keys.iterdir()} == keys


@pytest.mark.parametrize(
    "words",
    [["source", "load", "shop"], ["campaign", "send", "autumn-thanks"]],
    ids=" ".join,
)
def test_without_a_home_a_command_says_how_to_make_one_and_makes_none(empty: Any, words: list[str]):
    done = empty.run(*words)

    done.refused("HomeInvalid", str(empty.home.root), "Make one: lettermill init")
    assert not empty.home.root.exists()


def test_doctor_finds_a_sound_home_fine(shop_to_read: Any):
    done = shop_to_read.run("doctor", "--json").succeeded()

    states = {what: state for what, (state, _, _) in findings(done).items()}
    assert states == {
        "home": "fine",
        "keys": "fine",
        "signatures": "fine",
        "delivery": "fine",
        "relay": "fine",
        "edge": "note",
        "stream": "note",
    }


def test_doctor_shows_each_finding_with_what_to_do(empty: Any):
    done = empty.run("doctor")

    assert done.code == 1
    assert "is not a home" in done.out
    assert "→ Make one: lettermill init" in done.out


def test_doctor_tells_everything_that_is_wrong_and_what_to_do(fresh: Any, nobody_listens: str):
    identity = fresh.home.root / "home.json"
    identity.write_text(json.dumps({**json.loads(identity.read_text()), "machine_id": "another"}))
    (fresh.home.keys / "links.key").chmod(0o644)

    done = fresh.run(
        "doctor",
        "--json",
        LETTERMILL_PROJECT=str(fresh.home.root / "nowhere"),
        LETTERMILL_DELIVERY_MODE="redirect",
        LETTERMILL_REDIRECT_TO="ines@mill.example",
        LETTERMILL_RELAY_PORT=nobody_listens,
    )

    found = findings(done)
    assert done.code == 1
    assert {what for what, (state, _, _) in found.items() if state == "problem"} == {
        "machine",
        "keys",
        "project",
        "relay",
    }
    assert "--accept" in found["machine"][2]
    assert found["keys"][1] == "others can read links.key"
    assert "LETTERMILL_PROJECT" in found["project"][2]
    assert f"127.0.0.1:{nobody_listens}" in found["relay"][1]
    assert "LETTERMILL_RELAY_HOST" in found["relay"][2]


def test_doctor_gets_over_a_public_url_that_is_no_web_server(fresh: Any, no_web_server: str):
    done = fresh.run("doctor", "--json", LETTERMILL_PUBLIC_URL=no_web_server).succeeded()

    assert "does not answer" in findings(done)["edge"][1]


def test_doctor_gets_over_an_event_log_that_is_gone(fresh: Any):
    fresh.home.event_log.rmdir()

    done = fresh.run("doctor", "--json").succeeded()

    assert findings(done)["stream"] == ("note", "no event was ever logged", "")


def test_tables_lists_rows_version_and_grain(shop_to_read: Any):
    rows = {row["table"]: row for row in shop_to_read.run("tables", "--json").succeeded().json()}

    contacts = {"version": 0, "rows": CONTACTS, "grain": "one row per contact"}
    assert rows["core.contacts"] == {"table": "core.contacts", **contacts}
    assert rows["campaigns.sends"]["version"] is None
    assert rows["raw.shop_orders"]["grain"] == "one row per source row"


def test_sql_answers_on_stdout(shop_to_read: Any):
    done = shop_to_read.run("sql", "select count(*) as found from core.contacts").succeeded()

    assert {"found", str(CONTACTS)} <= set(done.out.split())
    assert done.err == ""


def test_sql_runs_a_segment_file_as_it_stands(shop_to_read: Any):
    file = shop_to_read.project / "sql/segments/bought_last_30_days.sql"

    done = shop_to_read.run("sql", str(file), "--as-of", "2026-11-02T08:00:00Z").succeeded()

    assert "last_ordered_at" in done.out


def test_sql_runs_a_segment_file_with_its_parameters_over_the_files_it_reads(shop_to_read: Any):
    folder = shop_to_read.project / "sql/segments"
    header = "/*\ndescription: Contacts of the tests alone\nowner: team:tests\nparameters: {most: 3}\n*/\n"
    below = folder / "tried_below.sql"
    below.write_text(header + "select contact_id from core.contacts where contact_id <= $most")
    above = folder / "tried_above.sql"
    above.write_text(
        header + "select contact_id from segments.tried_below where contact_id < $most"
    )
    try:
        done = shop_to_read.run("sql", str(above), "--csv").succeeded()
    finally:
        below.unlink()
        above.unlink()

    assert done.out.split() == ["contact_id", "1", "2"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select * from core.contcts", ["contcts", 'Did you mean "contacts"?']),
        ("select cast(city as integer) from core.contacts", ["Could not convert"]),
        ("delete from core.contacts", ["Can only delete from base table"]),
        ("select * from read_csv('/etc/passwd')", ["file system operations are disabled"]),
    ],
    ids=["table", "value", "write", "file"],
)
def test_sql_that_cannot_be_run_is_told_in_words_and_changes_nothing(
    shop_to_read: Any, query: str, words: list[str]
):
    before = shop_to_read.versions()

    done = shop_to_read.run("sql", query)

    done.refused("the query cannot be run", *words, "lettermill tables")
    assert shop_to_read.versions() == before


def test_sql_from_a_file_that_is_not_there_names_the_file(shop_to_read: Any):
    shop_to_read.run("sql", "nowhere.sql").refused("nowhere.sql cannot be read", "Check the path")


@pytest.mark.parametrize(
    "words",
    [
        ["source", "list"],
        ["segment", "preview", "bought_last_30_days", "--as-of", "2026-11-02T08:00:00Z"],
        ["campaign", "status", "autumn-thanks"],
        ["campaign", "audience", "autumn-thanks"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_json_is_one_document_on_stdout(shop_to_read: Any, words: list[str]):
    done = shop_to_read.run(*words, "--json").succeeded()

    assert done.json()
    assert done.err == ""


def test_json_of_a_load_is_one_document_that_accounts_for_every_row(loaded: Any):
    exports = ["contacts", "products", "orders", "order_lines", "activities", "consents"]

    assert [each["export"] for each in loaded.json()] == exports
    assert all(each["read"] == each["accepted"] + each["quarantined"] for each in loaded.json())


def test_json_of_an_approval_is_one_document_on_stdout(shop: Any):
    done = shop.run("campaign", "approve", "autumn-thanks", "--by", "ines", "--json").succeeded()

    (bundle,) = (shop.home.approvals / "autumn-thanks").glob("*.json")
    assert done.json()["expected"] > 50
    assert done.json()["hash"] == bundle.stem
    assert {each["rule"] for each in done.json()["findings"]} == {"client-plainer"}
    assert done.err == ""


def test_an_approval_tells_what_lint_warns_of(shop: Any):
    said = shop.run("campaign", "approve", "autumn-thanks", "--by", "ines").succeeded().err

    assert "· client-plainer  HTML has " in said
    assert "✓ autumn-thanks approved by ines" in said
