"""One headless Chromium that takes pictures of pages: without network, scripts or anything of ours.

Knows how to start it, speak to it (the DevTools protocol over a pipe) and end it, with everything it
started, within a time limit. What is photographed is the caller's business.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

from pipelines.message.daylight import Light

NAMES = ("chromium", "chromium-browser", "google-chrome")
LIMIT_SECONDS = 120.0
# A page without end is cut here; a mail of this height has some 30 screens.
TALLEST = 16_000
FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    # Every name and address leads nowhere; pages are set, not fetched, so none is needed.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=http://127.0.0.1:9",
    "--proxy-bypass-list=<-loopback>",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
    "--password-store=basic",
)
# The browser reads commands from descriptor 3 and answers on 4.
ON_ITS_PIPES = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'


class BrowserFailed(Exception):
    """The browser did not start, hung, or ended before it was done."""


def find_browser() -> Path | None:
    """The first Chromium on the PATH."""
    found = (shutil.which(name) for name in NAMES)
    return next((Path(path) for path in found if path), None)


@contextmanager
def opened(executable: Path, *, limit_seconds: float = LIMIT_SECONDS) -> Iterator[Browser]:
    """A browser with a profile of its own, both gone afterwards.

    Whatever is asked of it after the limit raises BrowserFailed: then it was killed.
    """
    with tempfile.TemporaryDirectory(prefix="lettermill-", ignore_cleanup_errors=True) as profile:
        process = _start(executable, Path(profile))
        watch = Timer(limit_seconds, _kill, [process])
        watch.daemon = True
        watch.start()
        try:
            yield Browser(process)
        except OSError as error:
            raise BrowserFailed(f"{executable.name} ended before it was done") from error
        finally:
            watch.cancel()
            _kill(process)
            _closed(process)


class Browser:
    """A browser that was started, and the one page it has."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._asked = 0
        self._session = ""
        self._read = b""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self._ask("Emulation.setScriptExecutionDisabled", value=True)
        self._ask("Network.enable")
        offline = {"latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self._ask("Network.emulateNetworkConditions", offline=True, **offline)
        tree = self._ask("Page.getFrameTree")
        self._frame = tree["frameTree"]["frame"]["id"]

    def picture(self, html: str, *, width: int, light: Light) -> bytes:
        """A PNG of the whole page at this width, with the system set to day or night."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": light.scheme}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask("Page.setDocumentContent", frameId=self._frame, html=html)
        size = self._ask("Page.getLayoutMetrics")["cssContentSize"]
        height = min(max(int(size["height"]), 1), TALLEST)
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        taken = self._ask(
            "Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True
        )
        return b64decode(taken["data"])

    def _ask(self, method: str, **given: Any) -> Mapping[str, Any]:
        self._asked += 1
        question: dict[str, Any] = {"id": self._asked, "method": method, "params": given}
        if self._session:
            question["sessionId"] = self._session
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\0")
        self._process.stdin.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._asked:
                break
        if "error" in answer:
            raise BrowserFailed(f"{method}: {answer['error'].get('message', 'refused')}")
        result: Mapping[str, Any] = answer["result"]
        return result

    def _next(self) -> Mapping[str, Any]:
        """The next message, told or answered. Raises BrowserFailed once it has ended."""
        assert self._process.stdout is not None
        while b"\0" not in self._read:
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                raise BrowserFailed("the browser hung, did not start, or ended before it was done")
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        told: Mapping[str, Any] = json.loads(message)
        return told


def _start(executable: Path, profile: Path) -> subprocess.Popen[bytes]:
    # Chromium refuses to sandbox itself as root, which is who runs in most containers.
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [str(executable), *FLAGS, *as_root, f"--user-data-dir={profile}"]
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", ON_ITS_PIPES, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=profile,
            # Nothing of our environment: settings and secrets are none of its business.
            env={"HOME": str(profile), "PATH": os.defpath, "TMPDIR": str(profile)},
            start_new_session=True,
        )
    except OSError as error:
        raise BrowserFailed(f"{executable} cannot be started: {error.strerror}") from error


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it with everything it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _closed(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    process.wait()
