"""A running container's supervised `task`: launch or adopt, follow, record the exit, clean up.

State follows what was observed: only an exit that containerd reports, or a task that it no longer
knows, ends a run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio
from loguru import logger

from services.containerd import Containerd
from services.containers.container import Container
from services.containers.journal import Journal
from services.containers.labels import backoff_of
from services.containers.lifecycle import LifeEvent, next_state
from services.containers.model import State
from services.containers.runs.ended import record_ended
from services.containers.runs.restart_policy import (
    Backoff,
    jittered_s,
    restart_delay_s,
    wants_restart,
)
from services.containers.runs.run import Run, Runs, Watch
from services.containers.runs.task_exits import TaskExits
from services.containers.terminals import Terminals
from services.errors import EngineError, InvalidParameter
from supervisor.otp import StopRequest, stop_request

log = logger.bind(service="containers")

DRAIN_BEFORE_RECORD_S: Final = 3.0
"""An attached client that does not read must not keep the exit from being recorded; it goes on
getting its output afterwards."""

SIGNAL_BEFORE_RECORD_S: Final = 2.0
"""How long the end waits for the signal that it may have come of to be told of, as dockerd's lock
on the container has it; containerd may be slower to answer the signal than to tell of the exit."""

SLOW_READER_S: Final = 5.0


class Launcher(Protocol):
    """Makes what a task needs of containerd, the network and the file system, and starts it."""

    async def launch(self, run: Run) -> None:
        """From a definition to a started, recorded task; a failure leaves nothing behind."""


class Holdings(Protocol):
    """Gives back what a run has held. Bounded; never fails."""

    async def clean_up(self, container: Container) -> None:
        """Give back all that a task held that has ended. Goes on past a failing step."""

    async def release_ports(self, container: Container) -> None:
        """Let others have the ports and names of a task that has ended."""


class OomKills(Protocol):
    """Sees what the kernel kills in containers' cgroups."""

    async def was_killed(self, container: Container, *, exit_code: int) -> bool:
        """Whether the kernel killed a process of its cgroup for want of memory."""

    def follow(self, container: Container) -> None:
        """See the kernel's kills in a running container's cgroup from now on."""


class Stopper(Protocol):
    """Ends a running container as `docker stop` does."""

    async def stop_for_shutdown(self, run: Run) -> None:
        """Signal, wait the container's own grace, kill. Not remembered as the user's wish."""


class HealthWatch(Protocol):
    """Probes the containers that have a health check."""

    def watch_of(self, container: Container) -> Watch | None:
        """What probes this one, if anything does."""


class GroupLife(Protocol):
    """What a failure means for the group of a container; nothing for one that is in none."""

    async def take_down(self, failed: Container, is_called_off: Callable[[], bool]) -> bool:
        """Stop those that stop with it, before it restarts; False: it is not to restart."""

    def bring_up(self, container: Container) -> None:
        """It runs again: start those that were stopped for it."""


class Lives:
    """The life of each container under this daemon, from its launch or adoption to its end.

    `outlives` is asked when a container's part is stopped: whether the container goes on without
    us, as it does unless the daemon itself is ending (and then with live-restore). `chance` is a
    number from 0 to 1, for the jitter of restarts.
    """

    def __init__(
        self,
        *,
        containerd: Containerd,
        journal: Journal,
        launcher: Launcher,
        holdings: Holdings,
        oom_kills: OomKills,
        stopper: Stopper,
        runs: Runs,
        health: HealthWatch,
        groups: GroupLife,
        terminals: Terminals,
        auto_remove: Callable[[Container], Awaitable[None]],
        outlives: Callable[[], bool],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._exits = TaskExits(containerd)
        self._journal = journal
        self._launcher = launcher
        self._holdings = holdings
        self._oom_kills = oom_kills
        self._stopper = stopper
        self._runs = runs
        self._health = health
        self._groups = groups
        self._terminals = terminals
        self._auto_remove = auto_remove
        self._outlives = outlives
        self._chance = chance

    async def begin(self, container: Container) -> None:
        """Supervise a container: launch it unless it runs; return once it does.

        Raises:
            EngineError: it could not be started; who is attached to it is told the end.
        """
        streams = self._terminals.streams(container)
        try:
            watch = self._health.watch_of(container)
            await self._runs.start(container, streams, self.live, watch)
        except BaseException:
            # What runs keeps its pipes: whoever adopts it next goes on reading from them.
            if not container.is_running:
                with trio.CancelScope(shield=True):
                    await self._terminals.drop_streams(container, streams)
            raise

    async def live(self, run: Run, task_status: trio.TaskStatus[None]) -> None:
        """Launch the container unless it runs, then follow it until it is not to run any more.

        Run again after a failure it goes on where it was; it never launches a second task.
        """
        container = run.container
        if not run.was_launched and not container.is_running:
            if container.status.restart_count:  # counted anew from each start by hand
                await self._journal.change_status(container, restart_count=0)
            await self._launcher.launch(run)
        self._oom_kills.follow(container)
        run.was_launched = True
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                self._stop_with_daemon, run, stop_request(), nursery.cancel_scope.cancel
            )
            await self._follow(run)
            nursery.cancel_scope.cancel()
        if container.definition.host_config.auto_remove and not container.is_running:
            await self._remove(container)

    async def _follow(self, run: Run) -> None:
        container, delay_s = run.container, 0.0
        backoff = _backoff_of(container)
        while True:
            if container.state.has_task:
                await self._see_exit(run)
            if not run.is_cleaned_up:
                await self._end_run(run)
            if container.state is not State.RESTARTING:
                return
            if not await self._groups.take_down(container, run.stop_wanted.is_set):
                async with container.turn("the end of its group"):
                    await self._give_up(container)
                return
            delay_s = restart_delay_s(delay_s, ran_for_s=_ran_for_s(container), backoff=backoff)
            with trio.move_on_after(jittered_s(delay_s, backoff=backoff, chance=self._chance())):
                await run.stop_wanted.wait()
            await self._restart(run)
            if container.state.has_task:
                self._groups.bring_up(container)

    async def _remove(self, container: Container) -> None:
        """For --rm. Who removes it at the same time has it removed as well."""
        try:
            await self._auto_remove(container)
        except EngineError as error:
            log.error("container not removed", container=container.id, error=str(error))

    async def _see_exit(self, run: Run) -> None:
        """Wait for the exit and record it, even when the daemon is stopping."""
        container = run.container
        exit_ = await self._exits.wait(run)
        run.stdio.process_exited()
        with trio.move_on_after(DRAIN_BEFORE_RECORD_S):
            await run.stdio.wait_drained()
        with trio.move_on_after(SIGNAL_BEFORE_RECORD_S):
            await container.wait_signals_told()
        with trio.CancelScope(shield=True):
            oom = await self._oom_kills.was_killed(container, exit_code=exit_.code)
            async with container.turn("the end of its task"):
                run.holds = True
                # Whoever hears of the end may start another one with the same ports.
                await self._holdings.release_ports(container)
                comes_back = not run.stop_wanted.is_set() and self._wants_restart(
                    container, exit_.code
                )
                await record_ended(
                    self._journal, container, exit_, comes_back=comes_back, oom_killed=oom
                )
                # Who attaches from now on attaches to the next run.
                self._terminals.retire_streams(container, run.stdio)
                container.tell_exited(container.last_exit)
                await self._clean_up(run)

    async def _end_run(self, run: Run) -> None:
        """Give back what is left of a run whose exit is recorded, or of a launch that failed."""
        container = run.container
        with trio.CancelScope(shield=True):
            await self._clean_up(run)
        run.stdio.process_exited()
        if container.state is State.RESTARTING:
            # A client that does not read must not keep its container from coming back.
            with trio.move_on_after(SLOW_READER_S):
                await run.stdio.wait_drained()
            run.cut_streams()
        await run.finish_streams()
        self._terminals.retire_streams(container, run.stdio)
        run.is_cleaned_up = True

    async def _clean_up(self, run: Run) -> None:
        if run.holds:
            await self._holdings.clean_up(run.container)
            run.holds = False

    async def _restart(self, run: Run) -> None:
        """One more launch for the restart policy, unless it was called off."""
        container = run.container
        async with container.turn("a restart by its policy"):
            if run.stop_wanted.is_set() or container.state is not State.RESTARTING:
                await self._give_up(container)
                return
            await run.renew_streams(self._terminals.streams(container))
            now_ns = time.time_ns()  # a launch that fails lasted no time
            await self._journal.change_status(
                container, started_at_ns=now_ns, finished_at_ns=now_ns
            )
            try:
                await self._launcher.launch(run)
            except EngineError as error:
                log.error("restart failed", container=container.id, error=str(error))
                if self._wants_restart(container, container.status.exit_code):
                    count = container.status.restart_count + 1
                    await self._journal.change_status(container, restart_count=count)
                else:
                    await self._give_up(container)

    def _wants_restart(self, container: Container, exit_code: int) -> bool:
        return wants_restart(
            container.definition.host_config.restart_policy,
            exit_code=container.status.failure_code(exit_code),
            restart_count=container.status.restart_count,
            stopped_by_user=container.status.stopped_by_user,
        )

    async def _give_up(self, container: Container) -> None:
        if container.state is State.RESTARTING:
            gone = next_state(container.state, LifeEvent.GIVEN_UP)
            await self._journal.change_status(container, state=gone)
            container.tell_exited(container.last_exit)

    async def _stop_with_daemon(
        self, run: Run, request: StopRequest, stop_following: Callable[[], None]
    ) -> None:
        """At the daemon's end the container is stopped, unless it is to outlive us."""
        await request.wait()
        if self._outlives() or run.container.state is State.RESTARTING:
            stop_following()  # what waits for its restart is started again by the next daemon
        else:
            await self._stopper.stop_for_shutdown(run)


def _backoff_of(container: Container) -> Backoff:
    """As the labels say; they were checked at the create, perhaps by an engine with other rules."""
    try:
        return backoff_of(container.definition.config.labels)
    except InvalidParameter as error:
        log.warning("label passed over", container=container.id, error=str(error))
        return Backoff()


def _ran_for_s(container: Container) -> float:
    status = container.status
    return max(0, status.finished_at_ns - status.started_at_ns) / 1e9
