"""Our member of etcd as a process: started, watched, stopped. It never outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from contextlib import suppress
from typing import IO, Final

import trio
from loguru import logger

from services.errors import Unavailable

from .command import MemberConfig, command_line

STOP_GRACE_S: Final = 3.0
KILLED_LIMIT_S: Final = 10.0
KEPT_LINES: Final = 20
_LINE_BYTES: Final = 64 * 1024

_REMOVED: Final = "removed from"  # "the member has been permanently removed from the cluster"

log = logger.bind(service="etcd")


class MemberRemoved(Unavailable):
    """The other members have taken this one away; what it has on disk is of no more use."""


class EtcdProcess:
    """A supervised child: `run` ends when etcd does, so that its supervisor starts it again.

    The kernel kills etcd when the thread that started it ends, so that a daemon that is killed
    leaves none behind to hold the port and the data.
    """

    def __init__(self, config: MemberConfig) -> None:
        self.config = config

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Started, with its pid, once it was executed; whether it serves the client finds out.

        Without a quorum it may take for ever until it serves.

        Raises:
            MemberRemoved: it is a member no more.
            Unavailable: it ended, or cannot be started.
        """
        await trio.to_thread.run_sync(_prepare, self.config)
        process = self._spawn()
        log.bind(pid=process.pid).info("etcd started")
        lines: deque[str] = deque(maxlen=KEPT_LINES)
        assert process.stderr is not None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_follow, process.stderr, lines)
                task_status.started(process.pid)
                status = await _wait(process)
                # What it said last may still be in the pipe.
                await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
        finally:
            await _stop(process)
        if any(_REMOVED in line for line in lines):
            raise MemberRemoved("this manager was removed from the cluster")
        last = lines[-1] if lines else "it said nothing"
        raise Unavailable(f"etcd (pid {process.pid}) ended with status {status}: {last}")

    def _spawn(self) -> subprocess.Popen[bytes]:
        # In the main thread: the kernel means the thread by "parent".
        try:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command_line(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=self.config.folder,
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"etcd cannot be started: {error}") from error


def _prepare(config: MemberConfig) -> None:
    config.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    config.folder.chmod(0o700)
    # What an etcd that was killed leaves behind makes the next one die of "address already in use".
    config.socket.unlink(missing_ok=True)


def _environment() -> dict[str, str]:
    """Ours, without what etcd would take for its own settings, or systemd means for us alone."""
    not_for_it = ("ETCD_", "NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(not_for_it)}


async def _follow(pipe: IO[bytes], lines: deque[str]) -> None:
    """Read what it says, so that it never waits for us; the last lines are kept."""
    rest = b""
    os.set_blocking(pipe.fileno(), False)
    async with trio.lowlevel.FdStream(os.dup(pipe.fileno())) as stream:
        async for piece in stream:
            *whole, rest = (rest + piece).split(b"\n")
            rest = rest[-_LINE_BYTES:]
            for line in whole:
                text = line.decode(errors="replace")
                lines.append(text)
                log.bind(line=text).debug("etcd says")


async def _wait(process: subprocess.Popen[bytes]) -> int:
    pidfd = os.pidfd_open(process.pid)
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)
    return process.wait()  # at once: its pidfd says that it has ended


async def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with trio.CancelScope(shield=True):
            for number, patience_s in (
                (signal.SIGTERM, STOP_GRACE_S),
                (signal.SIGKILL, KILLED_LIMIT_S),
            ):
                with suppress(ProcessLookupError):
                    process.send_signal(number)
                with trio.move_on_after(patience_s):
                    await _wait(process)
                    break
            else:
                log.bind(pid=process.pid).error("etcd survives SIGKILL")
    assert process.stderr is not None
    process.stderr.close()
