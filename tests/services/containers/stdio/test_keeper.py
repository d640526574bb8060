"""What pipes hold outlives us, with a process that outlives us; and its own end costs nothing."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from services.containers.stdio.keeper import Keeper, KeeperLost
from tests.support.standstill import stop_process


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "stdout"
    os.mkfifo(path)
    return path


@asynccontextmanager
async def connected(keeper: Keeper) -> AsyncIterator[None]:
    """Its task runs, as under a supervisor that has not begun anew yet."""
    async with trio.open_nursery() as nursery:
        await nursery.start(keeper.run)
        yield
        nursery.cancel_scope.cancel()


def keepers(tmp_path: Path) -> Iterator[int]:
    """The processes that stand on a socket in this folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if f"{tmp_path}/keeper.sock".encode() in line:
                yield int(entry.name)


async def wait_for(check: object) -> None:
    assert callable(check)
    with trio.fail_after(30):
        while not check():
            await trio.sleep(0.02)


def write_and_leave(fifo: Path, data: bytes) -> None:
    """A process writes, with us as the reader that lets it, and ends."""
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    os.write(writer, data)
    os.close(writer)
    os.close(reader)


def read_now(fifo: Path) -> bytes:
    fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(fd, 1000)
    except BlockingIOError:
        return b""
    finally:
        os.close(fd)


def held(tmp_path: Path, fifo: Path) -> bool:
    """Does a keeper have the pipe open?"""
    for pid in keepers(tmp_path):
        try:
            links = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:  # it has just ended
            continue
        for link in links:
            try:
                if os.readlink(link) == str(fifo):
                    return True
            except OSError:
                continue
    return False


async def test_what_a_pipe_holds_is_there_for_the_next_daemon(tmp_path: Path, fifo: Path) -> None:
    """Although writer and reader are gone; without a keeper it would be lost."""
    write_and_leave(fifo, b"nobody holds it")
    assert read_now(fifo) == b""
    async with connected(keeper := Keeper(tmp_path / "keeper.sock")):
        keeper.hold("one", [fifo])
        await wait_for(lambda: held(tmp_path, fifo))
    write_and_leave(fifo, b"last words")
    (pid,) = keepers(tmp_path)
    async with connected(heir := Keeper(tmp_path / "keeper.sock")):
        assert list(keepers(tmp_path)) == [pid], "it is adopted"
        assert read_now(fifo) == b"last words"
        heir.hold("one", [fifo])
        heir.drop("one")
        await wait_for(lambda: not held(tmp_path, fifo))
    await wait_for(lambda: not list(keepers(tmp_path)))


async def test_its_end_is_seen_and_its_heir_is_told_all(tmp_path: Path, fifo: Path) -> None:
    """It is killed; the supervisor runs us again; the new one has the pipes that are still held."""
    keeper = Keeper(tmp_path / "keeper.sock")
    with pytest.RaisesGroup(KeeperLost):
        async with connected(keeper):
            keeper.hold("one", [fifo])
            await wait_for(lambda: held(tmp_path, fifo))
            (pid,) = keepers(tmp_path)
            os.kill(pid, signal.SIGKILL)
            await trio.sleep(30)
    keeper.hold("two", [tmp_path / "not there any more"])
    async with connected(keeper):
        await wait_for(lambda: held(tmp_path, fifo))
        (heir,) = keepers(tmp_path)
        assert heir != pid
        keeper.drop("one")
    await wait_for(lambda: not list(keepers(tmp_path)))


async def test_it_ends_when_nobody_needs_it(tmp_path: Path, fifo: Path) -> None:
    """No engine, and no pipe that has a name left."""
    async with connected(keeper := Keeper(tmp_path / "keeper.sock")):
        keeper.hold("one", [fifo])
        await wait_for(lambda: held(tmp_path, fifo))
        assert stat.S_IMODE((tmp_path / "keeper.sock").stat().st_mode) == 0o600
    assert list(keepers(tmp_path))
    fifo.unlink()
    await wait_for(lambda: not list(keepers(tmp_path)))


async def test_many_at_once_block_nobody(tmp_path: Path) -> None:
    """What does not go into the socket at once goes when it can."""
    fifos = []
    for n in range(300):
        os.mkfifo(tmp_path / f"p{n}")
        fifos.append(tmp_path / f"p{n}")
    async with connected(keeper := Keeper(tmp_path / "keeper.sock")):
        # Within its exec a process has no arguments yet, and is not found by them.
        await wait_for(lambda: list(keepers(tmp_path)))
        (pid,) = keepers(tmp_path)
        stop_process(pid)
        began = time.monotonic()
        for n, path in enumerate(fifos):
            keeper.hold(f"c{n}", [path])
        assert time.monotonic() - began < 10
        os.kill(pid, signal.SIGCONT)
        await wait_for(lambda: held(tmp_path, fifos[-1]) and held(tmp_path, fifos[0]))
        for n in range(300):
            keeper.drop(f"c{n}")
        await wait_for(lambda: not any(held(tmp_path, path) for path in fifos[::50]))
        await wait_for(lambda: not keeper._unsaid)
    await wait_for(lambda: not list(keepers(tmp_path)))
