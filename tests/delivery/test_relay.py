"""What goes over the wire, and what is known when the conversation breaks."""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.delivery.relay import ConnectionLost, Outcome, Relay, Stage, connect, probe
from pipelines.delivery.routes import FILE, load_routes
from pipelines.errors import Refused, RelayUnavailable
from pipelines.settings import Settings

SENDER, ADA = "bounce@mill.example", "ada@shop.example"
LETTER = b"Subject: hi\r\n\r\nhello\r\n"
# More than the kernel holds for a connection: it cannot be drained before the server has read.
HEAVY = (b"x" * 998 + b"\r\n") * 20_000
PLAIN = b"250 scripted"
SECRET = "correct-horse-battery"


@pytest.fixture(scope="session")
def talk(speaking: Any, hand_over: Any) -> Any:
    """One message to a server with these replies: what came of it, dots marked, what was heard."""

    async def conversation(message: bytes, to: str, replies: Any) -> tuple[Any, int, Any]:
        async with speaking(**replies) as server:
            return *(await hand_over(server.relay, message, to)), server

    return lambda message=LETTER, to=ADA, **replies: asyncio.run(conversation(message, to, replies))


@pytest.mark.parametrize("ehlo", [{}, {"ehlo": PLAIN}], ids=["pipelined", "command by command"])
@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "dot"])
def test_a_refusal_is_told_with_the_stage_it_came_at(talk: Any, stage: str, ehlo: dict[str, bytes]):
    after = {"data": b"503 5.5.1 no recipient"} if stage in ("mail", "rcpt") else {}

    outcome, dots, _ = talk(**{**ehlo, **after, stage: b"550 5.7.1 no"})

    assert (outcome.stage, outcome.reply.code) == (Stage(stage), 550)
    assert dots == int(stage == "dot")


def test_a_refused_recipient_whose_data_is_taken_all_the_same_gets_a_lone_dot(talk: Any):
    outcome, dots, server = talk(rcpt=b"550 5.1.1 unknown", dot=b"554 no recipients")

    assert (outcome.stage, outcome.reply.code, dots) == (Stage.RCPT, 550, 0)
    assert server.bodies == [b".\r\n"]


def test_after_a_refusal_the_same_connection_takes_the_next_message(speaking: Any):
    async def conversation() -> list[Outcome]:
        async with speaking(rcpt=b"550 5.1.1 unknown", data=b"503 5.5.1 no recipient") as server:
            connection = await connect(server.relay)
            first = await connection.transmit(SENDER, ADA, LETTER, before_dot=lambda: None)
            server.replies |= {"rcpt": b"250 ok", "data": b"354 go on"}
            second = await connection.transmit(SENDER, ADA, LETTER, before_dot=lambda: None)
            connection.quit()
            return [first, second]

    assert [outcome.stage for outcome in asyncio.run(conversation())] == [Stage.RCPT, Stage.DOT]


@pytest.mark.parametrize("offers", [{"ehlo": PLAIN}, {}], ids=["plain", "pipelined"])
@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "dot"])
def test_a_server_that_closes_with_421_is_heard_before_it_is_gone(
    talk: Any, stage: str, offers: dict[str, bytes]
):
    outcome, dots, _ = talk(**{**offers, stage: b"421 4.3.2 going down"})

    assert (outcome.stage, outcome.reply.code) == (Stage(stage), 421)
    assert dots == int(stage == "dot")


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
def test_a_421_to_a_pipelined_envelope_never_sends_the_message(talk: Any, stage: str):
    _, dots, server = talk(**{stage: b"421 4.3.2 going down"})

    assert (dots, server.bodies) == (0, [])


@pytest.mark.parametrize("reply", [None, b"421 4.3.2 too busy"], ids=["dropped", "421"])
@pytest.mark.parametrize("stage", ["connect", "ehlo"])
def test_a_server_that_lets_nobody_in_is_unavailable(talk: Any, stage: str, reply: bytes | None):
    with pytest.raises(RelayUnavailable, match=r"no usable SMTP server at 127\.0\.0\.1"):
        talk(**{stage: reply})


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
def test_a_connection_dropped_before_the_body_has_marked_no_dot(talk: Any, stage: str):
    result, dots, _ = talk(**{stage: None})

    assert (result, dots) == (ConnectionLost, 0)


@pytest.mark.parametrize("body", [None, b"452 4.3.1 too big"], ids=["dropped", "answered early"])
def test_a_body_cut_short_has_marked_no_dot(talk: Any, body: bytes | None):
    result, dots, _ = talk(HEAVY, body=body)

    assert (result, dots) == (ConnectionLost, 0)


def test_a_connection_dropped_at_the_dot_has_marked_it(talk: Any):
    result, dots, server = talk(dot=None)

    assert (result, dots) == (ConnectionLost, 1)
    assert server.bodies == [LETTER + b".\r\n"]


def test_the_dot_is_not_on_the_wire_when_it_is_marked(speaking: Any):
    async def conversation() -> list[bytes]:
        async with speaking() as server:
            connection = await connect(server.relay)
            seen: list[bytes] = []
            await connection.transmit(
                SENDER, ADA, HEAVY, before_dot=lambda: seen.extend(server.bodies)
            )
            connection.quit()
            return seen

    assert asyncio.run(conversation()) == []


def test_a_reply_of_several_lines_is_one_reply(talk: Any):
    outcome, _, _ = talk(dot=b"550-5.7.1 not\r\n550-5.7.1 wanted\r\n550 5.7.1 here")

    assert (outcome.reply.code, outcome.reply.enhanced) == (550, "5.7.1")
    assert outcome.reply.text == "5.7.1 not 5.7.1 wanted 5.7.1 here"


@pytest.mark.parametrize(
    "garbage", [b"hello", b"25", b"", b"\xff\xfe", b"25x ok", b"250-" + b"x" * 70_000]
)
def test_a_reply_that_is_none_ends_the_connection(talk: Any, garbage: bytes):
    result, dots, _ = talk(mail=garbage + b"\r\n", rcpt=b"", data=b"")

    assert (result, dots) == (ConnectionLost, 0)


@settings(deadline=None)
@given(reply=st.binary(max_size=60))
def test_whatever_a_server_says_to_a_dot_is_an_outcome_or_a_lost_connection(
    talk: Any, reply: bytes
):
    result, dots, _ = talk(dot=reply + b"\r\n250 end")

    assert dots == 1
    assert result is ConnectionLost or result.stage is Stage.DOT


@pytest.mark.parametrize(
    "address",
    ["ada@shop.example\r\nDATA", "<ada@shop.example>", "a da@shop.example", "ada", "a@b@c.example",
     "ada,bert@shop.example", "ada\x00@shop.example", "ada@" + "x" * 64 + ".example", "ada@a..example"],
)  # fmt: skip
def test_an_address_no_envelope_can_hold_is_refused_before_a_byte(talk: Any, address: str):
    result, dots, server = talk(to=address)

    assert (result, dots) == (Refused, 0)
    assert not any(command.startswith(b"MAIL") for command in server.commands)


@pytest.mark.parametrize(
    ("offers", "address", "command"),
    [
        (b"250 scripted", "ada@bücher.example", ["RCPT TO:<ada@xn--bcher-kva.example>"]),
        (b"250-scripted\r\n250 SMTPUTF8", "ädä@shop.example", ["RCPT TO:<ädä@shop.example>"]),
        (b"250 scripted", "ädä@shop.example", []),
    ],
    ids=["international domain", "international mailbox", "mailbox the relay cannot take"],
)
def test_an_international_address_is_written_as_the_relay_can_take_it(
    talk: Any, offers: bytes, address: str, command: list[str]
):
    _, _, server = talk(to=address, ehlo=offers)

    assert [c.decode() for c in server.commands if c.startswith(b"RCPT")] == command


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and the certificate it signed itself, in one file; nobody trusts it unasked."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9"]
    name = ["-subj", "/CN=relay", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *kind, *name, "-keyout", file, "-out", f"{file}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


def log_in(certificate: Path, *, tls: str, password: str) -> None:
    """Probe a server that wants a name and a password, over an encrypted line only."""

    async def conversation() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

        def let_in(*call: Any) -> AuthResult:
            return AuthResult(success=call[-1].password == SECRET.encode(), handled=False)

        def session() -> SMTP:
            upgrade = context if tls == "starttls" else None
            return SMTP(
                object(),
                tls_context=upgrade,
                authenticator=let_in,
                auth_require_tls=upgrade is not None,
            )

        loop = asyncio.get_running_loop()
        over = context if tls == "implicit" else None
        async with await loop.create_server(session, "127.0.0.1", 0, ssl=over) as server:
            port = server.sockets[0].getsockname()[1]
            await probe(Relay("127.0.0.1", port, "mill", password, tls))

    asyncio.run(conversation())


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
def test_the_right_password_is_let_in(certificate: Path, tls: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    log_in(certificate, tls=tls, password=SECRET)


@pytest.mark.parametrize(
    ("trusted", "what", "setting"),
    [
        (True, "does not accept this user name and password", "LETTERMILL_RELAY_PASSWORD"),
        (False, "certificate verify failed", "LETTERMILL_RELAY_TLS"),
    ],
    ids=["wrong password", "unknown certificate"],
)
def test_who_is_not_let_in_is_told_so_in_one_message_without_the_secret(
    certificate: Path, trusted: bool, what: str, setting: str, monkeypatch: pytest.MonkeyPatch
):
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    with pytest.raises(RelayUnavailable) as refused:
        log_in(certificate, tls="starttls", password="wrong-staple")

    (problem,) = refused.value.problems
    assert what in problem.what
    assert setting in problem.where
    assert "wrong-staple" not in str(refused.value) + repr(refused.value.__cause__)


def test_a_token_logs_in_where_the_relay_takes_tokens(speaking: Any):
    async def conversation() -> list[bytes]:
        offers = b"250-scripted\r\n250 AUTH XOAUTH2"
        async with speaking(ehlo=offers, auth=b"235 2.7.0 ok") as server:
            token = Relay("127.0.0.1", server.port, "us@shop.example", SECRET, auth="xoauth2")
            await probe(token)
            return list(server.commands)

    (said,) = (each for each in asyncio.run(conversation()) if each.startswith(b"AUTH"))

    kind, given = said.split()[1:]
    assert kind == b"XOAUTH2"
    told = base64.b64decode(given)
    assert told == f"user=us@shop.example\x01auth=Bearer {SECRET}\x01\x01".encode()


def test_a_password_in_a_file_is_the_one_that_is_there_when_a_connection_is_opened(
    speaking: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "token"
    file.write_text("old-token\n")
    monkeypatch.setenv("LETTERMILL_RELAY_PASSWORD_FILE", str(file))
    monkeypatch.setenv("LETTERMILL_RELAY_PASSWORD_MAIN_FILE", str(file))
    (tmp_path / "assets").mkdir()

    async def conversation() -> list[bytes]:
        offers = b"250-scripted\r\n250 AUTH XOAUTH2"
        async with speaking(ehlo=offers, auth=b"235 2.7.0 ok") as server:
            named = f"host: 127.0.0.1, port: {server.port}, tls: none, username: us, auth: xoauth2"
            settings = Settings.load(
                project=tmp_path, relay_port=server.port, relay_tls="none", relay_username="us",
                relay_auth="xoauth2",
            )  # fmt: skip
            of_settings = load_routes(settings, brand="mill").ways[0].relay
            (tmp_path / FILE).write_text(f"relays: {{main: {{{named}}}}}")
            of_file = load_routes(settings, brand="mill").ways[0].relay
            for token in ("first-token", "second-token"):
                file.write_text(f"{token}\n")
                await probe(of_settings)
                await probe(of_file)
            file.unlink()
            with pytest.raises(RelayUnavailable, match="file cannot be read"):
                await probe(of_file)
            return [line for line in server.commands if line.startswith(b"AUTH")]

    said = [base64.b64decode(line.split()[2]) for line in asyncio.run(conversation())]

    assert [b"first-token" in each for each in said] == [True, True, False, False]
    assert [b"second-token" in each for each in said] == [False, False, True, True]
