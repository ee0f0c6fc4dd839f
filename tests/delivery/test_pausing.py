"""A pause is kept whoever else pauses at that moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_several_may_pause_it_at_the_same_moment(tmp_path: Path):
    code = (
        "import sys, pathlib, datetime\n"
        "from pipelines.delivery.pausing import pause\n"
        "now = datetime.datetime.now(datetime.UTC)\n"
        "print(flush=True)\n"
        "input()\n"
        "for number in range(1000):\n"
        f"    pause(pathlib.Path({str(tmp_path)!r}), f'spring-{{number}}', by='me', why='w', at=now)\n"
    )
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    pausers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for each in pausers:
        assert each.stdout is not None
        each.stdout.readline()

    for each in pausers:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()

    assert [each.wait() for each in pausers] == [0, 0]
    assert len(list(tmp_path.iterdir())) == 1000
