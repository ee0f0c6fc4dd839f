"""Pictures in a real Chromium, which must be installed; and what becomes of one that hangs."""

from __future__ import annotations

import http.server
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.cli.command import main
from pipelines.message.browser import BrowserFailed, find_browser, opened
from pipelines.message.compile import compile_message
from pipelines.message.compiled import CompiledMessage
from pipelines.message.daylight import Light, seen_by
from pipelines.message.library import starters
from pipelines.message.preview import variants_of
from pipelines.message.screenshots import photographed, who_is_shown
from pipelines.settings import CHECKOUT, Home

from .conftest import URL

SLUG = "autumn-thanks"


@pytest.fixture(scope="module")
def chromium() -> Path:
    found = find_browser()
    assert found is not None, "install Chromium: .ci/run does"
    return found


@pytest.fixture
def preview(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[object]:
    """Runs `campaign preview --screenshots`: exit code, standard output and error."""
    monkeypatch.setenv("LETTERMILL_HOME", str(home.root))
    monkeypatch.setenv("LETTERMILL_PROJECT", str(CHECKOUT))
    monkeypatch.setattr(sys, "argv", ["lettermill", "campaign", "preview", SLUG, "--screenshots"])

    def run() -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out.strip(), said.err

    return run


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height, as the header of a PNG has them."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def script(path: Path, words: str) -> Path:
    path.write_text(f"#!/bin/sh\n{words}\n")
    path.chmod(0o755)
    return path


def test_a_reader_of_each_further_language_is_among_those_shown():
    (starter,) = (each for each in starters(CHECKOUT) if each.name == "welcome")
    message = compile_message(starter.campaign, project=CHECKOUT, folder=starter.folder)
    (variant,) = variants_of(message, [], public_url=URL)

    shown = dict(who_is_shown(variant))

    assert list(shown) == ["first", "hard", "de", "fr"]
    assert "Guten Tag" in shown["de"].html


@pytest.mark.slow
@pytest.mark.browser
def test_each_variant_is_taken_wide_and_narrow_by_day_and_by_night_in_whole_height(
    compiled, chromium
):
    message: CompiledMessage = compiled()

    shots = photographed(variants_of(message, [], public_url=URL), chromium)

    sizes = {shot.name: size_of(shot.png) for shot in shots}
    assert len(sizes) == 2 * 2 * 2 * 2
    assert sizes["thanks-hard-640-day.png"][0] == 640
    assert sizes["thanks-first-375-night.png"][0] == 375
    assert sizes["thanks-hard-375-day.png"][1] > sizes["thanks-hard-640-day.png"][1] > 600


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_shows_by_night_what_a_browser_shows_whose_system_is_dark(compiled, chromium):
    html = variants_of(compiled(), [], public_url=URL)[0].views[0].html

    with opened(chromium) as browser:
        real = {light: browser.picture(html, width=640, light=light) for light in Light}
        made = {
            (light, system): browser.picture(seen_by(light, html), width=640, light=system)
            for light in Light
            for system in Light
        }

    assert real[Light.DAY] != real[Light.NIGHT]
    assert [pair for pair, png in made.items() if png != real[pair[0]]] == []


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_asks_nobody_and_runs_nothing(chromium):
    asked: list[str] = []

    class Heard(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Heard)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    page = (
        f'<img src="{base}/picture"><link rel="stylesheet" href="{base}/sheet">'
        f'<iframe src="{base}/frame"></iframe><img src="file:///etc/hostname">'
        f"<script>document.body.innerHTML = '<p style=height:5000px>run</p>'</script>"
        f'<meta http-equiv="refresh" content="0;url={base}/refresh">'
    )

    with opened(chromium) as browser:
        height = size_of(browser.picture(page, width=640, light=Light.DAY))[1]
        browser.picture("<p>And another</p>", width=640, light=Light.DAY)

    server.shutdown()
    server.server_close()
    assert asked == []
    assert height < 2_000


def test_a_browser_that_hangs_is_ended_with_everything_it_started(tmp_path):
    told = tmp_path / "pids"
    hanging = script(tmp_path / "chromium", f"sleep 600 & echo $! $$ > {told}; wait")

    with pytest.raises(BrowserFailed, match="hung"), opened(hanging, limit_seconds=3):
        pass

    pids = [int(pid) for pid in told.read_text().split()]
    left = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    assert [each for each in left if each.status() != psutil.STATUS_ZOMBIE] == []


def test_a_browser_that_ends_at_once_or_is_none_is_told(tmp_path):
    for executable in (script(tmp_path / "chromium", "exit 1"), tmp_path / "nothing"):
        with pytest.raises(BrowserFailed), opened(executable):
            pass


def test_without_a_browser_the_page_is_written_and_a_line_says_what_to_install(
    preview, home, monkeypatch, tmp_path
):
    monkeypatch.setenv("PATH", str(tmp_path))

    code, page, said = preview()

    assert code == 0
    assert Path(page).is_file()
    assert (
        "no screenshots: none of chromium, chromium-browser, google-chrome is on the PATH" in said
    )


def test_with_a_broken_browser_the_page_is_written_and_the_command_fails(
    preview, home, monkeypatch, tmp_path
):
    script(tmp_path / "chromium", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))

    code, page, said = preview()

    assert code == 1
    assert Path(page).is_file()
    assert "! no screenshots: " in said


@pytest.mark.slow
@pytest.mark.browser
def test_screenshots_lie_beside_the_page_which_shows_them(preview, home, chromium):
    stale = home.previews / SLUG / "gone-first-640-day.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")

    code, page, said = preview()

    folder = home.previews / SLUG
    names = sorted(path.name for path in folder.iterdir())
    assert code == 0
    assert len(names) == 16
    assert stale.name not in names
    assert Path(page).read_text().count('src="data:image/png;base64,') == 16
    assert f"✓ 16 screenshots in {folder}" in said
