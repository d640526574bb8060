"""kill -9 of the daemon: every line that a container writes is in its log, once and in order."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.engine.many import run, state, wait_exited
from tests.support.daemon import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

SEED = int(os.environ.get("LOG_KILL_SEED", "1"))
TICKS = 60
LINES_A_TICK = 1_000  # on each stream, twenty times a second
SOAK = (
    f"n=0; while [ $n -lt {TICKS} ]; do a=$((n * {LINES_A_TICK})); "
    f"seq $a $((a + {LINES_A_TICK} - 1)); seq $a $((a + {LINES_A_TICK} - 1)) >&2; "
    "n=$((n + 1)); usleep 50000; done"
)
LAST_WORDS = "trap 'seq 1 5000; seq 1 5000 >&2; exit 3' TERM; echo up; while :; do sleep 0.05; done"


def lines(daemon: Daemon, name: str) -> tuple[list[bytes], list[bytes]]:
    """What the log has of either stream."""
    ran = daemon.docker("logs", name)
    return ran.out.splitlines(), ran.err.splitlines()


def keepers(daemon: Daemon) -> list[int]:
    """The processes that hold this daemon's pipes."""
    path = os.fsencode(daemon.folder / "exec" / "keeper.sock")
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and path in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_exactly_once_under_fire(fresh_daemon: Daemon) -> None:
    """20,000 numbered lines a second on both streams; kills at random moments, rotations too."""
    daemon, chance = fresh_daemon, random.Random(SEED)
    expected = [b"%d" % n for n in range(TICKS * LINES_A_TICK)]
    config = {"max-size": "1m", "max-file": "100", "compress": "true"}
    for driver in ("json-file", "local"):
        run(daemon, driver, SOAK, LogConfig={"Type": driver, "Config": config})
    for _ in range(5):
        time.sleep(chance.uniform(0.05, 0.8))
        daemon.kill()
        time.sleep(chance.uniform(0.0, 0.3))
        daemon.start()
    for driver in ("json-file", "local"):
        wait_exited(daemon, driver, limit_s=300)
        out, err = lines(daemon, driver)
        assert out == expected, driver
        assert err == expected, driver


def pipes_held(daemon: Daemon) -> int:
    """How many of a container's pipes are held."""
    links = []
    for keeper in keepers(daemon):
        with suppress(OSError):  # it ends while it is looked at
            links += [os.readlink(fd) for fd in Path(f"/proc/{keeper}/fd").iterdir()]
    return sum(link.endswith(("/stdout", "/stderr")) for link in links)


def test_last_words_while_no_daemon_is_there(fresh_daemon: Daemon) -> None:
    """A container that prints and ends after the daemon's death has all of it in its log.

    The keeper's own death before that costs nothing: its heir is given the pipes again.
    """
    daemon = fresh_daemon
    run(daemon, "box", LAST_WORDS)
    wait_until(lambda: lines(daemon, "box")[0] == [b"up"], "it is up")
    wait_until(lambda: pipes_held(daemon) == 2, "its pipes are held")
    (killed,) = keepers(daemon)
    os.kill(killed, signal.SIGKILL)
    wait_until(
        lambda: killed not in keepers(daemon) and pipes_held(daemon) == 2, "they are held again"
    )
    pid, (keeper,) = state(daemon, "box")["Pid"], keepers(daemon)
    daemon.kill()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "it has ended")
    daemon.start()
    assert keepers(daemon) == [keeper], "it outlived the daemon and was taken over"
    wait_exited(daemon, "box")
    assert state(daemon, "box")["ExitCode"] == 3
    expected = [b"%d" % n for n in range(1, 5001)]
    assert lines(daemon, "box") == ([b"up", *expected], expected)
