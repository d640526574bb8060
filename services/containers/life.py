"""A running container's supervised `task`: launch or adopt, follow, record the exit, clean up.

State follows what was observed: only an exit that containerd reports, or a task that it no longer
knows, ends a run.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
import trio
from loguru import logger

from services.containerd import Containerd
from services.containers.config import EndpointSettings
from services.containers.container import Container
from services.containers.journal import Journal, container_event, network_events
from services.containers.lifecycle import LifeEvent, next_state
from services.containers.model import ExitStatus, State, Status
from services.containers.restart_policy import restart_delay_s, wants_restart
from services.containers.run import Run, Runs
from services.containers.terminals import Terminals
from services.errors import EngineError, NotFound, Unavailable
from supervisor.otp import StopRequest, stop_request

log = logger.bind(service="containers")

UNKNOWN_EXIT_CODE: Final = 255
"""dockerd's code for a container that was gone when we came back."""

LOST_SHIM_EXIT_CODE: Final = 137
"""containerd kills what a dead shim leaves behind."""

DRAIN_BEFORE_RECORD_S: Final = 3.0
"""An attached client that does not read must not keep the exit from being recorded; it goes on
getting its output afterwards."""

CLEANUP_LIMIT_S: Final = 30.0


class Launcher(Protocol):
    """Makes and unmakes what a task needs of containerd, the network and the file system."""

    async def launch(self, run: Run) -> None:
        """From a definition to a started, recorded task; a failure leaves nothing behind."""

    async def clean_up(self, run: Run, endpoints: Mapping[str, EndpointSettings]) -> None:
        """Give back all that a task held that has ended."""

    async def was_oom_killed(self, container: Container) -> bool:
        """Whether the kernel killed a process of its cgroup for want of memory."""


class Stopper(Protocol):
    """Ends a running container as `docker stop` does."""

    async def stop_for_shutdown(self, run: Run) -> None:
        """Signal, wait the container's own grace, kill. Not remembered as the user's wish."""


class Lives:
    """The life of each container under this daemon, from its launch or adoption to its end."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        journal: Journal,
        launcher: Launcher,
        stopper: Stopper,
        runs: Runs,
        terminals: Terminals,
        auto_remove: Callable[[Container], Awaitable[None]],
        is_live_restore: Callable[[], bool],
    ) -> None:
        self._containerd = containerd
        self._journal = journal
        self._launcher = launcher
        self._stopper = stopper
        self._runs = runs
        self._terminals = terminals
        self._auto_remove = auto_remove
        self._is_live_restore = is_live_restore

    async def begin(self, container: Container) -> None:
        """Supervise a container: launch it unless it runs; return once it does.

        Raises:
            EngineError: it could not be started; who is attached to it is told the end.
        """
        try:
            await self._runs.start(container, self._terminals.streams(container), self.live)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._terminals.drop_streams(container)
            raise

    async def live(self, run: Run, task_status: trio.TaskStatus[None]) -> None:
        """Launch the container unless it runs, then follow it until it is not to run any more."""
        container = run.container
        if not container.is_running:
            if run.was_launched:
                # This child failed after the exit was recorded; what is left is to clean up.
                await self._launcher.clean_up(run, container.status.networks)
                return
            await self._launcher.launch(run)
        run.was_launched = True
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                self._stop_with_daemon, run, stop_request(), nursery.cancel_scope.cancel
            )
            await self._follow(run)
            nursery.cancel_scope.cancel()
        if container.definition.host_config.auto_remove and not container.is_running:
            await self._auto_remove(container)

    async def _follow(self, run: Run) -> None:
        delay_s = 0.0
        while True:
            if run.container.state is not State.RESTARTING:
                await self._end_run(run, await self._wait_exit(run.container))
            if run.container.state is not State.RESTARTING:
                return
            delay_s = restart_delay_s(delay_s, ran_for_s=_ran_for_s(run.container))
            await run.restart_pump(self._terminals.streams(run.container))
            with trio.move_on_after(delay_s):
                await run.stop_wanted.wait()
            if not await self._restart(run):
                return

    async def _wait_exit(self, container: Container) -> ExitStatus:
        """Block until the task has exited; an absent containerd is waited for, however long."""
        while True:
            try:
                exit_ = await self._containerd.tasks.wait(container.id)
            except Unavailable:
                await self._containerd.connection.wait_ready()
            except NotFound:
                return ExitStatus(code=UNKNOWN_EXIT_CODE, exited_at_ns=time.time_ns())
            except EngineError as error:
                if not await self._has_task(container):
                    log.error("shim lost", container=container.id, error=str(error))
                    return ExitStatus(code=LOST_SHIM_EXIT_CODE, exited_at_ns=time.time_ns())
                await trio.sleep(0.5)  # containerd is still burying the shim
            else:
                return ExitStatus(code=exit_.code, exited_at_ns=exit_.exited_at_ns)

    async def _has_task(self, container: Container) -> bool:
        try:
            await self._containerd.tasks.get(container.id)
        except NotFound:
            return False
        except EngineError:
            return True  # not known; asked again
        return True

    async def _end_run(self, run: Run, exit_: ExitStatus) -> None:
        """Record an exit and give back what the task held, even when the daemon is stopping."""
        container = run.container
        run.stdio.process_exited()
        with trio.move_on_after(DRAIN_BEFORE_RECORD_S):
            await run.stdio.wait_drained()
        with trio.CancelScope(shield=True), trio.fail_after(CLEANUP_LIMIT_S):
            oom = await self._launcher.was_oom_killed(container)
            async with container.turn("the end of its task"):
                endpoints = container.status.networks
                await self._record_exit(run, exit_, oom_killed=oom)
                # First: who hears of the exit and attaches then, attaches to the next run.
                self._terminals.retire_streams(container)
                container.tell_exited(container.last_exit)
                await self._launcher.clean_up(run, endpoints)
        await run.finish_streams()

    async def _record_exit(self, run: Run, exit_: ExitStatus, *, oom_killed: bool) -> None:
        container, status = run.container, run.container.status
        comes_back = not run.stop_wanted.is_set() and wants_restart(
            container.definition.host_config.restart_policy,
            exit_code=exit_.code,
            restart_count=status.restart_count,
            stopped_by_user=status.stopped_by_user,
        )
        happening = LifeEvent.RESTART_DUE if comes_back else LifeEvent.EXITED
        ran_for_s = max(0, exit_.exited_at_ns - status.started_at_ns) // 10**9
        attributes = {"exitCode": str(exit_.code), "execDuration": str(ran_for_s)}
        await self._journal.set_status(
            container,
            _changed(
                container,
                state=next_state(container.state, happening),
                pid=0,
                exit_code=exit_.code,
                error=exit_.error,
                oom_killed=oom_killed,
                finished_at_ns=exit_.exited_at_ns,
                networks={},
            ),
            container_event(container, "die", attributes, time_ns=exit_.exited_at_ns),
            *network_events(container, status.networks, "disconnect", time_ns=exit_.exited_at_ns),
        )
        log.info("container exited", container=container.id, code=exit_.code, oom=oom_killed)

    async def _restart(self, run: Run) -> bool:
        """One more launch for the restart policy; False when it was called off."""
        container = run.container
        async with container.turn("a restart by its policy"):
            if run.stop_wanted.is_set() or container.state is not State.RESTARTING:
                if container.state is State.RESTARTING:
                    gone = next_state(container.state, LifeEvent.GIVEN_UP)
                    await self._journal.set_status(container, _changed(container, state=gone))
                return False
            count = container.status.restart_count + 1
            now_ns = time.time_ns()  # a launch that fails lasted no time
            again = _changed(
                container, restart_count=count, started_at_ns=now_ns, finished_at_ns=now_ns
            )
            await self._journal.set_status(container, again)
            try:
                await self._launcher.launch(run)
            except EngineError as error:
                log.error("restart failed", container=container.id, error=str(error))
        return True

    async def _stop_with_daemon(
        self, run: Run, request: StopRequest, stop_following: Callable[[], None]
    ) -> None:
        """At the daemon's end the container is stopped, unless it is to outlive us."""
        await request.wait()
        if self._is_live_restore() or run.container.state is State.RESTARTING:
            stop_following()  # what waits for its restart is started again by the next daemon
        else:
            await self._stopper.stop_for_shutdown(run)


def _changed(container: Container, **changes: Any) -> Status:
    return msgspec.structs.replace(container.status, **changes)


def _ran_for_s(container: Container) -> float:
    status = container.status
    return max(0, status.finished_at_ns - status.started_at_ns) / 1e9
