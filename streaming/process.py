"""What every process of the stream does: read its options, end when asked, and end with its parent."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable

from pipelines.errors import LettermillError
from pipelines.settings import Home, Settings

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


def main(
    module: str,
    about: str | None,
    until: tuple[str, str],
    run: Callable[[Home, Stopping, bool], None],
) -> int:
    """The command line of `python -m <module>`; `until` is the option that makes it end by itself.

    run  works on the home until it is asked to stop, or until done if its last argument says so
    """
    arguments = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    arguments.add_argument("--with-parent", action="store_true", help="end with the parent process")
    arguments.add_argument(until[0], dest="until", action="store_true", help=until[1])
    chosen = arguments.parse_args()
    stopping = Stopping()
    stopping.on_signals()
    if chosen.with_parent:
        watch_parent(stopping.ask)
    try:
        home = Home(Settings.load().home)
        home.identity()
        run(home, stopping, chosen.until)
    except LettermillError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
