"""Our own containerd: started, or adopted from an earlier life of ours, watched, and stopped."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.errors import Unavailable

from ._running import Running, find_running
from ._spawn import Started, make_folders, spawn
from .ahead import Ahead
from .connection import probe
from .kept_exits import KeptExits
from .process_config import ProcessConfig
from .process_log import LogFollower
from .shim_waits import ShimWaits

PROBE_FIRST_S: Final = 0.005
PROBE_MAX_S: Final = 0.05
ADOPT_LIMIT_S: Final = 5.0  # one that was alive before us and is silent for so long is replaced

log = logger.bind(service="containerd.process")


class Process:
    """A supervised child: `run` ends when containerd does, so that its supervisor starts it again.

    containerd has a session of its own and outlives us when we are killed; the next `run`, of this
    or of a later process, finds it by its configuration file and adopts it, with the configuration
    that it was started with. When `run` is cancelled containerd is stopped; the shims and what runs
    in them live on in any case.
    """

    def __init__(
        self,
        config: ProcessConfig,
        *,
        ahead: Ahead | None = None,
        kept_exits: KeptExits | None = None,
    ) -> None:
        """`ahead` may have started one, which the first `run` takes over.

        `kept_exits` is told how tasks ended while none ran, before `run` is started.
        """
        self._config = config
        self._ahead = ahead
        self._kept_exits = kept_exits if kept_exits is not None else KeptExits()
        self._waits: ShimWaits | None = None  # of one that we started and that has yet to answer

    @property
    def address(self) -> Path:
        """The socket to connect to."""
        return self._config.address

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Started, with containerd's pid, once it has answered a call.

        Cancelled, it returns when containerd has ended: `stop_grace_s` and the time for a SIGKILL,
        at most.

        Raises:
            Unavailable: containerd ended, or did not answer within `start_limit_s`.
        """
        config = self._config
        await trio.to_thread.run_sync(make_folders, config)
        with closing(LogFollower(config.log_file)) as follower:
            running = await self._take_ahead() or await self._adopt() or await self._start()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(follower.run)
                    failure = await self._wait_answering(running, config.start_limit_s)
                    if failure is None:
                        await trio.to_thread.run_sync(self._hear_shims)
                        task_status.started(running.pid)
                        failure = f"ended: {await running.wait_exited()}"
                    nursery.cancel_scope.cancel()
            finally:
                self._hear_shims()  # a containerd that never answered may have forgotten them
                await self._stop(running)
        raise Unavailable(f"containerd (pid {running.pid}) {failure}")

    def _hear_shims(self) -> None:
        """What containerd may have forgotten at its start; reads without waiting."""
        waits, self._waits = self._waits, None
        if waits is not None:
            self._kept_exits.add(waits.collect())

    async def _adopt(self) -> Running | None:
        """The containerd of an earlier life, if one is alive and answers."""
        running = await trio.to_thread.run_sync(find_running, self._config)
        if running is None:
            return None
        try:
            failure = await self._wait_answering(running, ADOPT_LIMIT_S)
        except BaseException:  # cancelled: whoever stops us wants it stopped
            await self._stop(running)
            raise
        if failure is not None:
            log.bind(pid=running.pid, failure=failure).warning("containerd of before is replaced")
            await self._stop(running)
            return None
        log.bind(pid=running.pid).info("containerd adopted")
        return running

    async def _take_ahead(self) -> Running | None:
        """The one that was started ahead of us, if it is alive."""
        started = self._ahead.take() if self._ahead is not None else None
        if started is None:
            return None
        log.bind(pid=started.process.pid).info("containerd started ahead")
        return self._running(started)

    async def _start(self) -> Running:
        config = self._config
        try:
            started = await trio.to_thread.run_sync(spawn, config)
        except OSError as error:
            raise Unavailable(f"containerd cannot be started: {error}") from error
        log.bind(pid=started.process.pid).info("containerd started")
        return self._running(started)

    def _running(self, started: Started) -> Running:
        self._waits = started.waits
        _set_oom_score(started.process.pid, self._config.oom_score_adj)
        return Running.of_child(started.process)

    async def _wait_answering(self, running: Running, limit_s: float) -> str | None:
        """Block until it has answered a call: None; or has ended, or not answered: what it did."""
        failure: str | None = f"did not answer in {limit_s:g} s"
        with trio.move_on_after(limit_s):
            async with trio.open_nursery() as nursery:

                async def watch() -> None:
                    nonlocal failure
                    failure = f"ended before it answered: {await running.wait_exited()}"
                    nursery.cancel_scope.cancel()

                nursery.start_soon(watch)
                await _answered(self._config.address)
                failure = None
                nursery.cancel_scope.cancel()
        return failure

    async def _stop(self, running: Running) -> None:
        with trio.CancelScope(shield=True):  # bounded: Running.stop is
            await running.stop(self._config.stop_grace_s)
        with suppress(FileNotFoundError):
            self._config.pid_file.unlink()


async def _answered(address: Path) -> None:
    delay_s = PROBE_FIRST_S
    while not await probe(address):
        await trio.sleep(delay_s)
        delay_s = min(delay_s * 2.0, PROBE_MAX_S)


def _set_oom_score(pid: int, score: int) -> None:
    """By us and not by containerd, which would end where lowering it is not allowed."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(score))
    except OSError as error:
        log.bind(pid=pid, score=score, error=str(error)).info("oom score of containerd not changed")
