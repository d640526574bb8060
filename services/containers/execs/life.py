"""The process of one exec: from its launch, or its adoption, to its end.

Each runs as a child of its container's supervisor. A daemon that goes while the container goes on
leaves the process alone, with its pipes: the next one, or this one's next supervisor, takes it up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, Protocol

import trio
from loguru import logger

from services.containerd import Containerd, TaskExit
from services.containers.container import Container
from services.containers.execs.exec import Exec, ExecConfig
from services.containers.execs.kill import ExecKiller
from services.containers.execs.records import exec_folder, remove_exec_record, write_exec_record
from services.containers.execs.table import ExecTable
from services.containers.journal import Journal, container_event
from services.containers.model import State
from services.errors import (
    Conflict,
    DeadlineExceeded,
    EngineError,
    NotFound,
    Unavailable,
    single_error,
)
from services.events import Event
from supervisor.otp import StopRequest, stop_request
from supervisor.otp.channel import Outcome

log = logger.bind(service="containers")

LOST_EXIT_CODE: Final = 137

START_LIMIT_S: Final = 15.0

TURN_LIMIT_S: Final = 60.0
"""How long an exec waits for others that are being started: some hundreds, unless one is stuck."""

UNDO_LIMIT_S: Final = 5.0

CLEAN_UP_AFTER_S: Final = 0.1
"""Who was attached asks for the exit code at once, and most often goes: both come first."""

WATCH_AFTER_S: Final = 0.002
"""The call that starts the process leaves first; no runtime has started and ended one by then."""

DRAIN_BEFORE_RECORD_S: Final = 3.0
"""How long an attached client that does not read can hold the exit code back."""


class ProcessSpecs(Protocol):
    """What an exec needs of the spec builder."""

    async def exec_process(self, container: Container, config: ExecConfig) -> bytes:
        """The OCI process as JSON, its user resolved in the running container."""


class ExecLife:
    """Launches, follows and clears away the processes of execs. `directory` holds their pipes."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        journal: Journal,
        specs: ProcessSpecs,
        table: ExecTable,
        directory: Path,
    ) -> None:
        self._containerd = containerd
        self._journal = journal
        self._specs = specs
        self._table = table
        self._directory = directory
        self._killer = ExecKiller(containerd)

    async def launch(
        self, exec_: Exec, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """One exec under its container's supervisor: started once its process runs."""
        await self._live(exec_, self._launch, task_status)

    async def follow(
        self, exec_: Exec, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """The same for one whose process was started before, by whomever."""
        await self._live(exec_, self._adopt, task_status)

    async def lose(self, exec_: Exec) -> None:
        """Its container has ended while nobody followed it."""
        exec_.is_left = False
        self._set_ended(exec_, LOST_EXIT_CODE)
        await self._close(exec_)

    async def _live(self, exec_: Exec, begin: _Begin, task_status: trio.TaskStatus[None]) -> None:
        request = stop_request()
        exited = Outcome[TaskExit | None]()
        has_ended = False
        exec_.is_left = False
        try:
            with single_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(
                        self._end_with_run, exec_, request, nursery.cancel_scope.cancel
                    )
                    await begin(exec_, nursery, exited)
                    task_status.started()
                    nursery.start_soon(self._kill_unwanted, exec_)
                    await self._see_exit(exec_, exited)
                    has_ended = True
                    await exec_.stdio.wait_drained()
                    nursery.cancel_scope.cancel()
        finally:
            if exec_.is_left:
                exec_.stdio.release()
            elif not exec_.ended.is_set():  # nobody follows it any more, nor will anybody
                self._set_ended(exec_, LOST_EXIT_CODE)
                with trio.CancelScope(shield=True):
                    await self._close(exec_)
        if has_ended:
            try:
                with trio.move_on_after(CLEAN_UP_AFTER_S):
                    await request.wait()
            finally:
                with trio.CancelScope(shield=True):
                    await self._clean_up(exec_)

    async def _see_exit(self, exec_: Exec, exited: Outcome[TaskExit | None]) -> None:
        exit_ = await exited.wait()
        exec_.stdio.process_exited()
        with trio.move_on_after(DRAIN_BEFORE_RECORD_S):
            await exec_.stdio.wait_drained()
        code = LOST_EXIT_CODE if exit_ is None else exit_.code
        # Before what follows from it, such as the health that a probe tells of.
        await self._journal.mention(exec_event(exec_, "exec_die", {"exitCode": str(code)}))
        self._set_ended(exec_, code)

    def _set_ended(self, exec_: Exec, code: int) -> None:
        exec_.exit_code, exec_.is_running = code, False
        self._table.end(exec_)

    async def _end_with_run(
        self, exec_: Exec, request: StopRequest, leave: Callable[[], None]
    ) -> None:
        """The container has ended, and this exec with it; or it goes on without the daemon."""
        await request.wait()
        if exec_.container.state.has_task:
            if exec_.unwanted.is_set() or not exec_.outlives_engine:
                await self._kill(exec_)
            elif exec_.is_running:
                exec_.is_left = True
            leave()

    async def _kill_unwanted(self, exec_: Exec) -> None:
        await exec_.unwanted.wait()
        await self._kill(exec_)

    async def _kill(self, exec_: Exec) -> None:
        await self._killer.kill(exec_.container.id, exec_.id, exec_.pid)

    async def _launch(
        self, exec_: Exec, nursery: trio.Nursery, exited: Outcome[TaskExit | None]
    ) -> None:
        """Start the process; in `nursery` its pump, and who waits for its end into `exited`."""
        container_id, paths = exec_.container.id, exec_.stdio.paths
        # dockerd's order: before the start, never after a quick one's exec_die.
        await self._journal.mention(exec_event(exec_, "exec_start", with_command=True))
        await nursery.start(exec_.stdio.pump)
        if exec_.outlives_engine:
            try:
                write_exec_record(self._folder(exec_), exec_.config)
            except OSError as error:  # it runs all the same
                log.warning("exec not kept for the next daemon", exec=exec_.id, error=str(error))
        process = await self._specs.exec_process(exec_.container, exec_.config)
        tasks = self._containerd.tasks
        try:
            async with _turn(exec_):
                check_execable(exec_.container)  # again: it may have been paused meanwhile
                with _limit(exec_, "did not start the command", START_LIMIT_S):
                    await tasks.exec(
                        container_id,
                        exec_.id,
                        process=process,
                        stdin=paths.stdin,
                        stdout=paths.stdout,
                        stderr=paths.stderr,
                        terminal=exec_.config.tty,
                    )
                    exec_.stdio.process_started()
                    nursery.start_soon(self._watch_soon, exec_, exited)
                    exec_.pid = await tasks.start(container_id, exec_.id)
        except BaseException:
            with trio.move_on_after(UNDO_LIMIT_S, shield=True):
                await self._delete_process(exec_)
            raise
        exec_.is_running = True
        exec_.started.set()

    async def _adopt(
        self, exec_: Exec, nursery: trio.Nursery, exited: Outcome[TaskExit | None]
    ) -> None:
        await nursery.start(exec_.stdio.pump)
        exec_.stdio.process_started()
        nursery.start_soon(self._watch, exec_, exited)
        exec_.started.set()

    async def _watch_soon(self, exec_: Exec, exited: Outcome[TaskExit | None]) -> None:
        """Asked for while the runtime starts it, the end of a short process is told at once."""
        await trio.sleep(WATCH_AFTER_S)
        await self._watch(exec_, exited)

    async def _watch(self, exec_: Exec, exited: Outcome[TaskExit | None]) -> None:
        exited.set(await self._wait_exit(exec_))

    async def _wait_exit(self, exec_: Exec) -> TaskExit | None:
        """None when the exec's end cannot be known any more: its container's task is gone."""
        while True:
            try:
                return await self._containerd.tasks.wait(exec_.container.id, exec_.id)
            except Unavailable:
                await self._containerd.connection.wait_ready()
            except EngineError:
                return None

    async def _clean_up(self, exec_: Exec) -> None:
        await self._delete_process(exec_)
        await self._close(exec_)

    async def _close(self, exec_: Exec) -> None:
        remove_exec_record(self._folder(exec_))
        await exec_.stdio.close()

    def _folder(self, exec_: Exec) -> Path:
        return self._directory / exec_folder(exec_.container.id, exec_.id)

    async def _delete_process(self, exec_: Exec) -> None:
        try:
            await self._containerd.tasks.delete_process(exec_.container.id, exec_.id)
        except NotFound:
            return
        except EngineError as error:
            log.warning("exec not deleted", exec=exec_.id, error=str(error))


def check_execable(container: Container) -> None:
    """Refuse to start anything in a container that does not run, or is frozen. Raises Conflict."""
    container.check_running()
    if container.state is State.PAUSED:
        raise Conflict(f"container {container.id} is paused, unpause the container before exec")


_Begin = Callable[[Exec, trio.Nursery, Outcome[TaskExit | None]], Awaitable[None]]


def exec_event(
    exec_: Exec,
    action: str,
    attributes: dict[str, str] | None = None,
    *,
    with_command: bool = False,
) -> Event:
    """An event about an exec, with dockerd's attributes."""
    if with_command:
        program, *arguments = exec_.config.cmd or [""]
        action = f"{action}: {program} {' '.join(arguments)}"
    return container_event(exec_.container, action, {"execID": exec_.id, **(attributes or {})})


@asynccontextmanager
async def _turn(exec_: Exec) -> AsyncIterator[None]:
    """The right to start an exec in its container, after all that asked for it before."""
    with _limit(exec_, "did not come to start the command", TURN_LIMIT_S):
        await exec_.turns.acquire()
    try:
        yield
    finally:
        exec_.turns.release()


@contextmanager
def _limit(exec_: Exec, what: str, limit_s: float) -> Iterator[None]:
    with trio.move_on_after(limit_s) as limit:
        yield
    if limit.cancelled_caught:
        raise DeadlineExceeded(
            f"container {exec_.container.name} {what} within {limit_s:g} s; its shim may be stuck"
        )
