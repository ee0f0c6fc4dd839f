"""One question to a server of the public web, without being led anywhere else.

Knows which addresses are public, and that what was checked is what is connected to: a name is resolved
once, every address it has must be public, and no second look-up can put another in its place. Sends no
cookie, no credential and nothing of ours but who asks.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread, Timer
from urllib.parse import quote, urlsplit

import idna

PORTS = {"http": 80, "https": 443}
CONNECT_SECONDS = 5.0
# A status from here on is a refusal; some servers refuse HEAD alone.
REFUSED_FROM = 400
# Not to be reached from anywhere, and global for Python before 3.13: RFC 9637 (documentation) and the
# whole of RFC 6890's 192.0.0.0/24, of which two addresses are said to be.
_SPECIAL = tuple(ipaddress.ip_network(each) for each in ("3fff::/20", "192.0.0.0/24", "5f00::/16"))
# Ways to a private IPv4 address that are global by themselves: mapped, compatible, NAT64, 6to4, Teredo.
_TUNNELS = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"),
        "192.88.99.0/24",
    )
)
_SAFE = "/%:@!$&'()*+,;=~?"


class Private(Exception):
    """A host with an address that is not of the public web, or a port that is not the web's."""


class Unreachable(Exception):
    """No answer: no such host, no connection, a broken certificate, or too slow."""


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def connected(address: str, port: int, seconds: float) -> socket.socket:
    return socket.create_connection((address, port), timeout=seconds)


@dataclass(frozen=True)
class Network:
    """How names become addresses and addresses connections."""

    resolve: Callable[[str, int], list[str]] = resolved
    connect: Callable[[str, int, float], socket.socket] = connected
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)


@dataclass(frozen=True)
class Reply:
    """What a server answered: its status, and where it says to go instead."""

    status: int
    location: str | None


def is_public(address: str) -> bool:
    """Whether an address is one of the public web's; every other is none of a letter's business."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    is_led_astray = any(
        found in network for network in (*_TUNNELS, *_SPECIAL) if network.version == found.version
    )
    is_special = found.is_multicast or found.is_reserved or getattr(found, "is_site_local", False)
    return found.is_global and not is_special and not is_led_astray


def ask(url: str, network: Network, *, agent: str, limit_seconds: float) -> Reply:
    """The answer to HEAD; to GET for its first byte where HEAD is refused. No body is ever read.

    Raises Private before anything is connected to, Unreachable when there is no answer in time, the
    look-up of the name included.
    """
    host, port, path = _target(url)
    tls = network.tls if url.lower().startswith("https:") else None
    connection = _Checked(host, port, network, tls)
    watch = Timer(limit_seconds, connection.abort)
    watch.daemon = True
    watch.start()
    try:
        connection.look_up()
        reply = _asked(connection, "HEAD", path, agent)
        if reply.status >= REFUSED_FROM:
            reply = _asked(connection, "GET", path, agent)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if connection.is_aborted:
            raise Unreachable(f"gave no answer within {limit_seconds:g} seconds") from error
        raise Unreachable(_reason(error)) from error
    finally:
        watch.cancel()
        connection.close()
    return reply


class _Checked(http.client.HTTPConnection):
    """A connection to an address that was checked, whatever its host's name leads to by now."""

    def __init__(self, host: str, port: int, network: Network, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self.default_port = port  # not to be named in Host
        self._address, self._network, self._tls = "", network, tls
        self._found: SimpleQueue[list[str] | Exception] = SimpleQueue()
        self.is_aborted = False

    def look_up(self) -> None:
        """Choose an address. The system's own look-up knows no limit: when it is over, it is left alone."""

        def resolve() -> None:
            try:
                self._found.put(self._network.resolve(self.host, self.port))
            except (OSError, UnicodeError) as error:
                self._found.put(error)

        Thread(target=resolve, daemon=True).start()
        addresses = self._found.get()
        self._go_on()
        if isinstance(addresses, Exception):
            raise Unreachable(f"{self.host} is not known") from addresses
        if not addresses or not all(is_public(each) for each in addresses):
            raise Private(f"{self.host} leads to a private address")
        self._address = addresses[0]

    def connect(self) -> None:
        self._go_on()
        self.sock = self._network.connect(self._address, self.port, CONNECT_SECONDS)
        self._go_on()
        if self._tls is not None:
            # Kept before it shakes hands: a server that is slow at that can be left as well.
            self.sock = self._tls.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self._go_on()
            self.sock.do_handshake()

    def _go_on(self) -> None:
        """Whoever ends it sets the mark first: what it did not see yet, is seen here."""
        if self.is_aborted:
            raise TimeoutError

    def abort(self) -> None:
        """End it from another thread; whoever waits for an answer waits no longer."""
        self.is_aborted = True
        self._found.put(TimeoutError())
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


def _target(url: str) -> tuple[str, int, str]:
    """Host, port and path as they are asked for. Raises Private or Unreachable."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Unreachable("is no web address") from error
    usual = PORTS.get(parts.scheme.lower())
    if usual is None or not host:
        raise Unreachable("is no web address")
    if port not in (None, *PORTS.values()):
        raise Private(f"asks for port {port}; the web has 80 and 443")
    if ":" not in host and not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError as error:
            raise Unreachable(f"{host} is no name of a host") from error
    path = quote(parts.path or "/", safe=_SAFE)
    return host, port or usual, f"{path}?{quote(parts.query, safe=_SAFE)}" if parts.query else path


def _asked(connection: _Checked, method: str, path: str, agent: str) -> Reply:
    headers = {"User-Agent": agent, "Accept": "*/*", "Connection": "close"}
    if method == "GET":
        headers["Range"] = "bytes=0-0"
    connection.close()
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    try:
        return Reply(answer.status, answer.getheader("Location"))
    finally:
        answer.close()


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "gave no answer in time"
    told = error.strerror if isinstance(error, OSError) else None
    return (told or type(error).__name__).lower()
