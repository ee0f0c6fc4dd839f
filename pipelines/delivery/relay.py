"""Where mail is handed over: how a connection is opened, and what it means when none is.

aiosmtplib greets, encrypts and logs in; what is said from then on is wire.py's.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import aiosmtplib

from pipelines.delivery.dsn import Report
from pipelines.delivery.replies import Reply
from pipelines.delivery.wire import Connection, ConnectionLost, Outcome, Stage
from pipelines.errors import Problem, RelayUnavailable
from pipelines.settings import Settings

__all__ = [
    "SLOW",
    "Connection",
    "ConnectionLost",
    "Outcome",
    "Relay",
    "Stage",
    "connect",
    "probe",
    "unavailable",
]

OPEN_SECONDS = 30.0
LOGIN = "LETTERMILL_RELAY_USERNAME, LETTERMILL_RELAY_PASSWORD"
SLOW = "it takes too long to let us in"
WHERE = "LETTERMILL_RELAY_HOST, LETTERMILL_RELAY_PORT"


@dataclass(frozen=True)
class Relay:
    """Where mail is handed over, and how.

    auth            `auto`: what the server offers of CRAM-MD5, PLAIN, LOGIN; `xoauth2`: password is a token
    password_file   where the password is read for each connection: a token is good for an hour
    per_connection  messages on one connection at most; None: as many as the server takes
    report          what it is asked to report, where it offers DSN
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: str = "none"
    auth: str = "auto"
    per_connection: int | None = None
    report: Report = Report.FAILURE
    password_file: Path | None = field(default=None, repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> Relay:
        secret = settings.relay_password
        return cls(
            settings.relay_host,
            settings.relay_port,
            settings.relay_username,
            secret.get_secret_value() if secret else None,
            settings.relay_tls,
            settings.relay_auth,
            password_file=settings.relay_password_file,
        )


async def connect(relay: Relay) -> Connection:
    """Open a connection. Raises RelayUnavailable, which names the settings it used."""
    password = _password(relay)
    token = password if relay.auth == "xoauth2" else None

    async def given() -> str:
        return token or ""

    client = aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        username=relay.username,
        password=None if token else password,
        oauth_token_generator=given if token else None,
        use_tls=relay.tls == "implicit",
        start_tls=relay.tls == "starttls",
        timeout=OPEN_SECONDS,
    )
    try:
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await client.ehlo()
        return Connection(client, relay.report)
    except (aiosmtplib.SMTPException, OSError, ConnectionLost) as error:
        client.close()
        raise unavailable(relay, _why(error), _setting_of(error)) from error


def _password(relay: Relay) -> str | None:
    """The password or token as it is now. Raises RelayUnavailable when its file cannot be read."""
    if relay.password_file is None:
        return relay.password
    try:
        return relay.password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        told = f"the password's file cannot be read ({type(error).__name__})"
        raise unavailable(relay, told, LOGIN) from None


def _why(error: Exception) -> str:
    """What went wrong, in the library's or the system's words; a server may repeat what we sent to log in."""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return "the server does not accept this user name and password"
    told = Reply(0, str(error)).masked.removeprefix("0 ")[:200]
    return f"{told} ({type(error).__name__})" if told else type(error).__name__


def _setting_of(error: Exception) -> str:
    """The setting to look at first."""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return LOGIN
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return "LETTERMILL_RELAY_TLS"
    return WHERE


def unavailable(relay: Relay, what: str, setting: str = WHERE) -> RelayUnavailable:
    """The error for a relay that does not answer as it should."""
    return RelayUnavailable(
        f"no usable SMTP server at {relay.host}:{relay.port}",
        [Problem(setting, what)],
        do="Start it or set them right, then run the send again: nobody is mailed twice",
    )


async def probe(relay: Relay, seconds: float = inf) -> None:
    """See whether the relay lets us in, within this time, and leave."""
    try:
        async with asyncio.timeout(seconds):
            (await connect(relay)).quit()
    except TimeoutError:
        raise unavailable(relay, SLOW) from None
