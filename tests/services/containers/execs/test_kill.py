"""The forced end of an exec."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from signal import SIGKILL
from typing import Any, cast

import trio.testing

from services.containerd import ProcessId
from services.containers.execs.kill import KILL_LIMIT_S, ExecKiller
from services.errors import NotFound


@dataclass
class FakeTasks:
    """A container's cgroup; also the containerd that knows it."""

    pids_now: Callable[[], list[int]]
    killed: list[tuple[str, int, str, bool]] = field(default_factory=list)
    is_stuck: bool = False

    @property
    def tasks(self) -> FakeTasks:
        return self

    async def pids(self, id: str) -> list[ProcessId]:
        await trio.sleep_forever() if self.is_stuck else await trio.lowlevel.checkpoint()
        return [ProcessId(pid=pid, exec_id="") for pid in self.pids_now()]

    async def kill(self, id: str, signal: int, *, exec_id: str, all: bool) -> None:
        self.killed.append((id, signal, exec_id, all))


def killer(tasks: FakeTasks) -> ExecKiller:
    return ExecKiller(cast(Any, tasks))


async def test_it_looks_again_until_nobody_is_left() -> None:
    """What was forked between the look and the kill is found by the next look."""
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as first:
        seen = 0

        def pids() -> list[int]:
            nonlocal seen
            seen += 1
            return [first.pid] if first.poll() is None else []

        tasks = FakeTasks(pids)
        await killer(tasks).kill("c", "e", first.pid)
        assert first.wait() == -SIGKILL
    assert seen >= 1
    assert tasks.killed in ([], [("c", SIGKILL, "e", True)])


async def test_a_container_that_is_gone_has_no_execs() -> None:
    """Nothing is to be done, and nothing fails."""

    def pids() -> list[int]:
        raise NotFound("no running task found")

    tasks = FakeTasks(pids)
    await killer(tasks).kill("c", "e", 4711)
    assert tasks.killed == []


async def test_a_stuck_shim_is_left(autojump_clock: trio.testing.MockClock) -> None:
    """After a while: an exec must not hold up the end of its container for good."""
    began = trio.current_time()
    await killer(FakeTasks(list, is_stuck=True)).kill("c", "e", 4711)
    assert trio.current_time() - began == KILL_LIMIT_S
