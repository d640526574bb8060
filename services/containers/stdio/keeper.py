"""Who holds containers' pipes open while the engine is dead.

A pipe keeps what was written to it as long as somebody has it open. While a process runs its shim
does; a process that ends while no engine is there would take with it what its pipes held. So the
read ends are also given to a small process of its own (`keeper_process`), which outlives us. The
next engine connects to it and opens the same pipes, and what they hold is read like the rest.

Its own death costs no more than that: it is made anew, and given all pipes again.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.containers.stdio import keeper_process

log = logger.bind(service="stdio")

_BACKLOG: Final = 4
_SOCKET_MODE: Final = 0o600
_NOBODY: Final = frozenset({errno.ECONNREFUSED, errno.ENOENT})


class KeeperLost(Exception):
    """The keeper's process has ended; another one is needed."""


class Keeper:
    """Our side of it. `run` is supervised; the other methods are for the loop and never block.

    What cannot be said at once, for the keeper is busy or away, is said as soon as it can be.
    """

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._held: dict[str, Sequence[Path]] = {}
        self._unsaid: dict[str, None] = {}
        self._some_unsaid = trio.Event()

    def hold(self, name: str, fifos: Sequence[Path]) -> None:
        """Have these read ends held, under a name of fewer than 500 bytes; nothing if they are."""
        if name not in self._held:
            self._held[name] = fifos
            self._say_soon(name)

    def drop(self, name: str) -> None:
        """They are not needed any more. Nothing if they are not held."""
        if self._held.pop(name, None) is not None:
            self._say_soon(name)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect to the keeper that is there, or to a new one; tell it everything; see its end.

        Raises:
            KeeperLost: it has ended.
        """
        with ExitStack() as stack:
            connection = await trio.to_thread.run_sync(self._connect)
            stack.callback(self._disconnect, connection)
            self._socket = connection
            self._unsaid = dict.fromkeys(self._held)
            self._say_what_can_be()
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._say_the_rest, connection)
                await trio.lowlevel.wait_readable(connection)
                nursery.cancel_scope.cancel()
        raise KeeperLost("the process that holds containers' pipes has ended")

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            try:
                connection.connect(str(self._path))
            except OSError as error:
                if error.errno not in _NOBODY:
                    raise
                self._start_process()
                connection.connect(str(self._path))
            connection.setblocking(False)
        except BaseException:
            connection.close()
            raise
        return connection

    def _start_process(self) -> None:
        if self._process is not None:
            self._process.poll()  # or it stays a zombie
        self._path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(self._path))
            self._path.chmod(_SOCKET_MODE)
            listener.listen(_BACKLOG)
            fd = listener.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper_process.__file__, str(fd), str(self._path)],
                pass_fds=(fd,),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # what ends us must not end it
            )
        log.info("keeper of pipes started", pid=self._process.pid)

    def _disconnect(self, connection: socket.socket) -> None:
        self._socket = None
        trio.lowlevel.notify_closing(connection)
        connection.close()

    def _say_soon(self, name: str) -> None:
        self._unsaid[name] = None
        self._say_what_can_be()

    def _say_what_can_be(self) -> None:
        while self._unsaid and self._socket is not None:
            name = next(iter(self._unsaid))
            try:
                self._say(self._socket, name)
            except BlockingIOError:
                self._some_unsaid.set()
                return
            except OSError as error:  # it is gone, and `run` will see it
                log.debug("keeper not told", error=str(error))
                return
            del self._unsaid[name]

    async def _say_the_rest(self, connection: socket.socket) -> None:
        while True:
            await self._some_unsaid.wait()
            self._some_unsaid = trio.Event()
            await trio.lowlevel.wait_writable(connection)
            self._say_what_can_be()

    def _say(self, connection: socket.socket, name: str) -> None:
        fifos = self._held.get(name, ())
        fds: list[int] = []
        try:
            for fifo in fifos:
                with suppress(FileNotFoundError):  # removed under us: nobody will read it
                    fds.append(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            message = f"{'hold' if fds else 'drop'} {name}".encode()
            if fds:
                socket.send_fds(connection, [message], fds)
            else:
                connection.send(message)
        finally:
            for fd in fds:
                os.close(fd)
