"""What the process does when it is signalled.

Source: moby, daemon/command/trap (three strikes), daemon (SIGHUP, and SIGUSR1 for stacks).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

import trio
from loguru import logger

from supervisor.configuration.settings import ConfigError
from supervisor.otp.channel import Latch

from .stacks import dump_stacks

log = logger.bind(service="signals")

STRIKES: Final = 3  # requests to end after which there is no more patience
_DUMP_S: Final = 30.0  # a dump that takes longer, on a disk that hangs, is given up


class SignalTrap:
    """Follows this process's signals until `ended` is set.

    SIGTERM, SIGINT: the first calls `drain`, which starts the orderly end and returns; the second
        is only counted; the third ends the process at once with status 128 + its number.
    SIGUSR2: calls `leave`, as the first SIGTERM does `drain`: an orderly end that leaves containers
        running, for an engine that is about to be replaced.
    SIGHUP: calls `reload`, once more for all that come while one is running. Its ConfigError is
        logged: the settings stay as they were.
    SIGQUIT, SIGUSR1 (dockerd's): writes what every task and thread does to a file in
        `stacks_folder`, and goes on.
    SIGPIPE: ignored; a write to a reader that has gone fails with an error instead.
    """

    def __init__(
        self,
        *,
        drain: Callable[[], object],
        leave: Callable[[], object],
        reload: Callable[[], Awaitable[object]],
        ended: Latch,
        stacks_folder: Path,
        end_now: Callable[[int], NoReturn] = os._exit,
    ) -> None:
        self._drain = drain
        self._leave = leave
        self._reload = reload
        self._ended = ended
        self._stacks_folder = stacks_folder
        self._end_now = end_now
        self._strikes = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ready once the signals are caught. In the main thread only: Python catches them there."""
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        ending = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
        dumping = (signal.SIGQUIT, signal.SIGUSR1)
        # One slot each: whoever is busy is asked once more, however often the signal came.
        ask_reload, reloads = trio.open_memory_channel[None](1)
        ask_dump, dumps = trio.open_memory_channel[None](1)
        with trio.open_signal_receiver(*ending, *dumping, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow_reloads, reloads)
                nursery.start_soon(self._follow_dumps, dumps)
                nursery.start_soon(self._until_ended, nursery.cancel_scope)
                task_status.started()
                async for number in signals:
                    match number:
                        case signal.SIGHUP:
                            with suppress(trio.WouldBlock):
                                ask_reload.send_nowait(None)
                        case signal.SIGQUIT | signal.SIGUSR1:
                            with suppress(trio.WouldBlock):
                                ask_dump.send_nowait(None)
                        case _:
                            self._strike(signal.Signals(number))

    def _strike(self, number: signal.Signals) -> None:
        self._strikes += 1
        log.info("asked to end", signal=number.name, times=self._strikes)
        if self._strikes == 1:
            (self._leave if number is signal.SIGUSR2 else self._drain)()
        elif self._strikes >= STRIKES:
            log.warning("ending at once, without cleaning up", signal=number.name)
            self._end_now(128 + number)

    async def _until_ended(self, scope: trio.CancelScope) -> None:
        await self._ended.wait()
        scope.cancel()

    async def _follow_reloads(self, requests: trio.MemoryReceiveChannel[None]) -> None:
        async for _ in requests:
            try:
                await self._reload()
            except ConfigError as error:
                # The text says it all: a mistake in a file, not in the engine.
                log.error("configuration not reloaded, the old one stays", error=str(error))

    async def _follow_dumps(self, requests: trio.MemoryReceiveChannel[None]) -> None:
        async for _ in requests:
            try:
                with trio.fail_after(_DUMP_S):
                    path = await dump_stacks(self._stacks_folder)
            except (OSError, trio.TooSlowError) as error:
                log.warning(
                    "stacks not written", folder=str(self._stacks_folder), error=repr(error)
                )
            else:
                log.info("stacks written", path=str(path))
