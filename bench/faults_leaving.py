"""People who leave while the campaign is under way: FACTS C.5 T9. The law is one second.

Each decision is committed to the people store as the edge does it. Whoever leaves is one of those whose
turn is next, so that most of them would have been mailed within seconds.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

from bench.faults_home import Case, address_of, case, number_of
from bench.faults_process import Run, until
from pipelines.contacts.address import address_hash
from pipelines.delivery.people import PeopleStore, Reason, Scope, Suppression

LAW_SECONDS = 1.0
# How far ahead of the newest envelope somebody leaves, at most, as time.
AHEAD_SECONDS = 2.0


def leaving(folder: Path, *, people: int, leave: int, seconds: float) -> dict[str, float]:
    """Post so many unsubscribes during the send; how late the last envelopes to them were begun.

    seconds   how long the send takes, as the sink sets its pace

    The lag is from the commit to the MAIL command at the sink; who got none after it has a lag of nothing.
    """
    rate = people / seconds
    with case(folder, people, workers=2, connections=4, rate=rate) as ready, ready.run() as run:
        committed = _post(ready, run, leave, seconds)
        ready.sink.rate = None
        run.told()
        begun = ready.sink.begun
        lags = sorted(max(0.0, begun.get(who, 0.0) - at) for who, at in committed.items())
        withheld = ready.rows("count(*)", "state = 'withheld'")[0][0]
        verdict = ready.verdict()
    return {
        "leaving_posted": len(committed),
        "leaving_withheld": withheld,
        "leaving_begun_after_1s": sum(lag > LAW_SECONDS for lag in lags),
        "leaving_lag_largest_ms": 1000 * lags[-1],
        "leaving_lag_p99_ms": 1000 * lags[len(lags) * 99 // 100],
        "leaving_duplicates": verdict.duplicates,
        "leaving_lost": verdict.lost,
    }


def _post(ready: Case, run: Run, leave: int, seconds: float) -> dict[str, float]:
    """Whose unsubscribe was committed, and when."""
    ahead = AHEAD_SECONDS * ready.people / seconds
    random, key = Random(13), ready.home.key("addresses")
    people = PeopleStore(ready.home.people)
    committed: dict[str, float] = {}
    until(lambda: ready.sink.begun, run)
    pause_seconds = 0.5 * seconds / leave
    while len(committed) < leave and not run.is_over:
        newest = next(reversed(ready.sink.begun.copy()))
        number = number_of(newest) + 1 + int(random.random() * ahead)
        who = address_of(number)
        if number < ready.people and who not in committed and who not in ready.sink.begun:
            decision = Suppression(
                address_hash=address_hash(who, key),
                contact_id=number,
                scope=Scope.ALL,
                scope_key="",
                reason=Reason.UNSUBSCRIBED,
                since_at=ready.space.clock.now(),
                origin="bench",
            )
            people.suppress([decision])
            committed[who] = time.monotonic()
            time.sleep(pause_seconds)
    return committed
