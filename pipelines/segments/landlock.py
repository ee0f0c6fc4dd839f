"""Shut this process out of every file but a few, and out of the network, for good (Linux Landlock).

The second wall around a query: the first is DuckDB's own lock. Where the kernel has no Landlock
(before 5.13) only the first stands. Standard library only: it runs before anything else is loaded.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

# asm-generic system call numbers, the same on every 64-bit architecture; linux/landlock.h.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PR_SET_NO_NEW_PRIVS = 38
PATH_BENEATH, ASK_VERSION = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << n for n in range(6))
MAKE_DIR, MAKE_REG, TRUNCATE = 1 << 7, 1 << 8, 1 << 14
READ = READ_FILE | READ_DIR | EXECUTE
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG
# How many file rights each version of the interface knows, and the first one that knows the network.
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
MOST_FILE_RIGHTS, NETWORK_SINCE, NETWORK_RIGHTS = 16, 4, 0b11
# Signals to, and abstract sockets of, processes that are not shut in with it.
SCOPES_SINCE, SCOPES = 6, 0b11


def version() -> int:
    """The kernel's version of Landlock; 0 when it has none."""
    return max(0, _call(CREATE_RULESET, None, 0, ASK_VERSION))


def restrict(*, read: Iterable[str], write: Iterable[str]) -> bool:
    """Allow reading the files and folders of `read`, also writing below `write`, and nothing else.

    Cannot be undone, and holds for every thread started later. Returns whether the kernel can.
    """
    known = version()
    if not known:
        return False
    rights = (1 << FILE_RIGHTS.get(known, MOST_FILE_RIGHTS)) - 1
    fields = 1 + (known >= NETWORK_SINCE) + (known >= SCOPES_SINCE)
    attributes = struct.pack("QQQ", rights, NETWORK_RIGHTS, SCOPES)[: 8 * fields]
    ruleset = _call(CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        raise OSError("Landlock gave no ruleset")
    try:
        for path in read:
            _allow(ruleset, path, READ & rights)
        for path in write:
            _allow(ruleset, path, (WRITE | TRUNCATE) & rights)
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if _call(RESTRICT_SELF, ruleset, 0) != 0:
            raise OSError("Landlock did not take hold")
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: str, rights: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - nothing is imported here that is not needed
            rights &= EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
        rule = struct.pack("=Qi", rights, handle)
        if _call(ADD_RULE, ruleset, PATH_BENEATH, rule, 0) != 0:
            raise OSError(f"Landlock does not take {path}")
    finally:
        os.close(handle)


def _call(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(number, *arguments))
