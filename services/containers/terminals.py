"""Each container's streams and log: there before its task, and there again for the next one.

A client may attach before the start (`docker run` does): the streams of the coming run exist as
soon as somebody asks for them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import trio

from services.containerd import Containerd
from services.containers import stdio
from services.containers.container import Container
from services.containers.files import container_directory, files_in, remove_tree
from services.containers.log_choice import log_info, log_path, remote_driver
from services.containers.logs import (
    FileLog,
    Format,
    JsonLines,
    LocalRecords,
    LogCounts,
    LogReader,
    Packer,
    buffer_bytes,
    parse_file_options,
    read_attributes,
    refuse_reading,
)
from services.containers.logs.options import JSON_FILE, NONE
from services.containers.logs.remote.options import REMOTE_DRIVERS, is_cached, waiting_bytes
from services.containers.logs.remote.shipping import Shipping
from services.containers.stdio import Keeper, Lanes
from supervisor.otp import stop_request

if TYPE_CHECKING:
    from services.containers.logs.remote.log import RemoteLog


class Terminals:
    """Hands out the streams and the logs of containers.

    Attributes:
        directory: where the FIFOs lie, in a folder for each process.
        log_counts: what all logs together have and lack, those of removed containers too.
        packer: compresses rotated files; to be supervised.
        keeper: holds pipes open while no daemon is there; to be supervised.
        shipping: sends logs elsewhere, where that is their driver; to be supervised.
    """

    def __init__(self, *, containerd: Containerd, data_root: Path, exec_root: Path) -> None:
        self._containerd = containerd
        self._data_root = data_root
        self.directory = exec_root / "io"
        self._streams: dict[str, stdio.Stdio] = {}
        self._logs: dict[str, FileLog] = {}
        self.log_counts = LogCounts()
        self._counts: dict[str, LogCounts] = {}  # by container
        self.packer = Packer()
        self.keeper = Keeper(exec_root / "keeper.sock")
        self.shipping = Shipping(stop_request=stop_request)
        self._lanes = Lanes()
        self._reader_threads = trio.CapacityLimiter(2)

    def streams(self, container: Container) -> stdio.Stdio:
        """The streams of the present run, or of the next one."""
        found = self._streams.get(container.id)
        if found is None:
            found = self._streams[container.id] = self._new_streams(container)
        return found

    def log_reader(self, container: Container) -> LogReader:
        """Reads the container's log.

        Raises:
            NotSupported: its log driver cannot be read.
        """
        log = self.log(container)
        if log is None or (_is_remote(log) and not _is_readable(container)):
            raise refuse_reading()
        return LogReader(
            files=log.files, feed=log.feed, format=log.format, threads=self._reader_threads
        )

    def log(self, container: Container) -> FileLog | None:
        """The container's log, None for the driver `none`."""
        definition = container.definition
        if definition.log_driver == NONE:
            return None
        found = self._logs.get(container.id)
        if found is None:
            found = self._logs[container.id] = self._new_log(container)
        return found

    def counts_of(self, container: Container) -> LogCounts:
        """What the container's log has and lacks, since the daemon started."""
        found = self._counts.get(container.id)
        if found is None:
            found = self._counts[container.id] = LogCounts(self.log_counts)
        return found

    def send_rest(self, container: Container) -> None:
        """The container does not run, and no earlier run of it has anything left to log.

        What its server lacks of its log is sent.
        """
        if container.definition.log_driver in REMOTE_DRIVERS:
            log = self.log(container)
            assert _is_remote(log)
            log.shipper.settle()
            self.shipping.add(log)

    def places(self, container: Container, *, files_of: str) -> dict[str, str]:
        """Where the container's files lie on the host, by Docker's names.

        `files_of` is the id of the container that has the files of its network.
        """
        files = files_in(container_directory(self._data_root, files_of))
        # dockerd keeps quiet of the local driver's files, so that nobody reads them but it.
        is_public = container.definition.log_driver == JSON_FILE
        return {
            "ResolvConfPath": files.resolv_conf,
            "HostnamePath": files.hostname,
            "HostsPath": files.hosts,
            "LogPath": str(self.log_path(container)) if is_public else "",
        }

    def retire_streams(self, container: Container, streams: stdio.Stdio) -> None:
        """The run of `streams` is over; who attaches from now on attaches to the next one."""
        if self._streams.get(container.id) is streams:
            del self._streams[container.id]

    async def drop_streams(self, container: Container, streams: stdio.Stdio) -> None:
        """The run of `streams` did not come about: who is attached to it gets the end."""
        self.retire_streams(container, streams)
        await streams.close()

    async def say_farewell(self, container: Container) -> None:
        """The container's files are about to go: its log's server gets a moment for the rest."""
        log = self._logs.get(container.id)
        if _is_remote(log):
            await self.shipping.let_go(log)

    async def forget(self, container: Container) -> None:
        """The container is gone."""
        streams = self._streams.get(container.id)
        if streams is not None:
            await self.drop_streams(container, streams)
        self._logs.pop(container.id, None)
        self._counts.pop(container.id, None)
        # With what was never logged, such as the start of a spool that a failed launch left.
        remove = partial(remove_tree, self.directory / container.id)
        await trio.to_thread.run_sync(remove, limiter=self._lanes.quiet)

    def log_path(self, container: Container) -> Path:
        """The newest file of its log, whether it is there or not. For any thread."""
        return log_path(container_directory(self._data_root, container.id), container.definition)

    def _format(self, container: Container) -> Format:
        if container.definition.log_driver != JSON_FILE:
            return LocalRecords()
        info = log_info(container.definition, str(self.log_path(container)))
        return JsonLines(read_attributes(info))

    def _new_log(self, container: Container) -> FileLog:
        definition = container.definition
        driver, config = definition.log_driver, definition.log_options
        path, options = self.log_path(container), parse_file_options(driver, config)
        if driver not in REMOTE_DRIVERS:
            return FileLog(
                path,
                options,
                self._format(container),
                counts=self.counts_of(container),
                packing=self.packer.add,
            )
        from services.containers.logs.remote.log import RemoteLog

        buffer = buffer_bytes(config)
        return RemoteLog(
            path,
            options,
            container_id=container.id,
            make_driver=lambda: remote_driver(container.definition),
            waiting_bytes=waiting_bytes(driver, config, buffer),
            blocks=buffer is None,
            counts=self.counts_of(container),
            packing=self.packer.add,
        )

    def _new_streams(self, container: Container) -> stdio.Stdio:
        config = container.definition.config
        log = self.log(container)
        if log is not None:
            log.format = self._format(container)  # its name may be another than in the last run
        if _is_remote(log):
            self.shipping.add(log)

        async def close_stdin() -> None:
            await self._containerd.tasks.close_io(container.id)

        return stdio.Stdio(
            directory=self.directory / container.id,
            tty=config.tty,
            stdin=config.open_stdin,
            stdin_once=config.stdin_once,
            log=log,
            on_stdin_closed=close_stdin,
            lanes=self._lanes,
            keeper=self.keeper,
            # A log that is sent elsewhere has its own way of not waiting: only sending is slow.
            buffer=None if _is_remote(log) else self._buffer(container),
            wait_room=log.shipper.wait_room if _is_remote(log) else None,
        )

    def _buffer(self, container: Container) -> stdio.LogBuffer | None:
        size = buffer_bytes(container.definition.log_options)
        return (
            stdio.LogBuffer(size_bytes=size, counts=self.counts_of(container))
            if size is not None
            else None
        )


def _is_remote(log: FileLog | None) -> TypeGuard[RemoteLog]:
    if log is None or type(log) is FileLog:  # what sends logs is imported where it is wanted
        return False
    from services.containers.logs.remote.log import RemoteLog

    return isinstance(log, RemoteLog)


def _is_readable(container: Container) -> bool:
    return is_cached(container.definition.log_options)
