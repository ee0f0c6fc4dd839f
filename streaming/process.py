"""What every long-running process of the stream does: end when asked, and end with its parent."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

CHECK_SECONDS = 0.5


class Stopping:
    """Set by SIGTERM, SIGINT, or the loss of the parent; asked and waited on by the loops."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    @property
    def is_asked(self) -> bool:
        return self._asked.is_set()

    def ask(self) -> None:
        self._asked.set()

    def wait(self, seconds: float) -> bool:
        """Wait that long or until asked; says whether asked."""
        return self._asked.wait(seconds)

    def on_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.ask())


def watch_parent(on_loss: Callable[[], object]) -> None:
    """Call `on_loss` once when the process that started us is gone."""
    parent = os.getppid()

    def watch() -> None:
        waiting = threading.Event()
        while os.getppid() == parent:
            waiting.wait(CHECK_SECONDS)
        on_loss()

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()
