"""Write the report a mail server sends when it cannot deliver a message (RFC 3464, RFC 6522)."""

from __future__ import annotations

from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import parseaddr
from hashlib import blake2b

REPORTER = "mx.recipients.example"
STATUS = "5.1.1"
REPORT = """\
From: Mail Delivery System <mailer-daemon@{reporter}>
To: {returns_to}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"

--{boundary}
Content-Type: text/plain; charset=us-ascii

The mailbox of the recipient does not exist.

--{boundary}
Content-Type: message/delivery-status

Reporting-MTA: dns; {reporter}

Final-Recipient: rfc822; {recipient}
Action: failed
Status: {status}
Diagnostic-Code: smtp; 550 {status} No such user here

--{boundary}
Content-Type: text/rfc822-headers

{headers}
--{boundary}--
"""


def delivery_report(raw: bytes) -> bytes:
    """The report that the mailbox a message was sent to does not exist."""
    head = raw.partition(b"\r\n\r\n")[0]
    headers = BytesHeaderParser(policy=compat32).parsebytes(head)
    sender = parseaddr(str(headers.get("Return-Path") or headers.get("From", "")))[1]
    text = REPORT.format(
        reporter=REPORTER,
        returns_to=sender,
        boundary="report-" + blake2b(raw, digest_size=12).hexdigest(),
        recipient=parseaddr(str(headers.get("To", "")))[1],
        status=STATUS,
        headers=head.decode("ascii", "replace").replace("\r\n", "\n"),
    )
    return text.replace("\n", "\r\n").encode("ascii", "replace")
