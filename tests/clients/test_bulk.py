"""A gigabyte through the whole engine: unharmed, and without a place in its memory."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from typing import IO

import pytest

from tests.support.daemon import Daemon

pytestmark = [pytest.mark.engine, pytest.mark.clients, pytest.mark.timeout(600)]

GIGABYTE = 1024 * 1024 * 1024
BLOCK = bytes(range(256)) * 4096
GROWTH_LIMIT_KB = 24 * 1024
"""Two directions of pipes, queues and HTTP buffers; a gigabyte would be a thousand megabytes."""


def feed(sink: IO[bytes], salt: bytes, digest: hashlib._Hash) -> None:
    """Write a gigabyte that differs from block to block, and remember its digest."""
    for number in range(GIGABYTE // len(BLOCK)):
        block = salt + number.to_bytes(8, "big") + BLOCK[len(salt) + 8 :]
        digest.update(block)
        sink.write(block)
    sink.close()


def test_a_gigabyte_there_and_back(daemon: Daemon) -> None:
    """`docker run -i busybox cat`: what comes out is what went in; the daemon does not grow."""
    daemon.docker("run", "--rm", "-i", "--network", "none", "busybox", "cat", stdin=BLOCK)
    before_kb = daemon.memory_kb("VmHWM")
    sent, received = hashlib.sha256(), hashlib.sha256()
    size = 0
    options = ("--rm", "-i", "--network", "none", "--log-driver", "none")
    with daemon.docker_process(
        "run", *options, "busybox", "cat", stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        feeder = threading.Thread(target=feed, args=(process.stdin, b"salt", sent))
        feeder.start()
        while data := process.stdout.read(1024 * 1024):
            received.update(data)
            size += len(data)
        feeder.join()
        assert process.wait(60) == 0
    assert size == GIGABYTE
    assert received.hexdigest() == sent.hexdigest()
    assert daemon.memory_kb("VmHWM") - before_kb < GROWTH_LIMIT_KB


def test_output_that_nobody_reads_for_a_while(daemon: Daemon) -> None:
    """A client that stops reading holds its container up, not the daemon's memory or others."""
    script = "head -c 100000000 /dev/zero"
    options = ("--network", "none", "--log-driver", "none")
    before_kb = daemon.memory_kb("VmHWM")
    with daemon.docker_process("run", *options, "busybox", "sh", "-c", script) as process:
        assert process.stdout is not None
        taken = len(process.stdout.read(1000))
        assert daemon.docker("run", "--rm", *options, "busybox", "echo", "other").text == "other"
        while data := process.stdout.read(1024 * 1024):
            taken += len(data)
        assert process.wait(60) == 0
    assert taken == 100_000_000
    assert daemon.memory_kb("VmHWM") - before_kb < GROWTH_LIMIT_KB


def test_a_large_log_comes_back(daemon: Daemon) -> None:
    """What was written while nobody looked is all in the log, in order."""
    script = "seq 1 200000"
    daemon.docker("run", "-d", "--name", "loud", "--network", "none", "busybox", "sh", "-c", script)
    daemon.docker("wait", "loud")
    lines = daemon.docker("logs", "loud").out.splitlines()
    assert lines == [b"%d" % number for number in range(1, 200001)]
