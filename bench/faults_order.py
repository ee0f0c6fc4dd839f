"""What stands in for a power switch: no dot is written before its claim is synced. FACTS C.5 T5.

strace watches a whole send. A claim is durable once the process that wrote its row into the ledger's log
has synced that log; the write that carries the message's dot must come after.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.faults_home import case
from bench.faults_process import tool
from pipelines.contacts.address import HASH_DIGITS, address_hash

CALLS = "write,writev,sendto,sendmsg,pwrite64,pwritev,fdatasync,fsync"
# More than a message, so that its dot is seen.
LONGEST_SHOWN = 65_536
# A row of the ledger as its page holds it: the hash, the recipient's number in 0 to 4 bytes, the state.
# Looked for at every place: the digits of an escaped byte before it look like the hash's own.
_CLAIM = re.compile(rf"(?=([0-9a-f]{{{HASH_DIGITS}}})(?:\\[0-7]{{1,3}}|\\.|[^\\]){{0,4}}?claimed)")
_NAME = re.compile(r"Message-ID: (<[^>]+>)")
_CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?:\(\d+<([^>]*)>)?")
_DOT = "\\r\\n.\\r\\n"


@dataclass
class Order:
    """What strace saw, line by line."""

    log: str
    dots: dict[str, bool] = field(default_factory=dict)
    syncs: int = 0
    _written: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _durable: set[str] = field(default_factory=set)
    _syncing: dict[str, str] = field(default_factory=dict)

    def read(self, lines: Iterable[str], hashes: dict[str, str]) -> None:
        """hashes   the address hash of each Message-ID's recipient"""
        for line in lines:
            if (found := _CALL.match(line)) is None:
                continue
            process, call, path = found.groups()
            if call in ("fdatasync", "fsync"):
                self._sync(process, path, line)
            elif path == self.log:
                self._written[process] |= set(_CLAIM.findall(line))
            elif path and path.startswith(("socket:", "TCP:")) and _DOT in line:
                for name in _NAME.findall(line):
                    self.dots[name] = hashes[name] in self._durable

    def _sync(self, process: str, path: str | None, line: str) -> None:
        """Durable when the call has returned, which may be on a later line."""
        if path is not None:
            self._syncing[process] = path
        if self._syncing.get(process) == self.log and line.rstrip().endswith("= 0"):
            self.syncs += 1
            self._durable |= self._written.pop(process, set())


def order(folder: Path, *, people: int) -> dict[str, float]:
    """Send under strace and look at the order of writes and syncs."""
    with case(folder, people, workers=2, connections=4) as ready:
        seen = ready.folder / "strace"
        traced = ("-f", "-y", "-s", str(LONGEST_SHOWN), "-o", str(seen), "-e", f"trace={CALLS}")
        with ready.run(tool("strace", "strace"), "--seccomp-bpf", *traced) as run:
            run.told()
        key = ready.home.key("addresses")
        hashes = {name: address_hash(to, key) for to, name in ready.sink.whose.items()}
        watched = Order(f"{ready.ledger}-wal")
        with seen.open() as lines:
            watched.read(lines, hashes)
        received = len(ready.sink.kept)
    return {
        "order_messages": received,
        "order_dots_seen": len(watched.dots),
        "order_violations": sum(not is_after for is_after in watched.dots.values()),
        "order_syncs": watched.syncs,
    }
