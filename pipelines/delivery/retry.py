"""When somebody who was deferred is tried again: later each time, and not all at the same moment.

RFC 5321 4.5.4.1 asks for patience that grows; the steps are those of a marketing mail, whose worth ends
within days (`expires_after` of the campaign ends it).
"""

from __future__ import annotations

import random
from datetime import timedelta

from pipelines.delivery.replies import Retry

MINUTES = (5, 15, 45, 120, 360, 720, 1440)
# What asked for patience begins further on: half an hour and more.
LATER = 2
# Nobody is tried sooner than the step says; up to half as late again.
SPREAD = 0.5


def wait(attempts: int, retry: Retry, *, drawn: float | None = None) -> timedelta:
    """How long to wait after this many attempts. drawn: 0 to 1, for whoever wants no chance in it."""
    step = max(1, attempts) - 1 + (LATER if retry is Retry.LATER else 0)
    minutes = MINUTES[min(step, len(MINUTES) - 1)]
    spread = random.random() if drawn is None else drawn  # noqa: S311
    return timedelta(minutes=minutes * (1 + SPREAD * spread))
