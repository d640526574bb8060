"""One process's standard streams: FIFOs, the pump that empties them, and those attached."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.containers.stdio import fifos
from services.containers.stdio.buffered import BufferedSpool
from services.containers.stdio.fifos import StdioPaths
from services.containers.stdio.hub import AttachedStreams, Hub
from services.containers.stdio.lanes import Lanes
from services.containers.stdio.means import LogBuffer, PipeKeeper
from services.containers.stdio.source import Source
from services.containers.stdio.spool import BLOCK_BYTES, LogWriter, Spool, Taken
from services.containers.stdio.stdin import Stdin
from services.containers.stdio.streams import Stream

log = logger.bind(service="stdio")

# How long after a process's end another holder of its output may still be heard. Source: dockerd
# waits as long for the streams in its handling of an exit.
LINGER_S: Final = 2.0
_CLEANUP_S: Final = 10.0
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_PROMPT_STEPS: Final = 4
_PROMPT_S: Final = 0.01
_GATHER_S: Final = 0.005
_FULL_PAUSE_S: Final = 0.5  # the process waits meanwhile, as if nobody read its output


def gathers(taken_bytes: int, prompt_steps: int, *, is_crowded: bool) -> bool:
    """Whether the next step waits for a moment, for more than a little to come.

    Shims write what they read, often 4 KB: a step for each costs more than all else. The pipe has
    room for what comes meanwhile, so the process does not wait. Of one that has just begun nobody
    knows yet whether it goes on: its next line may be an answer that somebody waits for. But where
    others queue for their steps, that one would wait longer for its turn.
    """
    return taken_bytes < BLOCK_BYTES and (is_crowded or prompt_steps >= _PROMPT_STEPS)


class Stdio:
    """The standard streams of one run of a container, or of one exec. Outlives its pump's crashes.

    With a log, output passes through a `Spool` in `directory` (keep it on tmpfs: exec-root), so
    that a kill -9 loses and repeats nothing there; `prepare` adopts what an earlier daemon left.
    Without one it goes to the attached only. Nobody attached and no log: it is read and dropped.
    Share `lanes` among containers, or their threads fight for the interpreter; they take turns,
    256 KB each. `keeper` is told of the pipes of a process that has a log: what they hold when the
    process ends while we are dead is there for the next daemon. With a `buffer` the process
    does not wait for the log.
    """

    def __init__(
        self,
        *,
        directory: Path,
        tty: bool,
        stdin: bool,
        log: LogWriter | None,
        stdin_once: bool = False,
        on_stdin_closed: Callable[[], Awaitable[object]] | None = None,
        lanes: Lanes | None = None,
        keeper: PipeKeeper | None = None,
        buffer: LogBuffer | None = None,
        wait_room: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`wait_room` holds the process up while its log has no room for more."""
        self._directory = directory
        self._sources = [
            Source(directory, stream)
            for stream in ((Stream.STDOUT,) if tty else (Stream.STDOUT, Stream.STDERR))
        ]
        self._stdin = Stdin(once=stdin_once, on_closed=on_stdin_closed) if stdin else None
        self._log = log
        self._spool = None if log is None else self._make_spool(log, buffer)
        self._wait_log_room = wait_room
        self._hub = Hub()
        self._lanes = lanes or Lanes()
        self._keeper = keeper if self._spool is not None else None
        # One call of the spool at a time; and the attached are told in the order of the log.
        self._turn = trio.Lock()
        self._gathered = trio.Event()  # there is more for the log of the non-blocking mode
        self._exited_at = math.inf  # on trio's clock
        self._drained = trio.Event()
        self._closed = False

    def _make_spool(self, log: LogWriter, buffer: LogBuffer | None) -> Spool:
        streams = [source.stream for source in self._sources]
        if buffer is None:
            return Spool(directory=self._directory, streams=streams, log=log)
        return BufferedSpool(
            directory=self._directory,
            streams=streams,
            log=log,
            buffer_bytes=buffer.size_bytes,
            counts=buffer.counts,
        )

    @property
    def paths(self) -> StdioPaths:
        """What the task is to be created with."""
        present = {source.stream for source in self._sources}
        if self._stdin is not None:
            present.add(Stream.STDIN)
        stdin, stdout, stderr = (
            str(fifos.fifo_path(self._directory, stream)) if stream in present else ""
            for stream in Stream
        )
        return StdioPaths(stdin=stdin, stdout=stdout, stderr=stderr)

    async def prepare(self) -> None:
        """Make or adopt the FIFOs, open our ends. Before the task is created; idempotent."""
        if self._spool is None:
            self._open()  # pipes on tmpfs: 0.1 ms, less than a thread takes to be asked
        else:
            await trio.to_thread.run_sync(self._open, limiter=self._lanes.quiet)
        if self._keeper is not None and any(source.fd >= 0 for source in self._sources):
            self._keeper.hold(self._directory.name, [source.path for source in self._sources])
        if self._stdin is not None:
            self._stdin.opened.set()

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Within the block a process that goes is not the end of its streams: another may come.

        After `prepare`.
        """
        with ExitStack() as held:
            for source in self._sources:
                held.enter_context(source.held_open())
            yield

    def process_started(self) -> None:
        """The task was created (or adopted): its shim has the FIFOs; stdin may be closed."""
        if self._stdin is not None:
            self._stdin.process_started()

    def process_exited(self) -> None:
        """The process is gone: take what it wrote, and others' output for LINGER_S at most."""
        self._exited_at = min(self._exited_at, trio.current_time())
        for source in self._sources:
            source.waiting.deadline = self._exited_at + LINGER_S
            source.held.cancel()
            source.notice_absent_writer()

    @property
    def drained(self) -> bool:
        """Was all output logged and handed to the attached?"""
        return self._drained.is_set()

    async def wait_drained(self) -> None:
        """Block until all output was logged and handed to the attached (who may still hold it)."""
        await self._drained.wait()

    async def pump(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move output until both streams ended. May be cancelled, may fail, and be run again."""
        await self.prepare()
        if self._log is not None and not self._drained.is_set():
            self._log.announce()  # a run is under way, also while it is silent
        async with trio.open_nursery() as nursery:
            if self._stdin is not None:
                nursery.start_soon(self._stdin.run_closer)
            if isinstance(self._spool, BufferedSpool):
                nursery.start_soon(self._log_along, self._spool)
            task_status.started()
            async with trio.open_nursery() as sources:
                for source in self._sources:
                    sources.start_soon(self._move, source)
            nursery.cancel_scope.cancel()
        await self._end()

    @asynccontextmanager
    async def attach(
        self, *, stdout: bool, stderr: bool, stdin: bool, after_log: bool = False
    ) -> AsyncIterator[AttachedStreams]:
        """Join from this moment: every later block of the streams asked for will be received.

        The log's last announcement covers all earlier blocks and no later one, except for lines
        that are not finished: `after_log` is for who reads that first, and begins with those.
        """
        wanted = [
            stream for stream, asked in ((Stream.STDOUT, stdout), (Stream.STDERR, stderr)) if asked
        ]
        session = self._hub.join(wanted, self._stdin if stdin else None)
        if after_log and self._spool is not None:
            for stream in wanted:
                session.put(stream, self._spool.unfinished(stream))
        try:
            yield session
        finally:
            self._hub.leave(session)

    def release(self) -> None:
        """Close our ends and leave everything on disk, for a later daemon to adopt.

        The pump must not be running. For a shutdown that leaves the process alive (live-restore).
        """
        self._hub.end()
        self._close_fds()

    async def close(self) -> None:
        """End the attached and remove the FIFOs; also the spool, if all of it was logged.

        The pump must not be running. Bounded; safe to repeat.
        """
        if self._log is not None and not self._drained.is_set():
            self._log.announce(ended=True)
        self.release()
        self._let_go()
        if not self._closed:
            self._closed = True
            if self._spool is None:
                self._remove()
                return
            with trio.move_on_after(_CLEANUP_S, shield=True):
                await trio.to_thread.run_sync(self._remove, abandon_on_cancel=True)

    def _open(self) -> None:
        if self._closed or self._drained.is_set():
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for source in self._sources:
            source.open()
            if self._exited_at < math.inf:
                source.notice_absent_writer()
        if self._stdin is not None:
            path = fifos.fifo_path(self._directory, Stream.STDIN)
            fifos.make_fifo(path)
            self._stdin.open(path)
        if self._spool is not None:
            self._spool.open()

    async def _move(self, source: Source) -> None:
        while not source.ended:
            await self._wait_room(source)
            await self._wait_log(source)
            in_time = await self._wait_data(source)
            async with self._turn:
                taken = await self._take(source)
                # Up to the next await is one step, for the attached and the readers of the log.
                if self._log is not None and not isinstance(self._spool, BufferedSpool):
                    self._log.announce()
                if taken.block:
                    self._hub.offer(source.stream, taken.block)
            if not in_time:
                source.late_bytes += len(taken.block)
            source.ended = taken.ended or not (
                in_time or (taken.block and source.late_bytes < fifos.PIPE_BYTES)
            )
            if gathers(len(taken.block), source.prompt, is_crowded=self._lanes.is_crowded):
                await trio.sleep(_GATHER_S)

    async def _wait_room(self, source: Source) -> None:
        """Wait for slow attached sessions. A process that has exited does not lose time by it."""
        before = trio.current_time()
        await self._hub.wait_room(source.stream)
        source.held_s += max(0.0, trio.current_time() - max(before, self._exited_at))

    async def _wait_log(self, source: Source) -> None:
        """What a process that has exited leaves is little, and is not waited for."""
        if self._wait_log_room is not None and self._exited_at == math.inf:
            with trio.CancelScope() as source.held:
                await self._wait_log_room()

    async def _wait_data(self, source: Source) -> bool:
        """Wait for something to read, or the end. False: the time for that is over."""
        if self._spool is not None and self._spool.holds(source.stream):
            await trio.lowlevel.checkpoint()
            return True
        deadline = self._exited_at + LINGER_S + source.held_s
        began = trio.current_time()
        with trio.CancelScope(deadline=deadline) as source.waiting:
            await trio.lowlevel.wait_readable(source.fd)
        is_prompt = trio.current_time() - began < _PROMPT_S
        source.prompt = source.prompt + 1 if is_prompt else 0
        return not source.waiting.cancelled_caught

    async def _take(self, source: Source) -> Taken:
        if self._spool is None:
            try:
                block = os.read(source.fd, BLOCK_BYTES)
            except BlockingIOError:
                return Taken(b"", False)
            return Taken(block, not block)
        if isinstance(self._spool, BufferedSpool):
            taken = self._spool.gather(source.stream, source.fd)
            self._gathered.set()
            return taken
        lane = self._lanes.for_fifo(source.fd)
        try:
            return await trio.to_thread.run_sync(
                self._spool.take, source.stream, source.fd, limiter=lane
            )
        except OSError as error:
            if error.errno not in _FULL:
                raise
            log.warning("no room for container output", directory=str(self._directory))
            await trio.sleep(_FULL_PAUSE_S)
            return Taken(b"", False)

    async def _log_along(self, spool: BufferedSpool) -> None:
        """Bring the log after the spool, however long its disk takes."""
        assert self._log is not None
        while True:
            self._gathered = trio.Event()
            more = True
            while more:
                more = await trio.to_thread.run_sync(spool.log_some, limiter=self._lanes.bulk)
                spool.told()
                self._log.announce()
            await self._gathered.wait()

    async def _end(self) -> None:
        """After both streams' last byte: log unfinished lines, then tell everybody."""
        if self._drained.is_set():
            return
        self._hub.end()  # the attached need not wait for the log's files to be closed
        if self._spool is not None:
            await trio.to_thread.run_sync(self._finish, self._spool, limiter=self._lanes.quiet)
        if self._log is not None:
            self._log.announce(ended=True)
        self._close_fds()
        self._let_go()
        self._drained.set()

    def _finish(self, spool: Spool) -> None:
        for source in self._sources:
            spool.finish(source.stream)
        spool.close(remove=True)

    def _close_fds(self) -> None:
        for source in self._sources:
            source.close()
        if self._stdin is not None:
            self._stdin.close()

    def _let_go(self) -> None:
        if self._keeper is not None:
            self._keeper.drop(self._directory.name)

    def _remove(self) -> None:
        if self._spool is not None:
            self._spool.close(remove=False)
        fifos.remove_fifos(self._directory)
        try:
            self._directory.rmdir()
        except OSError:  # someone else's files, or a spool that a later `prepare` will adopt
            log.debug("stdio directory kept", directory=str(self._directory))
