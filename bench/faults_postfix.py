"""A real Postfix between the sender and the sink, restarted and killed while sending: FACTS C.5 T14.

Debian's package with a configuration, a queue and a port of its own; it passes everything on to the
sink. What it answered with 250 must arrive. Its own second copies (it, too, can be killed before it
hears a 250) are told from ours by the name it gave the message.
"""

from __future__ import annotations

import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import psutil

from bench.faults_home import Case, case, point
from bench.faults_process import GLANCE_SECONDS, Run, tool, until, wait_dead
from bench.progress import progress

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/mail
maillog_file_prefixes = {folder}/log
mail_owner = postfix
setgid_group = postdrop
myhostname = faults.example
mydestination =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
relayhost = [127.0.0.1]:{sink}
smtp_dns_support_level = disabled
smtp_tls_security_level = none
enable_long_queue_ids = yes
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
in_flow_delay = 0
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
STOPS = ("stop", "abort", "kill")
STARTS = 5


@dataclass(frozen=True)
class Postfix:
    """One instance under a folder of its own."""

    folder: Path
    port: int

    def command(self, verb: str) -> subprocess.CompletedProcess[bytes]:
        asked = [tool("postfix", "postfix"), "-c", str(self.folder / "etc"), verb]
        return subprocess.run(asked, capture_output=True)

    def start(self) -> None:
        """Until it answers; what is left of the last one may take a moment to go."""
        for _ in range(STARTS):
            ended = self.command("start")
            if ended.returncode == 0:
                break
        else:
            raise SystemExit(f"Postfix does not start: {ended.stderr.decode()}")
        while not _answers(self.port):
            time.sleep(GLANCE_SECONDS)

    def stop(self, how: str) -> None:
        """In order, at once, or by SIGKILL to each of its processes; returns when they are gone."""
        processes = self._processes()
        if how == "kill":
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        else:
            self.command(how)
        wait_dead(processes[:1])

    def _processes(self) -> list[psutil.Process]:
        """Its master and what that has started."""
        file = self.folder / "queue/pid/master.pid"
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            master = psutil.Process(int(file.read_text()))
            if master.name() == "master":
                return [master, *master.children(recursive=True)]
        return []

    @property
    def queued(self) -> int:
        """How many messages it has taken over and not passed on.

        One that is not whole is not executable, was never answered with 250, and lies about for hours.
        """
        found = 0
        # As a message moves: one that goes on while this looks is met again, and not missed.
        for name in ("deferred", "incoming", "active", "deferred"):
            for path in (self.folder / "queue" / name).rglob("*"):
                with suppress(FileNotFoundError):
                    found += path.is_file() and bool(path.stat().st_mode & stat.S_IXUSR)
        return found

    def drain(self) -> None:
        """Until it has passed everything on."""
        self.command("flush")
        while self.queued:
            time.sleep(0.05)


def restarts(folder: Path, *, people: int, rounds: int) -> dict[str, float]:
    """Take Postfix down so often on the way; the sender is started again whenever it gave up."""
    with case(folder, people, workers=2, connections=2) as ready, _postfix(ready) as postfix:
        point(ready, postfix.port)
        starts, done = _through(ready, postfix, rounds)
        starts += ready.finish()
        postfix.drain()
        in_doubt = ready.verdict().in_doubt
        starts += ready.settle()
        postfix.drain()
        verdict = ready.verdict()
    return {
        "postfix_restarts": done,
        "postfix_starts_of_sender": starts,
        "postfix_in_doubt": in_doubt,
        "postfix_lost_after_250": verdict.accepted_not_received,
        "postfix_lost": verdict.lost,
        "postfix_duplicates_of_ours": verdict.duplicates,
        "postfix_in_doubt_after": verdict.in_doubt,
    }


def _through(ready: Case, postfix: Postfix, rounds: int) -> tuple[int, int]:
    """Send, and take it down after each so many messages; starts of the sender, and restarts."""
    starts = done = 0
    stops = cycle(STOPS)
    while done < rounds and ready.left():
        with ready.run() as run:
            starts += 1
            while done < rounds and _passes_on(ready, run, ready.people // (2 * rounds)):
                how = next(stops)
                postfix.stop(how)
                postfix.start()
                done += 1
                progress(f"postfix: {how}, {done} of {rounds}, {ready.left():,} recipients left")
            if done < rounds:
                run.told()
    return starts, done


def _passes_on(ready: Case, run: Run, more: int) -> bool:
    """Wait until so many more are through while the sender is at work; False when it has ended."""
    wanted = len(ready.sink.kept) + more
    return until(lambda: len(ready.sink.kept) >= wanted, run)


@contextmanager
def _postfix(ready: Case) -> Iterator[Postfix]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="lettermill-postfix-") as folder:
        postfix = Postfix(Path(folder), port)
        # Its processes are another user's, and have to come through.
        postfix.folder.chmod(0o755)
        for name in ("etc", "queue", "data", "log"):
            (postfix.folder / name).mkdir()
        (postfix.folder / "log/mail").touch()
        for name in ("data", "log", "log/mail"):
            shutil.chown(postfix.folder / name, "postfix")
        values = {"folder": folder, "port": port, "sink": ready.sink.port}
        (postfix.folder / "etc/main.cf").write_text(MAIN.format(**values))
        (postfix.folder / "etc/master.cf").write_text(MASTER.format(**values))
        try:
            postfix.start()
            yield postfix
        finally:
            postfix.stop("kill")


def _answers(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False
