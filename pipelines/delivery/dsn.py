"""What a relay is asked to report of a message, where it offers DSN (RFC 3461).

Pure: the words behind MAIL and RCPT. What comes back is read in engagement/bounces.py.
"""

from __future__ import annotations

import re
from enum import StrEnum

# Everything printable but "+" and "=", RFC 3461 section 4; of RFC 6533's form the backslash is not either.
_OTHER = re.compile(rb"[^!-*,-<>-~]")
_UNPRINTABLE = re.compile(r"[^!-~]")
_OTHER_UTF8 = re.compile(r"[^!-*,-<>-\[\]-~]")


class Report(StrEnum):
    """What is asked for: failures and delays, the success as well, or nothing, and the relay does as it will.

    SUCCESS is for a relay of one's own: it proves who got their mail, and is a message for each of them.
    """

    FAILURE = "failure"
    SUCCESS = "success"
    NEVER = "never"


# The same in the words of RFC 3461.
NOTIFY = {Report.FAILURE: "FAILURE,DELAY", Report.SUCCESS: "SUCCESS,FAILURE,DELAY"}


def of_message(sender: str) -> str:
    """What stands behind MAIL FROM: the headers only are to come back, under a name of this message.

    sender  the return path: its local part is signed, of one recipient of one campaign, and no address
    """
    return f" RET=HDRS ENVID={xtext(sender.partition('@')[0])}"


def of_recipient(address: str, notify: str) -> str:
    """What stands behind RCPT TO: when to report (one of NOTIFY), and whom the message was for."""
    if address.isascii():
        return f" NOTIFY={notify} ORCPT=rfc822;{xtext(address)}"
    return f" NOTIFY={notify} ORCPT=utf-8;{_utf8_xtext(address)}"


def xtext(text: str) -> str:
    """A text as a parameter holds it: `+` and two digits for what cannot stand there."""
    if _UNPRINTABLE.search(text) is None:  # nearly every address, in half a microsecond
        return text.replace("+", "+2B").replace("=", "+3D")
    return _OTHER.sub(lambda found: b"+%02X" % found[0][0], text.encode()).decode()


def _utf8_xtext(text: str) -> str:
    """The same for an address beyond ASCII, RFC 6533 section 3."""
    return _OTHER_UTF8.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", text)
