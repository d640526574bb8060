"""Our own containerd, real: started, adopted, replaced, stopped."""

# Real processes and files are what these tests are about; a block on the loop harms nobody here.

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from services.containerd import process as process_module
from services.containerd.connection import probe
from services.containerd.process import Process
from services.containerd.process_config import ProcessConfig
from services.errors import InvalidParameter, Unavailable
from tests.engine_fixtures import private_config
from tests.support.standstill import stop_process

pytestmark = pytest.mark.engine

# Another life of ours: runs containerd, says its pid, and waits to be killed.
OTHER_LIFE = """
import sys, trio
from pathlib import Path
from services.containerd.process import Process
from services.containerd.process_config import ProcessConfig

async def main() -> None:
    config = ProcessConfig(data_root=Path(sys.argv[1]), exec_root=Path(sys.argv[2]))
    async with trio.open_nursery() as nursery:
        print(await nursery.start(Process(config).run), flush=True)

trio.run(main)
"""


@pytest.fixture
def config() -> Iterator[ProcessConfig]:
    """Folders for one containerd, with nothing in them yet."""
    with private_config() as config:
        yield config


@contextlib.asynccontextmanager
async def running(config: ProcessConfig) -> AsyncIterator[int]:
    """containerd's pid, while `Process.run` is at work."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            yield await nursery.start(Process(config).run)
            nursery.cancel_scope.cancel()


def is_alive(pid: int) -> bool:
    """A zombie is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def killed_life(config: ProcessConfig) -> int:
    """The pid of the containerd of a life that was ended by kill -9."""
    life = subprocess.Popen(
        [sys.executable, "-c", OTHER_LIFE, str(config.data_root), str(config.exec_root)],
        stdout=subprocess.PIPE,
    )
    assert life.stdout is not None
    pid = int(life.stdout.readline())
    life.kill()
    life.wait()
    life.stdout.close()
    return pid


async def test_started_means_answering_and_cancelled_means_ended(config: ProcessConfig) -> None:
    """When `run` has started a call is answered; when it was cancelled the process is gone."""
    async with running(config) as pid:
        assert await probe(config.address)
        assert config.pid_file.read_text() == f"{pid}\n"
        assert os.getsid(pid) == pid
    assert not is_alive(pid)
    assert not config.pid_file.exists()


async def test_run_ends_with_containerd_and_can_run_again(config: ProcessConfig) -> None:
    """kill -9 ends `run` with Unavailable; the same object's next run starts another containerd."""
    process = Process(config)
    pids = []
    for _ in range(2):
        with pytest.RaisesGroup(pytest.RaisesExc(Unavailable, match="signal 9")):
            async with trio.open_nursery() as nursery:
                pids.append(await nursery.start(process.run))
                os.kill(pids[-1], signal.SIGKILL)
    assert pids[0] != pids[1]


async def test_containerd_outlives_us_and_is_adopted(config: ProcessConfig) -> None:
    """After our kill -9 it lives and logs on; the next life takes it over, and can stop it."""
    pid = killed_life(config)
    assert is_alive(pid)
    assert await probe(config.address)
    async with running(config) as adopted:
        assert adopted == pid
    for _ in range(1000):  # its parent is init now, which reaps it in its own time
        if not is_alive(pid):
            break
        await trio.sleep(0.05)
    assert not is_alive(pid)


async def test_adopted_without_a_pidfile(config: ProcessConfig) -> None:
    """We may have died before we wrote the pidfile: no second containerd on the same data."""
    pid = killed_life(config)
    config.pid_file.unlink()
    async with running(config) as adopted:
        assert adopted == pid


async def test_an_adopted_containerd_that_dies_ends_run(config: ProcessConfig) -> None:
    """One that is not our child is watched as well."""
    pid = killed_life(config)
    with pytest.RaisesGroup(pytest.RaisesExc(Unavailable, match=f"pid {pid}")):
        async with running(config):
            os.kill(pid, signal.SIGKILL)
            await trio.sleep_forever()


async def test_a_silent_containerd_of_before_is_replaced(
    config: ProcessConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is alive and does not answer is killed, and another started."""
    monkeypatch.setattr(process_module, "ADOPT_LIMIT_S", 0.2)
    pid = killed_life(config)
    stop_process(pid)
    async with running(replace(config, stop_grace_s=0.1)) as started:
        assert started != pid
        assert not is_alive(pid)


async def test_stale_files_are_in_nobodys_way(config: ProcessConfig) -> None:
    """A dead socket, and a pidfile with the pid of somebody else, who is left alone."""
    config.folder.mkdir(parents=True)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(config.address))
    other = subprocess.Popen(["sleep", "100"])
    try:
        config.pid_file.write_text(f"{other.pid}\n")
        async with running(config) as pid:
            assert pid != other.pid
            assert await probe(config.address)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


async def test_a_containerd_that_ends_at_once_is_reported(config: ProcessConfig) -> None:
    """A binary that fails, and one that is not there: Unavailable, soon, with the reason."""
    with trio.fail_after(60):
        with pytest.raises(Unavailable, match="ended before it answered: exit status 1"):
            await Process(replace(config, binary="false")).run()
        with pytest.raises(Unavailable, match=r"cannot be started: .*no-such-containerd"):
            await Process(replace(config, binary="no-such-containerd")).run()


async def test_a_containerd_that_does_not_answer_is_ended(config: ProcessConfig) -> None:
    """At the start limit run ends with Unavailable, and nothing is left running."""
    silent = config.data_root.parent / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 1000\n")
    silent.chmod(0o755)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"did not answer in 0\.3 s"):
        await Process(replace(config, binary=str(silent), start_limit_s=0.3)).run()
    assert time.monotonic() - began < 60
    assert not config.pid_file.exists()


def test_a_socket_path_that_is_too_long_is_refused() -> None:
    """The kernel's limit is named before containerd trips over it."""
    with pytest.raises(InvalidParameter, match="too long"):
        ProcessConfig(data_root=Path("/d"), exec_root=Path("/" + "x" * 90))
