"""Who is in doubt, and nobody else: a machine that started anew, a server that hangs up after the dot.

FACTS C.5 T2. Nobody in doubt is sent anything again until evidence says that nothing arrived.
"""

from __future__ import annotations

from pathlib import Path

from bench.faults_home import Case, case, number_of
from bench.faults_process import until
from bench.faults_sink import Act, Speaker, as_usual

# One message in so many is dropped after its dot; every second of them was taken over all the same.
EVERY = 10


def another_boot(folder: Path, *, people: int) -> dict[str, float]:
    """Kill a send and let the marks be of another boot: all unsettled claims are in doubt.

    boot_in_doubt_missing   claimed and unsettled when the machine went down, and not in doubt afterwards
    boot_resent             messages that went to somebody in doubt before there was evidence
    """
    with case(folder, people, workers=2, connections=4, rate=people / 4) as ready:
        with ready.run() as run:
            until(lambda: len(ready.sink.kept) > people / 4, run)
            ready.kill(run)
        claimed = {who for (who,) in ready.rows("contact_id", "state = 'claimed'")}
        _start_anew(ready)
        had = set(ready.sink.whose)
        ready.sink.rate = None
        ready.finish()
        doubts = {who for (who,) in ready.rows("contact_id", "state = 'in_doubt'")}
        again = [who for who in ready.sink.whose if who not in had and number_of(who) in claimed]
        resolved = ready.resolve()
        ready.finish()
        after = ready.verdict()
    return {
        "boot_claims_unsettled": len(claimed),
        "boot_in_doubt_missing": len(claimed - doubts),
        "boot_resent": len(again),
        "boot_resolved": sum(resolved.values()),
        "boot_duplicates": after.duplicates,
        "boot_lost": after.lost,
        "boot_in_doubt_after": after.in_doubt,
    }


def drops_after_the_dot(folder: Path, *, people: int) -> dict[str, float]:
    """Hang up after some dots, whether the message was taken over or not."""
    dropped: list[str] = []

    def decide(stage: str, session: Speaker) -> Act | None:
        if stage != "dot" or number_of(session.recipient) % EVERY:
            return None
        dropped.append(session.recipient)
        return Act(b"", keeps=len(dropped) % 2 == 1)

    with case(folder, people, workers=2, connections=4, decide=decide) as ready:
        ready.finish()
        doubts = {who for (who,) in ready.rows("contact_id", "state = 'in_doubt'")}
        by_itself = len(dropped) - len(set(dropped))
        ready.sink.decide = as_usual
        resolved = ready.resolve()
        ready.finish()
        after = ready.verdict()
    return {
        "drops_after_dot": len(dropped),
        "drops_not_in_doubt": len({number_of(who) for who in dropped} - doubts),
        "drops_resent_unasked": by_itself,
        "drops_resolved": sum(resolved.values()),
        "drops_duplicates": after.duplicates,
        "drops_lost": after.lost,
        "drops_in_doubt_after": after.in_doubt,
    }


def _start_anew(ready: Case) -> None:
    """As if the marks had been written before the machine's last start."""
    marks = bytearray(ready.marks.read_bytes())
    marks[:8] = b"00000000" if marks[:8] != b"00000000" else b"11111111"
    ready.marks.write_bytes(marks)
