"""The forced end of an exec: with all that it started, which containerd would leave."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from signal import SIGKILL
from typing import Final

import trio

from services.containerd import Containerd
from services.containers.process_family import kill_family
from services.errors import EngineError

KILL_LIMIT_S: Final = 3.0
KILL_ROUNDS: Final = 5
THREADS: Final = 2


class ExecKiller:
    """Kills execs by what the container's cgroup and /proc tell of them."""

    def __init__(self, containerd: Containerd) -> None:
        self._containerd = containerd
        self._threads = trio.CapacityLimiter(THREADS)

    async def kill(self, container_id: str, exec_id: str, pid: int) -> None:
        """Kill the exec that began as `pid`. Bounded; not cut off, so that none is forgotten."""
        tasks = self._containerd.tasks
        with trio.move_on_after(KILL_LIMIT_S, shield=True), suppress(EngineError):
            for _ in range(KILL_ROUNDS):  # what was forked while we looked is found by the next
                pids = [process.pid for process in await tasks.pids(container_id)]
                kill = partial(kill_family, pid, pids)
                if not await trio.to_thread.run_sync(kill, limiter=self._threads):
                    return
            await tasks.kill(container_id, SIGKILL, exec_id=exec_id, all=True)
