"""The supervised `health` of one running container: probes it in its time, and tells of changes.

Health is kept in memory. An engine that finds a container running begins anew at `starting`, as
dockerd does; what had ended before is shown as unhealthy without results.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio
from loguru import logger

from services.containerd import TaskInfo, TaskStatus
from services.containers.container import Container
from services.containers.execs.exec import Exec, ExecConfig
from services.containers.health.rules import (
    PROBE_FAILED,
    Health,
    HealthCheck,
    HealthStatus,
    OutputHead,
    ProbeResult,
    after_probe,
    begun,
    health_check_of,
    next_probe_s,
    timeout_text,
    unwatched,
)
from services.containers.journal import container_event
from services.containers.labels import ends_unhealthy
from services.containers.model import State
from services.containers.runs.restart_policy import wants_restart
from services.containers.runs.run import Watch
from services.errors import EngineError, InvalidParameter, NotFound, single_error
from services.events import Event
from services.measures import Counts

if TYPE_CHECKING:
    from services.containers.stdio import AttachedStreams

log = logger.bind(service="containers")

KILLED_END_S: Final = 10.0
"""How long the end of a killed probe is waited for before its result is recorded."""

LAST_OUTPUT_S: Final = 1.0

FATE_S: Final = 0.5
"""A probe that was killed by somebody may have been so by its container's end, which is heard of
within this time."""

KILLED_EXIT_CODE: Final = 137


class Execs(Protocol):
    """Runs the probes: they are execs like others, with dockerd's events."""

    async def create(
        self, container: Container, config: ExecConfig, *, is_probe: bool = False
    ) -> Exec:
        """Prepare one. A probe is known to the next engine, should this one be killed."""

    async def start(self, exec_: Exec) -> None:
        """Return once its process has started."""

    def forget_one(self, exec_: Exec) -> None:
        """Its end was seen, and nobody else will ask for it."""


class Tasks(Protocol):
    """Knows whether a container's task still runs."""

    async def get(self, id: str) -> TaskInfo:
        """Raises NotFound when there is none."""


class Containerd(Protocol):
    """What the probes need of containerd."""

    @property
    def tasks(self) -> Tasks:
        """Its tasks."""


class Journal(Protocol):
    """Where events go."""

    async def tell(self, *events: Event) -> None:
        """Publish them."""

    async def change_status(self, container: Container, *events: Event, **changes: Any) -> None:
        """Replace some fields of the status, on disk and then in memory."""


class HealthWatcher:
    """Watches over containers.

    `end` stops a container that is to be started again, with its own signal and grace.
    `wall_clock_ns` is the time since the epoch.
    """

    def __init__(
        self,
        *,
        containerd: Containerd,
        journal: Journal,
        execs: Execs,
        end: Callable[[Container], Awaitable[None]],
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.probes: Final = Counts()  # "ok" and "failed"
        self._containerd = containerd
        self._end = end
        self._journal = journal
        self._execs = execs
        self._wall_clock_ns = wall_clock_ns

    def watch_of(self, container: Container) -> Watch | None:
        """What probes this container, None when it has no health check."""
        check = health_check_of(container.definition.config)
        return None if check is None else partial(self._watch, check)

    async def _watch(self, check: HealthCheck, container: Container) -> None:
        """Probe while it runs and is not paused; each start of it begins anew."""
        while True:
            while container.state is not State.RUNNING:
                await container.wait_changed()
            run_at_ns = container.status.started_at_ns
            if container.health is None or container.health.run_at_ns != run_at_ns:
                container.set_health(begun(container.health, run_at_ns=run_at_ns))
            try:
                await _while_running(container, run_at_ns, partial(self._probe_on, check))
            finally:
                # Paused and ended ones are unhealthy to clients of dockerd, without an event.
                if not _is_running(container, run_at_ns):
                    container.set_health(unwatched(_health(container)))

    async def _probe_on(self, check: HealthCheck, container: Container) -> None:
        """Probe one run of a container, until cancelled."""
        if container.status.failed_health:  # an earlier engine was killed as it ended it
            await self._end_if_wanted(container)
        now_ns, run_at_ns = self._wall_clock_ns(), container.status.started_at_ns
        # From here on by a clock that nobody sets.
        started = trio.current_time() - max(0, now_ns - run_at_ns) / 1e9
        while True:
            running_for_s = trio.current_time() - started
            await trio.sleep(next_probe_s(_health(container), check, running_for_s=running_for_s))
            probed_after_s = trio.current_time() - started
            probe = _Probe(self._execs, container, check, self._wall_clock_ns)
            try:
                result = await probe.run()
                if result.exit_code and await self._has_ended(container, result):
                    await trio.sleep_forever()  # its end, which was not recorded yet, ends this
                await self._take(container, check, result, probed_after_s)
                if _health(container).status is HealthStatus.UNHEALTHY:
                    await self._end_if_wanted(container)
                await probe.wait_ended()
            finally:
                probe.abandon()

    async def _has_ended(self, container: Container, result: ProbeResult) -> bool:
        """A probe that died with its container says nothing of the container's health."""
        if result.exit_code == KILLED_EXIT_CODE:
            await trio.sleep(FATE_S)
        try:
            task = await self._containerd.tasks.get(container.id)
        except NotFound:
            return True
        except EngineError:
            return False
        return task.status is TaskStatus.STOPPED

    async def _take(
        self, container: Container, check: HealthCheck, result: ProbeResult, probed_after_s: float
    ) -> None:
        before = _health(container)
        self.probes.add("ok" if result.exit_code == 0 else "failed")
        health = after_probe(before, check, result, probed_after_s=probed_after_s)
        container.set_health(health)
        if health.status is not before.status:
            log.info("health changed", container=container.id, status=health.status.value)
            event = container_event(container, f"health_status: {health.status.value}")
            await self._journal.tell(event)

    async def _end_if_wanted(self, container: Container) -> None:
        """End a container whose label says so, if its restart policy is to start it again.

        What it ends with then counts as a failure; that is on disk before it is asked to end.
        """
        definition, status = container.definition, container.status
        if not _ends_unhealthy(definition.config.labels) or not wants_restart(
            definition.host_config.restart_policy,
            exit_code=1,
            restart_count=status.restart_count,
            stopped_by_user=status.stopped_by_user,
        ):
            return
        log.warning("unhealthy container is ended", container=container.id)
        await self._journal.change_status(container, failed_health=True)
        await self._end(container)


def _ends_unhealthy(labels: Mapping[str, str]) -> bool:
    """Checked at the create, but perhaps by an engine with other rules."""
    with suppress(InvalidParameter):
        return ends_unhealthy(labels)
    return False


class _Probe:
    """One run of a check's command in a container."""

    def __init__(
        self,
        execs: Execs,
        container: Container,
        check: HealthCheck,
        wall_clock_ns: Callable[[], int],
    ) -> None:
        self._execs = execs
        self._container = container
        self._check = check
        self._wall_clock_ns = wall_clock_ns
        self._exec: Exec | None = None
        self._was_started = False

    async def run(self) -> ProbeResult:
        """Its result, whatever happens to it."""
        started_at_ns = self._wall_clock_ns()
        try:
            exit_code, output = await self._run_exec()
        except EngineError as error:
            log.warning("health check not run", container=self._container.id, error=str(error))
            exit_code, output = PROBE_FAILED, str(error)
        return ProbeResult(
            started_at_ns=started_at_ns,
            ended_at_ns=self._wall_clock_ns(),
            exit_code=exit_code,
            output=output,
        )

    async def wait_ended(self) -> None:
        """Until its process is gone: those that cannot be killed must not pile up."""
        if self._exec is not None and self._was_started:
            await self._exec.ended.wait()

    def abandon(self) -> None:
        """Nobody waits for it any more: have it killed if it has not ended."""
        if self._exec is not None:
            if not self._exec.ended.is_set():
                self._exec.unwanted.set()
            self._execs.forget_one(self._exec)

    async def _run_exec(self) -> tuple[int, str]:
        config = ExecConfig(attach_stdout=True, attach_stderr=True, cmd=list(self._check.command))
        exec_ = self._exec = await self._execs.create(self._container, config, is_probe=True)
        exec_.outlives_engine = False  # the next engine would not know whose it is
        head = OutputHead()
        has_ended = False
        async with exec_.stdio.attach(stdin=False, stdout=True, stderr=True) as streams:
            with single_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_keep_head, streams, head)
                    # Starting has a limit of its own; cut off in the middle, nobody would know
                    # whether the process runs.
                    with trio.CancelScope(shield=True):
                        await self._execs.start(exec_)
                    self._was_started = True
                    has_ended = await self._wait_end(exec_)
                    nursery.cancel_scope.deadline = trio.current_time() + LAST_OUTPUT_S
        if has_ended:
            return exec_.exit_code or 0, head.text
        return PROBE_FAILED, timeout_text(self._check.timeout_ns, head.text)

    async def _wait_end(self, exec_: Exec) -> bool:
        """Whether it ended within its time; if not it was killed."""
        with trio.move_on_after(self._check.timeout_s):
            await exec_.ended.wait()
            return True
        exec_.unwanted.set()
        with trio.move_on_after(KILLED_END_S):
            await exec_.ended.wait()
        return False


async def _keep_head(streams: AttachedStreams, head: OutputHead) -> None:
    while True:
        try:
            _, block = await streams.receive()
        except trio.EndOfChannel:
            return
        head.add(block)


async def _while_running(
    container: Container, run_at_ns: int, work: Callable[[Container], Awaitable[None]]
) -> None:
    """Do `work` and cancel it when this run of the container ends or is paused."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, container)
        while _is_running(container, run_at_ns):
            await container.wait_changed()
        nursery.cancel_scope.cancel()


def _is_running(container: Container, run_at_ns: int) -> bool:
    return container.state is State.RUNNING and container.status.started_at_ns == run_at_ns


def _health(container: Container) -> Health:
    assert container.health is not None
    return container.health
