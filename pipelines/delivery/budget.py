"""How many refusals a send may meet before it pauses: those about us, and addresses nobody has.

Mail that goes on after a server has said "spam" or "not authenticated" makes the next thousand worse; a
list with many unknown addresses is the wrong list. Counted over the latest replies to one worker.
"""

from __future__ import annotations

from collections import Counter, deque

from pipelines.delivery.replies import Reply, ReplyClass, Then, classify, meaning

LATEST = 200
# Fewer are chance, whatever their share.
FEWEST = 10


class Budget:
    """The replies of one worker. share: of the latest ones, so many may be refusals that pause."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._latest: deque[ReplyClass | None] = deque(maxlen=LATEST)
        self._counts: Counter[ReplyClass] = Counter()

    def spent(self, reply: Reply) -> str | None:
        """Take one more reply into account; why the campaign is to pause now, if it is."""
        kind = classify(reply)
        bad = kind if meaning(kind).then is Then.PAUSE else None
        if len(self._latest) == LATEST and (oldest := self._latest[0]) is not None:
            self._counts[oldest] -= 1
        self._latest.append(bad)
        if bad is None:
            return None
        self._counts[bad] += 1
        count, known = self._counts[bad], len(self._latest)
        if count < FEWEST or count <= self._share * known:
            return None
        about = meaning(bad).about
        return f"{count} of the latest {known} replies: {about}. The last one: {reply.masked[:200]}"
