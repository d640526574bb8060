"""The supervised parts of one running container: its log pump, its task, its execs.

    <container>          one_for_one; ends when `task` ends
    ├─ pump              moves the output to the log and to whoever is attached
    ├─ health            probes the container; only where it has a health check
    ├─ execs             dynamic, one temporary child for each: none waits for another
    └─ task              launches or adopts the task, follows it to its exit, cleans up

`task` counts as started when the container runs: so starting this supervisor is starting the
container, and a start that fails stops the pump again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from services.containers.container import Container
from services.errors import Conflict, Unavailable
from supervisor.otp import (
    INFINITY,
    AutoShutdown,
    Backoff,
    ChildSpec,
    ChildType,
    DynamicSupervisor,
    Intensity,
    NotRunning,
    Restart,
    StartFailed,
    Strategy,
    Supervisor,
    SupervisorError,
    TooManyRestarts,
)

if TYPE_CHECKING:
    from services.containers.stdio import Stdio

# A full disk fails a part again and again; it must not bring down what is above.
STEADY: Final = Backoff(first_s=0.05, cap_s=5.0)

EXEC_END_S: Final = 5.0
"""An exec whose container has ended hears of its own end in this time."""

PUMP: Final = "pump"
TASK: Final = "task"
HEALTH: Final = "health"


class Run:
    """What the parts of one running container share. Lives as long as their supervisor.

    Attributes:
        stop_wanted: set when the container is not to come back; calls off a delayed restart.
        ended: set when every part has ended and nothing of the run is left.
        was_launched: its task was started or adopted; a part that begins anew launches no second.
        holds: an ended task still holds its networks, its mounts and the like.
        is_cleaned_up: nothing is left of the last launch.
        asking: around the question for the exit that is open now.
        exec_turns: who may ask the shim to start an exec now.
    """

    def __init__(self, container: Container, stdio: Stdio) -> None:
        self.container = container
        self.stdio = stdio
        self.stop_wanted = trio.Event()
        self.ended = trio.Event()
        self.supervisor: Supervisor | None = None
        self.was_launched = False
        self.holds = False
        self.is_cleaned_up = False
        # containerd 1.6's shim may lock up, for good, when it starts many execs at once.
        self.exec_turns = trio.CapacityLimiter(1)
        self.asking = trio.CancelScope()
        self._execs = DynamicSupervisor(name="execs")
        self._cut = trio.Event()

    def ask_again(self) -> None:
        """The exit is asked for once more: the answer seems to have been lost."""
        self.asking.cancel()

    def cut_streams(self) -> None:
        """The next start does not wait for a client that will not read the last run's output."""
        self._cut.set()

    async def end_within(self, patience_s: float) -> bool:
        """Wait until nothing is left of the run, twice: then without those who do not read.

        False if it still has not ended.
        """
        for _ in range(2):
            with trio.move_on_after(patience_s):
                await self.ended.wait()
                return True
            self.cut_streams()
        return False

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
            try:
                await self.supervisor.terminate_child(PUMP)
            except NotRunning:
                return  # it is ending itself, and its pump after us; the next engine tidies up
        await self.stdio.close()

    async def renew_streams(self, stdio: Stdio) -> None:
        """Fresh pipes for another launch under the same supervisor."""
        assert self.supervisor is not None
        await self.supervisor.terminate_child(PUMP)
        self.stdio, self._cut, self.is_cleaned_up = stdio, trio.Event(), False
        await self.supervisor.restart_child(PUMP)

    async def start_exec(self, exec_id: str, start: Callable[..., Awaitable[object]]) -> None:
        """Own one exec; return when it runs, raise what kept it from that.

        Raises:
            Conflict: the container is ending.
        """
        spec = ChildSpec(
            id=f"exec-{exec_id}", start=start, restart=Restart.TEMPORARY, shutdown_s=EXEC_END_S
        )
        try:
            await self._execs.start_child(spec)
        except SupervisorError as error:
            raise Conflict(f"container {self.container.id} is not running") from error

    async def run_execs(
        self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """The supervised execs."""
        await self._execs.run(task_status=task_status)

    async def pump(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The supervised pump of the present launch."""
        await self.stdio.prepare()
        await self.stdio.pump(task_status=task_status)


TaskLife = Callable[[Run, trio.TaskStatus[None]], Awaitable[None]]
"""Launch or adopt the task of a run and follow it to its end. Reports started when it runs."""


Watch = Callable[[Container], Awaitable[None]]
"""Probe a container whenever it runs; never returns."""


class Runs:
    """The runs of all running containers, each supervised below one dynamic supervisor."""

    def __init__(self, *, start_child: Callable[[ChildSpec], Awaitable[object]]) -> None:
        self._start_child = start_child
        self._runs: dict[str, Run] = {}

    def get(self, container: Container) -> Run | None:
        """The run of a container, until the last of its parts has ended."""
        return self._runs.get(container.id)

    async def start(
        self, container: Container, stdio: Stdio, life: TaskLife, watch: Watch | None = None
    ) -> None:
        """Supervise a container's parts; return when its task runs, or raise why it does not.

        `watch` is None where there is nothing to probe.
        """
        run = Run(container, stdio)
        self._runs[container.id] = run

        async def supervise(
            *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
        ) -> None:
            await self._supervise(run, life, watch, task_status)

        try:
            await self._start_child(
                ChildSpec(
                    id=container.id,
                    start=supervise,
                    # Should the parts fail too often, they begin anew and adopt the task.
                    restart=Restart.TRANSIENT,
                    type=ChildType.SUPERVISOR,
                    shutdown_s=INFINITY,
                    backoff=STEADY,
                )
            )
        except StartFailed as error:
            raise _first_cause(error) from error
        except SupervisorError as error:
            raise Unavailable(
                f"container {container.name} cannot be started now: containers are being restored"
            ) from error
        finally:
            if run.supervisor is None:
                self._forget(run)

    async def _supervise(
        self,
        run: Run,
        life: TaskLife,
        watch: Watch | None,
        task_status: trio.TaskStatus[object],
    ) -> None:
        async def task(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            await life(run, task_status)

        if run.ended.is_set():  # its parts had failed too often: it begins anew
            run.ended = trio.Event()
            self._runs[run.container.id] = run
        run.supervisor = Supervisor(
            [
                ChildSpec(id=PUMP, start=run.pump, restart=Restart.TRANSIENT, backoff=STEADY),
                # Ends after the execs: a probe that is being started ends with them.
                *_health_child(run, watch),
                ChildSpec(
                    id="execs",
                    start=run.run_execs,
                    type=ChildType.SUPERVISOR,
                    shutdown_s=INFINITY,
                ),
                # At the daemon's end it stops the container, which takes the container's own time.
                ChildSpec(
                    id=TASK,
                    start=task,
                    restart=Restart.TRANSIENT,
                    significant=True,
                    shutdown_s=INFINITY,
                    backoff=STEADY,
                ),
            ],
            name=run.container.id[:12],
            strategy=Strategy.ONE_FOR_ONE,
            intensity=Intensity(max_restarts=5, window_s=10.0),
            auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
        )
        try:
            await run.supervisor.run(task_status=task_status)
        except TooManyRestarts as error:
            # An orderly end to OTP, after which nobody would follow the container any more.
            raise RuntimeError(f"the parts of container {run.container.id} fail") from error
        finally:
            self._forget(run)

    def _forget(self, run: Run) -> None:
        run.ended.set()
        if self._runs.get(run.container.id) is run:
            del self._runs[run.container.id]


def _health_child(run: Run, watch: Watch | None) -> list[ChildSpec]:
    if watch is None:
        return []
    start = partial(watch, run.container)
    return [ChildSpec(id=HEALTH, start=start, restart=Restart.TRANSIENT, backoff=STEADY)]


def _first_cause(error: BaseException) -> BaseException:
    """What kept the task from starting, without the supervisors' words around it."""
    while isinstance(error, StartFailed) and error.__cause__ is not None:
        error = error.__cause__
    return error
