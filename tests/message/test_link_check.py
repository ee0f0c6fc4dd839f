"""Links are asked where they lead, and nowhere else: a real server on the loopback stands for the web."""

from __future__ import annotations

import datetime
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipelines.message.link_check import AT_ONCE, Outcome, check_links
from pipelines.message.public_web import Network, is_public

from .lint_letters import letter, linked

PUBLIC, OTHER = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
WEBSITE = "https://mill.example"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path; `server.heard` has what was asked."""

    server: Server

    def do_HEAD(self) -> None:
        self._heard()
        path = self.path.partition("?")[0]
        if path.startswith("/to/"):
            self._sent(302, self.server.targets[path])
        elif path == "/get-only":
            self._sent(405)
        elif path == "/gone":
            self._sent(404)
        elif path == "/drip":
            self._drip()
        elif path == "/headers":
            with suppress(OSError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000)
        elif path == "/nonsense":
            self.wfile.write(b"\x00\x01\x02 not HTTP\r\n\r\n")
        else:
            self._sent(200)

    def do_GET(self) -> None:
        self._heard()
        if self.path == "/gone":
            self._sent(404)
            return
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.server.body_bytes += self.wfile.write(b"x" * 65_536)

    def log_message(self, *args: object) -> None:
        pass

    def _heard(self) -> None:
        self.server.heard.append((self.command, self.path, dict(self.headers)))

    def _sent(self, status: int, location: str | None = None) -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.end_headers()

    def _drip(self) -> None:
        with suppress(OSError):
            while not self.server.is_over.wait(0.05):
                self.wfile.write(b"H")


class Server(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[tuple[str, str, dict[str, str]]] = []
        self.targets: dict[str, str] = {}
        self.body_bytes = 0
        self.is_over = threading.Event()


@dataclass
class Web:
    """A web in which names are what `names` says and every address is the server's."""

    server: Server
    names: dict[str, list[str]]
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    looked_up: list[str] = field(default_factory=list)
    reached: list[tuple[str, int]] = field(default_factory=list)

    @property
    def network(self) -> Network:
        return Network(self._resolve, self._connect, self.tls)

    def _resolve(self, host: str, port: int) -> list[str]:
        self.looked_up.append(host)
        if host not in self.names:
            raise socket.gaierror("no such host")
        return self.names[host]

    def _connect(self, address: str, port: int, seconds: float) -> socket.socket:
        self.reached.append((address, port))
        return socket.create_connection(self.server.server_address[:2], timeout=seconds)

    def asked(self, address: str, **settings: float) -> tuple[Outcome, str]:
        (answer,) = check_links(linked(address), website=WEBSITE, network=self.network, **settings)
        return answer.outcome, answer.told


@pytest.fixture
def web() -> Iterator[Web]:
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Web(server, {"shop.example": [PUBLIC], "both.example": [PUBLIC, OTHER]})
    server.is_over.set()
    server.shutdown()
    server.server_close()


def test_a_page_that_is_there_answers_and_a_name_is_looked_up_once(web):
    assert web.asked("http://shop.example/papers?a=b c#top") == (Outcome.ANSWERS, "answers")

    assert web.looked_up == ["shop.example"]
    assert web.reached == [(PUBLIC, 80)]
    assert [path for _, path, _ in web.server.heard] == ["/papers?a=b%20c"]


def test_who_asks_is_said_and_nothing_else_is_sent(web):
    web.asked("http://ada:secret@shop.example/")

    ((_, _, headers),) = web.server.heard
    assert set(headers) == {"Host", "Accept-Encoding", "User-Agent", "Accept", "Connection"}
    assert headers["Host"] == "shop.example"
    assert WEBSITE in headers["User-Agent"]
    assert "secret" not in str(headers)


def test_a_page_that_is_gone_is_told_with_its_status(web):
    assert web.asked("http://shop.example/gone") == (Outcome.GONE, "gone (404)")


def test_where_head_is_refused_the_first_byte_is_asked_for_and_no_body_is_read(web):
    assert web.asked("http://shop.example/get-only") == (Outcome.ANSWERS, "answers")

    assert [method for method, _, _ in web.server.heard] == ["HEAD", "GET"]
    assert web.server.heard[1][2]["Range"] == "bytes=0-0"
    assert web.looked_up == ["shop.example"]
    assert web.server.body_bytes < 50_000_000


def test_a_page_that_moved_is_told_with_where_it_is_now(web):
    web.server.targets["/to/new"] = "/new"

    told = web.asked("http://shop.example/to/new")

    assert told == (Outcome.MOVED, "moved to http://shop.example/new")


def test_five_redirects_are_followed_and_a_sixth_is_not(web):
    for number in range(1, 7):
        web.server.targets[f"/to/{number}"] = f"/to/{number - 1}" if number > 1 else "/end"

    assert web.asked("http://shop.example/to/5")[0] is Outcome.MOVED
    assert web.asked("http://shop.example/to/6") == (
        Outcome.UNREACHABLE,
        "cannot be reached: redirects more than 5 times",
    )


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("http://127.0.0.1/", "refused because private: 127.0.0.1 leads to a private address"),
        ("http://[::1]/", "refused because private: ::1 leads to a private address"),
        ("http://inside.example/", "refused because private: inside.example leads to a private"),
        ("http://shop.example:25/", "refused because private: asks for port 25; the web has 80"),
        ("file:///etc/passwd", "cannot be reached: file:///etc/passwd is no web address"),
        ("gopher://shop.example/", "cannot be reached: gopher://shop.example/ is no web address"),
    ],
)
def test_a_redirect_to_what_is_not_the_web_is_not_followed(web, target, told):
    web.names |= {"127.0.0.1": ["127.0.0.1"], "::1": ["::1"], "inside.example": ["10.0.0.1"]}
    web.server.targets["/to/inside"] = target

    assert web.asked("http://shop.example/to/inside")[1].startswith(told)

    assert web.reached == [(PUBLIC, 80)]
    assert len(web.server.heard) == 1


def test_one_private_address_among_public_ones_is_enough_to_ask_nobody(web):
    web.names["mixed.example"] = [PUBLIC, "192.168.1.1"]

    assert web.asked("http://mixed.example/")[0] is Outcome.PRIVATE
    assert web.asked("http://both.example/")[0] is Outcome.ANSWERS
    assert web.reached == [(PUBLIC, 80)]


def test_a_name_that_leads_inside_the_second_time_leads_nobody_inside(web):
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    network = Network(lambda host, port: next(answers), web._connect)

    (answer,) = check_links(
        linked("http://shop.example/get-only"), website=WEBSITE, network=network
    )

    assert answer.outcome is Outcome.ANSWERS
    assert web.reached == [(PUBLIC, 80), (PUBLIC, 80)]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *("192.88.99.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:93.184.215.14", "::7f00:1", "64:ff9b::7f00:1"),
        *("3fff::1", "3fff:fff::1", "5f00::1", "192.0.0.9", "192.0.0.10"),
        *("64:ff9b:1::1", "2002:7f00:1::1", "2001::1", "2001:db8::1", "100::1", "nowhere", ""),
    ],
)
def test_an_address_that_is_not_of_the_public_web_is_known(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, OTHER, "1.1.1.1", "2a00:1450:4001:80b::200e"])
def test_an_address_of_the_public_web_is_known(address):
    assert is_public(address)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://shop.example/headers", "cannot be reached: linetoolong"),
        ("http://shop.example/nonsense", "cannot be reached: badstatusline"),
        ("http://nobody.example/", "cannot be reached: nobody.example is not known"),
        ("http://shop.example:99999/", "cannot be reached: is no web address"),
        ("http://[::/", "cannot be reached: is no web address"),
    ],
)
def test_who_gives_no_answer_is_told(web, address, told):
    assert web.asked(address) == (Outcome.UNREACHABLE, told)


def test_who_answers_a_byte_at_a_time_is_not_waited_for(web):
    told = "cannot be reached: gave no answer within 0.5 seconds"

    assert web.asked("http://shop.example/drip", limit_seconds=0.5) == (Outcome.UNREACHABLE, told)


def test_a_name_that_nobody_answers_for_is_not_waited_for(web):
    never = threading.Event()
    network = Network(lambda host, port: [PUBLIC] if never.wait() else [], web._connect)
    message = linked("http://shop.example/")

    (answer,) = check_links(message, website=WEBSITE, network=network, limit_seconds=0.2)

    never.set()
    assert answer.told == "cannot be reached: gave no answer within 0.2 seconds"
    assert web.reached == []


def test_nothing_of_a_persons_is_sent_and_other_kinds_of_links_are_left_out(web):
    message = letter(
        '<a href="http://shop.example/p/{{ first_name|url }}">a</a><a href="mailto:a@b.example">b</a>'
        '<a href="#top">c</a><img src="http://shop.example/a.png#x"><img src="cid:logo">'
    )

    answers = check_links(message, website=WEBSITE, network=web.network)

    assert [(each.address, each.outcome) for each in answers] == [
        ("http://shop.example/p/…", Outcome.PERSONAL),
        ("http://shop.example/a.png", Outcome.ANSWERS),
    ]
    assert [path for _, path, _ in web.server.heard] == ["/a.png"]


def test_many_links_are_asked_a_few_at_a_time_and_told_in_order(web):
    lock, busy, most = threading.Lock(), 0, 0
    enough = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
            if busy == AT_ONCE:
                enough.set()
        enough.wait(10)
        with lock:
            busy -= 1
        return [PUBLIC]

    links = [f"http://shop.example/{number}" for number in range(3 * AT_ONCE)]
    page = "".join(f'<a href="[[link:{number}]]">x</a>' for number in range(len(links)))

    answers = check_links(
        letter(page, links=links), website=WEBSITE, network=Network(resolve, web._connect)
    )

    assert [each.address for each in answers] == links
    assert most == AT_ONCE


def test_a_certificate_is_that_of_the_name_though_the_address_was_chosen(web, tmp_path):
    ours, web.tls = certified(tmp_path, "shop.example")
    web.names["other.example"] = [PUBLIC]
    web.server.socket = ours.wrap_socket(web.server.socket, server_side=True)

    assert web.asked("https://shop.example/") == (Outcome.ANSWERS, "answers")
    outcome, told = web.asked("https://other.example/")

    assert outcome is Outcome.UNREACHABLE
    assert told.startswith("cannot be reached: its certificate is not trusted: Hostname mismatch")
    assert web.reached == [(PUBLIC, 443), (PUBLIC, 443)]


def certified(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server of this name speaks TLS with, and what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(secret + pem)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(folder / "both.pem")
    return ours, ssl.create_default_context(cadata=pem.decode())
