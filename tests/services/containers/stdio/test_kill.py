"""kill -9 of the daemon at any moment neither loses nor repeats a logged line."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.containers.logs.files import LogFiles
from tests.services.containers.logs.lines import all_entries

DAEMON = """
import sys, trio
from pathlib import Path
from services.containers.logs import FileLog, FileOptions, JsonLines
from services.containers.stdio import Stdio

async def main(root, max_bytes, max_files):
    options = FileOptions(max_bytes=max_bytes or None, max_files=max_files)
    log = FileLog(root / "c-json.log", options, JsonLines())
    stdio = Stdio(directory=root / "io", tty=False, stdin=False, log=log)
    await stdio.prepare()
    print("ready", flush=True)
    await stdio.pump()
    await stdio.close()

trio.run(main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
"""
WRITER = """
import os, sys
count = int(sys.argv[3])
fds = [os.open(path, os.O_RDWR) for path in sys.argv[1:3]]
for first in range(0, count, 50):
    for fd in fds:
        os.write(fd, b"".join(b"%d \\xc3\\xa9 %s\\n" % (n, b"x" * (n % 90))
                              for n in range(first, min(count, first + 50))))
"""
LINES = int(os.environ.get("KILL_TEST_LINES", "80000"))
KILLS = int(os.environ.get("KILL_TEST_KILLS", "8"))

pytestmark = pytest.mark.timeout(600)  # two processes that run all the time


def run_with_kills(tmp_path: Path, *, max_bytes: int, max_files: int, seed: int) -> None:
    moments = random.Random(seed)
    command = [sys.executable, "-c", DAEMON, str(tmp_path), str(max_bytes), str(max_files)]

    def start_daemon() -> subprocess.Popen[str]:
        daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "ready\n"
        return daemon

    daemon = start_daemon()
    fifos = [str(tmp_path / "io" / name) for name in ("stdout", "stderr")]
    # We hold the FIFOs as the shim does, so that they outlive the writer while no daemon runs.
    held = [os.open(path, os.O_RDWR) for path in fifos]
    writer = subprocess.Popen([sys.executable, "-c", WRITER, *fifos, str(LINES)])
    try:
        for _ in range(KILLS):
            time.sleep(moments.uniform(0.0, 0.15))
            daemon.send_signal(signal.SIGKILL)
            daemon.communicate()
            daemon = start_daemon()
        assert writer.wait(500) == 0
        for fd in held:
            os.close(fd)
        held = []
        assert daemon.wait(500) == 0
    finally:
        for process in (daemon, writer):
            process.kill()
            process.communicate()
        for fd in held:
            os.close(fd)


def check_lines(tmp_path: Path) -> None:
    entries = all_entries(LogFiles(tmp_path / "c-json.log", max_files=1))
    for stream in ("stdout", "stderr"):
        got = [entry["log"] for entry in entries if entry["stream"] == stream]
        assert got == [f"{n} é {'x' * (n % 90)}\n" for n in range(LINES)]


def test_every_line_exactly_once(tmp_path: Path) -> None:
    """One file without bound."""
    run_with_kills(tmp_path, max_bytes=0, max_files=1, seed=1)
    check_lines(tmp_path)
    assert not (tmp_path / "io").exists()


def test_every_line_exactly_once_while_rotating(tmp_path: Path) -> None:
    """Many small files: kills between the steps of a rotation too."""
    run_with_kills(tmp_path, max_bytes=700_000, max_files=1000, seed=2)
    check_lines(tmp_path)
