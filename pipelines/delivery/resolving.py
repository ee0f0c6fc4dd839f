"""Settle who is in doubt: by evidence first, then by a person's word or the campaign's policy.

Nobody is sent a second copy silently: it is somebody's word, or a policy's after its time, it is recorded,
and it happens once to each at most. Where evidence comes from is evidence.py's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pipelines.campaigns.bundle import Bundle
from pipelines.campaigns.kinds import InDoubt
from pipelines.delivery import approval, pausing
from pipelines.delivery.doubts import Verdict, doubts, due_by_policy, settle
from pipelines.delivery.evidence import Log, by_events, by_log, by_sink
from pipelines.delivery.holding import Held, held
from pipelines.delivery.ledger import Ledger
from pipelines.delivery.marks import Marks
from pipelines.delivery.states import Source, State
from pipelines.workspace import Workspace

# Who paused a campaign whose policy is to ask; an answer ends that pause and no other.
ASKING = "its policy for whom is in doubt"


@dataclass(frozen=True)
class Resolved:
    """How many each source settled and how, how many are still in doubt, and what a log could not prove."""

    settled: Counter[tuple[State, Source]]
    in_doubt: int
    flaws: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Settled by state, whatever the source."""
        states = (State.CONFIRMED_SENT, State.CONFIRMED_UNSENT)
        found = Counter({state.value: 0 for state in states})
        for (state, _), count in self.settled.items():
            found[state.value] += count
        return dict(found)


@dataclass(frozen=True)
class Decision:
    """What a person says of those whom no evidence settles: to skip them, or to send a second copy."""

    state: State
    by: str


def resolve(
    key: str, workspace: Workspace, *, log: Log | None = None, decision: Decision | None = None
) -> Resolved:
    """Settle who is in doubt; who certainly got nothing, and who is to have a second copy, is sent to next.

    Raises LedgerRefused while a send is under way, SendHeld when the campaign is not approved.
    """
    space = workspace
    bundle = approval.approved(key, space)
    with held(bundle, space, waits=True) as hold:
        found = _resolved(bundle, hold, space, log, decision)
    _answered(key, found, space)
    return found


def _resolved(
    bundle: Bundle, hold: Held, space: Workspace, log: Log | None, decision: Decision | None
) -> Resolved:
    now, flaws, by = space.clock.now(), list[str](), decision.by if decision else None
    ledger, marks = hold.ledger, hold.marks
    known = doubts(ledger)
    verdicts = [
        *by_events(bundle.key, known, space),
        *by_sink(bundle, known, ledger, space),
    ]
    if log is not None:
        more, flaws = by_log(log, bundle, known, ledger, space)
        verdicts += more
    settled = settle(ledger, marks, verdicts, at=now, by=by)
    if decision is not None:
        left = [each for each in doubts(ledger) if each.state is State.IN_DOUBT]
        words = [Verdict(each, decision.state, Source.PERSON) for each in left]
        settled += settle(ledger, marks, words, at=now, by=decision.by)
    return Resolved(settled, ledger.counts().get(State.IN_DOUBT.value, 0), tuple(flaws))


def resend_after_its_time(bundle: Bundle, ledger: Ledger, marks: Marks, space: Workspace) -> int:
    """Let those have a second copy who were in doubt for as long as their campaign's policy says.

    Returns how many. Evidence is looked for first. Only under the campaign's lock.
    """
    now = space.clock.now()
    if not (late := due_by_policy(bundle.campaign, ledger, now)):
        return 0
    verdicts = [*by_events(bundle.key, late, space), *by_sink(bundle, late, ledger, space)]
    settle(ledger, marks, verdicts, at=now)
    words = [
        Verdict(each, State.WAIVED_RESEND, Source.POLICY)
        for each in due_by_policy(bundle.campaign, ledger, now)
    ]
    return settle(ledger, marks, words, at=now).total()


def ask_when_over(bundle: Bundle, in_doubt: int, space: Workspace) -> None:
    """Pause a campaign that is over but for those in doubt, if its policy is to ask about them."""
    if not in_doubt or bundle.campaign.in_doubt is not InDoubt.ASK:
        return
    who = "1 person is" if in_doubt == 1 else f"{in_doubt:,} people are"
    why = (
        f"{who} in doubt. Decide: lettermill campaign resolve {bundle.key} --by NAME"
        " with --resend or --skip"
    )
    pausing.pause(space.home.ledgers, bundle.key, by=ASKING, why=why, at=space.clock.now())


def _answered(key: str, found: Resolved, space: Workspace) -> None:
    """End the pause in which a campaign waited for this."""
    known = pausing.paused(space.home.ledgers, key)
    if known is not None and known.by == ASKING and not found.in_doubt:
        pausing.resume(space.home.ledgers, key)
