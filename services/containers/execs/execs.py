"""Execs: further processes in a running container.

They live in memory, as in dockerd; but one that runs when the daemon goes and its container stays
is taken up by the next daemon, which so knows its exit code.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.containerd import Containerd, TaskInfo, TaskStatus
from services.containers import stdio
from services.containers.container import Container
from services.containers.execs.exec import Exec, ExecConfig
from services.containers.execs.life import ExecLife, ProcessSpecs, check_execable, exec_event
from services.containers.execs.records import exec_folder, read_exec_record
from services.containers.execs.table import ExecTable
from services.containers.health.probes import probe_folder
from services.containers.journal import Journal
from services.containers.runs.run import Run, Runs
from services.containers.runs.start_errors import exit_code_of_failed_exec, text_of_failed_start
from services.errors import (
    Conflict,
    DeadlineExceeded,
    EngineError,
    InvalidParameter,
    NotFound,
    Unavailable,
)

log = logger.bind(service="containers")

RESIZE_LIMIT_S: Final = 10.0
"""How long a resize waits for the start (dockerd's figure)."""

ADOPT_LIMIT_S: Final = 5.0


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
        self._directory = directory
        self._execs = ExecTable()
        self._life = ExecLife(
            containerd=containerd,
            journal=journal,
            specs=specs,
            table=self._execs,
            directory=directory,
        )

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
        check_execable(container)
        exec_ = self._new(container, config, secrets.token_hex(32), is_probe=is_probe)
        await self._journal.mention(exec_event(exec_, "exec_create", with_command=True))
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
            await run.start_exec(exec_.id, partial(self._life.launch, exec_))
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
        check_execable(exec_.container)

    async def resize(self, exec_: Exec, *, width: int, height: int) -> None:
        """Tell the exec's terminal its size in characters, once it has one.

        A client asks for this as soon as it has asked for the start.

        Raises:
            Conflict: it has ended, or its container does not run.
            DeadlineExceeded: nobody starts it.
        """
        check_execable(exec_.container)
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

    async def adopt(self, container: Container, exec_id: str) -> bool:
        """Take up an exec of an earlier daemon, running or ended; False if there is none."""
        run = self._runs.get(container)
        folder = self._directory / exec_folder(container.id, exec_id)
        config = await trio.to_thread.run_sync(read_exec_record, folder)
        if run is None or config is None or not container.state.has_task:
            return False
        with trio.move_on_after(ADOPT_LIMIT_S):
            try:
                process = await self._containerd.tasks.get(container.id, exec_id)
                if process.status is TaskStatus.CREATED:  # killed between the two calls of a start
                    await self._containerd.tasks.delete_process(container.id, exec_id)
                    return False
            except EngineError as error:
                log.info("exec not adopted", exec=exec_id, error=str(error))
                return False
            exec_ = self._new(container, config, exec_id)
            exec_.was_started = True
            self._execs.add(exec_)
            if await self._follow(run, exec_, process):
                return True
            self._execs.forget_one(exec_)
        return False

    async def resume(self) -> None:
        """Take up again what was left alone when its container's supervisor ended before it."""
        for exec_ in self._execs.left():
            run = self._runs.get(exec_.container)
            if run is not None and exec_.container.state.has_task:
                await self._follow(run, exec_, None)
            else:
                await self._life.lose(exec_)

    async def _follow(self, run: Run, exec_: Exec, process: TaskInfo | None) -> bool:
        if process is not None:
            exec_.pid = process.pid
            exec_.is_running = process.status is not TaskStatus.STOPPED
        exec_.turns = run.exec_turns
        try:
            await run.start_exec(exec_.id, partial(self._life.follow, exec_))
        except EngineError as error:
            log.warning("exec not followed", exec=exec_.id, error=str(error))
            return False
        return True

    def _new(
        self, container: Container, config: ExecConfig, exec_id: str, *, is_probe: bool = False
    ) -> Exec:
        name_of = probe_folder if is_probe else exec_folder

        async def close_stdin() -> None:
            await self._containerd.tasks.close_io(container.id, exec_id)

        streams = stdio.Stdio(
            directory=self._directory / name_of(container.id, exec_id),
            tty=config.tty,
            stdin=config.attach_stdin,
            stdin_once=True,
            log=None,
            on_stdin_closed=close_stdin,
        )
        return Exec(container, config, streams, exec_id=exec_id)
