"""The supervised parts of one running container: its log pump, its task, its execs.

    <container>          one_for_one; ends when `task` ends
    ├─ pump              moves the output to the log and to whoever is attached
    ├─ task              launches or adopts the task, follows it to its exit, cleans up
    └─ exec-...          one for each exec, temporary

`task` counts as started when the container runs: so starting this supervisor is starting the
container, and a start that fails stops the pump again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from services.containers.container import Container
from services.containers.stdio import Stdio
from supervisor.otp import (
    INFINITY,
    AutoShutdown,
    ChildSpec,
    ChildType,
    Intensity,
    Restart,
    StartFailed,
    Strategy,
    Supervisor,
)

PUMP: Final = "pump"
TASK: Final = "task"


class Run:
    """What the parts of one running container share. Lives as long as their supervisor.

    Attributes:
        stop_wanted: set when the container is not to come back; calls off a delayed restart.
        ended: set when every part has ended and nothing of the run is left.
        was_launched: its task was started or adopted; a part that begins anew launches no second.
    """

    def __init__(self, container: Container, stdio: Stdio) -> None:
        self.container = container
        self.stdio = stdio
        self.stop_wanted = trio.Event()
        self.ended = trio.Event()
        self.supervisor: Supervisor | None = None
        self.was_launched = False
        self._cut = trio.Event()

    def cut_streams(self) -> None:
        """The next start does not wait for a client that will not read the last run's output."""
        self._cut.set()

    async def finish_streams(self) -> None:
        """Let the attached have the rest of an ended run's output, however slowly they read."""
        async with trio.open_nursery() as nursery:

            async def wait_cut() -> None:
                await self._cut.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait_cut)
            await self.stdio.wait_drained()
            nursery.cancel_scope.cancel()
        if self.supervisor is not None:
            await self.supervisor.terminate_child(PUMP)
        await self.stdio.close()

    async def restart_pump(self, stdio: Stdio) -> None:
        """Fresh pipes for another launch under the same supervisor."""
        assert self.supervisor is not None
        await self.supervisor.terminate_child(PUMP)
        self.stdio = stdio
        await self.supervisor.restart_child(PUMP)

    async def start_exec(self, exec_id: str, start: Callable[..., Awaitable[object]]) -> None:
        """Own one exec; return when it runs, raise what kept it from that."""
        assert self.supervisor is not None
        await self.supervisor.start_child(
            ChildSpec(id=f"exec-{exec_id}", start=start, restart=Restart.TEMPORARY)
        )

    async def pump(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The supervised pump of the present launch."""
        await self.stdio.prepare()
        await self.stdio.pump(task_status=task_status)


TaskLife = Callable[[Run, trio.TaskStatus[None]], Awaitable[None]]
"""Launch or adopt the task of a run and follow it to its end. Reports started when it runs."""


class Runs:
    """The runs of all running containers, each supervised below one dynamic supervisor."""

    def __init__(self, *, start_child: Callable[[ChildSpec], Awaitable[object]]) -> None:
        self._start_child = start_child
        self._runs: dict[str, Run] = {}

    def get(self, container: Container) -> Run | None:
        """The run of a container, until the last of its parts has ended."""
        return self._runs.get(container.id)

    async def start(self, container: Container, stdio: Stdio, life: TaskLife) -> None:
        """Supervise a container's parts; return when its task runs, or raise why it does not."""
        run = Run(container, stdio)
        self._runs[container.id] = run

        async def supervise(
            *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
        ) -> None:
            await self._supervise(run, life, task_status)

        try:
            await self._start_child(
                ChildSpec(
                    id=container.id,
                    start=supervise,
                    # Should the parts fail too often, they begin anew and adopt the task.
                    restart=Restart.TRANSIENT,
                    type=ChildType.SUPERVISOR,
                    shutdown_s=INFINITY,
                )
            )
        except StartFailed as error:
            raise _first_cause(error) from error
        finally:
            if run.supervisor is None:
                self._forget(run)

    async def _supervise(
        self, run: Run, life: TaskLife, task_status: trio.TaskStatus[object]
    ) -> None:
        async def task(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            await life(run, task_status)

        if run.ended.is_set():  # its parts had failed too often: it begins anew
            run.ended = trio.Event()
            self._runs[run.container.id] = run
        run.supervisor = Supervisor(
            [
                ChildSpec(id=PUMP, start=run.pump, restart=Restart.TRANSIENT),
                # At the daemon's end it stops the container, which takes the container's own time.
                ChildSpec(
                    id=TASK,
                    start=task,
                    restart=Restart.TRANSIENT,
                    significant=True,
                    shutdown_s=INFINITY,
                ),
            ],
            name=run.container.id[:12],
            strategy=Strategy.ONE_FOR_ONE,
            intensity=Intensity(max_restarts=5, window_s=10.0),
            auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
        )
        try:
            await run.supervisor.run(task_status=task_status)
        finally:
            self._forget(run)

    def _forget(self, run: Run) -> None:
        run.ended.set()
        if self._runs.get(run.container.id) is run:
            del self._runs[run.container.id]


def _first_cause(error: BaseException) -> BaseException:
    """What kept the task from starting, without the supervisors' words around it."""
    while isinstance(error, StartFailed) and error.__cause__ is not None:
        error = error.__cause__
    return error
