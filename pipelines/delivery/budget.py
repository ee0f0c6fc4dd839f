"""How many refusals a send may meet before it pauses: those about us, and addresses nobody has.

Mail that goes on after a server has said "spam" or "not authenticated" makes the next thousand worse; a
list with many unknown addresses is the wrong list. Whoever says "too fast" is slowed down first, and is
a reason only when that did not help. Counted over the latest replies to one worker.
"""

from __future__ import annotations

from collections import Counter, deque

from pipelines.delivery.replies import Reply, ReplyClass, Then, classify, meaning

LATEST = 200
# Fewer are chance, whatever their share.
FEWEST = 10
# Of those who ask for less, though they get next to nothing: one destination of several is none.
FEWEST_SLOW, SHARE_SLOW = 100, 0.5


class Budget:
    """The replies of one worker. share: of the latest ones, so many may be refusals that pause."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._latest: deque[ReplyClass | None] = deque(maxlen=LATEST)
        self._counts: Counter[ReplyClass] = Counter()

    def spent(self, reply: Reply, *, crawls: bool = False) -> str | None:
        """Take one more reply into account; why the campaign is to pause now, if it is.

        crawls  whether whoever asked for less is slowed down as far as makes sense
        """
        kind = classify(reply)
        then = meaning(kind).then
        bad = kind if then in (Then.PAUSE, Then.SLOW) else None
        if len(self._latest) == LATEST and (oldest := self._latest[0]) is not None:
            self._counts[oldest] -= 1
        self._latest.append(bad)
        if bad is None:
            return None
        self._counts[bad] += 1
        count, known = self._counts[bad], len(self._latest)
        fewest, share = FEWEST, self._share
        if then is Then.SLOW and reply.code < 500:
            fewest, share = FEWEST_SLOW, max(share, SHARE_SLOW)
            if not crawls:
                return None
        if count < fewest or count <= share * known:
            return None
        about = meaning(bad).about
        return f"{count} of the latest {known} replies: {about}. The last one: {reply.masked[:200]}"
