"""Execs: further processes in a running container.

As in dockerd they live in memory: an exec that the daemon did not see to its end is unknown to the
next daemon.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, Protocol

import trio
from loguru import logger

from services.containerd import Containerd, TaskExit
from services.containers.container import Container
from services.containers.exec import Exec, ExecConfig
from services.containers.exec_kill import ExecKiller
from services.containers.exec_table import ExecTable
from services.containers.journal import Journal, container_event
from services.containers.model import State
from services.containers.probes import probe_folder
from services.containers.run import Runs
from services.containers.start_errors import exit_code_of_failed_exec, text_of_failed_start
from services.containers.stdio import Stdio
from services.errors import (
    Conflict,
    DeadlineExceeded,
    EngineError,
    InvalidParameter,
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
RESIZE_LIMIT_S: Final = 10.0
"""How long a resize waits for the start (dockerd's figure)."""

TURN_LIMIT_S: Final = 60.0
"""How long an exec waits for others that are being started: some hundreds, unless one is stuck."""

UNDO_LIMIT_S: Final = 5.0

CLEAN_UP_AFTER_S: Final = 0.1
"""Who was attached asks for the exit code at once, and most often goes: both come first."""

DRAIN_BEFORE_RECORD_S: Final = 3.0
"""How long an attached client that does not read can hold the exit code back."""


class ProcessSpecs(Protocol):
    """What an exec needs of the spec builder."""

    async def exec_process(self, container: Container, config: ExecConfig) -> bytes:
        """The OCI process as JSON, its user resolved in the running container."""


class Execs:
    """All execs, by id."""

    def __init__(
        self,
        *,
        containerd: Containerd,
        journal: Journal,
        runs: Runs,
        specs: ProcessSpecs,
        directory: Path,
    ) -> None:
        self._containerd = containerd
        self._journal = journal
        self._runs = runs
        self._specs = specs
        self._directory = directory
        self._execs = ExecTable()
        self._killer = ExecKiller(containerd)

    def find(self, exec_id: str) -> Exec:
        """The exec with this id.

        Raises:
            NotFound: there is none, or its container is gone.
        """
        return self._execs.find(exec_id)

    def of(self, container: Container) -> Iterator[Exec]:
        """The execs of one container that have not ended."""
        return self._execs.unended(container)

    async def create(
        self, container: Container, config: ExecConfig, *, is_probe: bool = False
    ) -> Exec:
        """Prepare an exec; nothing runs yet. Source: Engine API, POST /containers/{id}/exec.

        A probe's folder is named so that the next engine can find and kill it, see `probes`.

        Raises:
            Conflict: the container does not run, or is paused.
            InvalidParameter: there is no command.
        """
        if not config.cmd:
            raise InvalidParameter("No exec command specified")
        _check_running(container)
        exec_ = self._new(container, config, is_probe=is_probe)
        await self._journal.mention(self._event(exec_, "exec_create", with_command=True))
        self._execs.add(exec_)
        return exec_

    async def start(self, exec_: Exec) -> None:
        """Run a prepared exec; return once its process has started.

        Raises:
            Conflict: it was started before, or the container does not run.
            InvalidParameter: the runtime could not start the command; `exit_code` tells why.
        """
        self.check_startable(exec_)
        run = self._runs.get(exec_.container)
        if run is None:
            raise Conflict(f"container {exec_.container.id} is not running")
        exec_.was_started = True
        try:
            exec_.turns = run.exec_turns
            await run.start_exec(exec_.id, lambda **started: self._live(exec_, **started))
        except EngineError as error:
            exec_.exit_code = exit_code_of_failed_exec(str(error))
            exec_.started.set()
            self._execs.end(exec_)
            await exec_.stdio.close()
            if isinstance(error, NotFound):  # containerd has seen the container's end before us
                raise Conflict(f"container {exec_.container.id} is not running") from error
            if isinstance(error, (Conflict, DeadlineExceeded, Unavailable)):
                raise
            raise InvalidParameter(text_of_failed_start(str(error), "exec")) from error

    def check_startable(self, exec_: Exec) -> None:
        """Refuse what `start` would refuse. Raises Conflict."""
        if exec_.was_started:
            state = "has already run" if exec_.ended.is_set() else "is already running"
            raise Conflict(f"exec command {exec_.id} {state}")
        _check_running(exec_.container)

    async def resize(self, exec_: Exec, *, width: int, height: int) -> None:
        """Tell the exec's terminal its size in characters, once it has one.

        A client asks for this as soon as it has asked for the start.

        Raises:
            Conflict: it has ended, or its container does not run.
            DeadlineExceeded: nobody starts it.
        """
        _check_running(exec_.container)
        with trio.move_on_after(RESIZE_LIMIT_S) as limit:
            await exec_.started.wait()
        if limit.cancelled_caught:
            raise DeadlineExceeded("timeout waiting for exec session ready")
        if not exec_.is_running:
            raise Conflict(f"exec process {exec_.id} is not running")
        await self._containerd.tasks.resize_pty(
            exec_.container.id, exec_.id, width=width, height=height
        )

    def forget(self, container: Container) -> None:
        """The container is gone."""
        self._execs.forget(container)

    def forget_one(self, exec_: Exec) -> None:
        """Nobody will ask for this one any more."""
        self._execs.forget_one(exec_)

    async def _live(
        self, exec_: Exec, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """One exec under its container's supervisor: started once its process runs."""
        request = stop_request()
        exited = Outcome[TaskExit | None]()
        has_ended = False
        try:
            with single_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(
                        self._end_with_run, exec_, request, nursery.cancel_scope.cancel
                    )
                    await self._launch(exec_, nursery, exited)
                    task_status.started()
                    nursery.start_soon(self._kill_unwanted, exec_)
                    await self._see_exit(exec_, exited)
                    has_ended = True
                    await exec_.stdio.wait_drained()
                    nursery.cancel_scope.cancel()
        finally:
            if not exec_.ended.is_set():  # nobody follows it any more, nor will the next daemon
                self._set_ended(exec_, LOST_EXIT_CODE)
                with trio.CancelScope(shield=True):
                    await exec_.stdio.close()
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
        await self._journal.mention(self._event(exec_, "exec_die", {"exitCode": str(code)}))
        self._set_ended(exec_, code)

    def _set_ended(self, exec_: Exec, code: int) -> None:
        exec_.exit_code, exec_.is_running = code, False
        self._execs.end(exec_)

    async def _end_with_run(
        self, exec_: Exec, request: StopRequest, leave: Callable[[], None]
    ) -> None:
        """The container has ended, and this exec with it; or it goes on without the daemon."""
        await request.wait()
        if exec_.container.state.has_task:
            if exec_.unwanted.is_set() or not exec_.outlives_engine:
                await self._kill(exec_)
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

        async def watch() -> None:
            exited.set(await self._wait_exit(exec_))

        container_id, paths = exec_.container.id, exec_.stdio.paths
        # dockerd's order: before the start, never after a quick one's exec_die.
        await self._journal.mention(self._event(exec_, "exec_start", with_command=True))
        await nursery.start(exec_.stdio.pump)
        process = await self._specs.exec_process(exec_.container, exec_.config)
        tasks = self._containerd.tasks
        try:
            async with _turn(exec_):
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
                    # Asked for early, the end of a short process is told at once.
                    nursery.start_soon(watch)
                    exec_.pid = await tasks.start(container_id, exec_.id)
        except BaseException:
            with trio.move_on_after(UNDO_LIMIT_S, shield=True):
                await self._delete_process(exec_)
            raise
        exec_.is_running = True
        exec_.started.set()

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
        await exec_.stdio.close()

    async def _delete_process(self, exec_: Exec) -> None:
        try:
            await self._containerd.tasks.delete_process(exec_.container.id, exec_.id)
        except NotFound:
            return
        except EngineError as error:
            log.warning("exec not deleted", exec=exec_.id, error=str(error))

    def _new(self, container: Container, config: ExecConfig, *, is_probe: bool) -> Exec:
        exec_id = secrets.token_hex(32)
        folder = probe_folder(container.id, exec_id) if is_probe else secrets.token_hex(8)

        async def close_stdin() -> None:
            await self._containerd.tasks.close_io(container.id, exec_id)

        stdio = Stdio(
            directory=self._directory / folder,
            tty=config.tty,
            stdin=config.attach_stdin,
            stdin_once=True,
            log=None,
            on_stdin_closed=close_stdin,
        )
        return Exec(container, config, stdio, exec_id=exec_id)

    def _event(
        self,
        exec_: Exec,
        action: str,
        attributes: dict[str, str] | None = None,
        *,
        with_command: bool = False,
    ) -> Event:
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


def _check_running(container: Container) -> None:
    container.check_running()
    if container.state is State.PAUSED:
        raise Conflict(f"container {container.id} is paused, unpause the container before exec")
