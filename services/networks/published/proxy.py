"""The userland proxy, seen from the engine: which ports it carries, and its process.

The kernel leads published ports to containers, but not from IPv6 to IPv4, and not from `[::1]`.
The process is started when the first such port is published. It may end at any time: the sockets
are ours as well, clients wait in their backlog until the next one has taken them over.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import trio
from loguru import logger

from services.errors import EngineError, single_error
from services.networks.helpers.child_end import wait_ended
from services.networks.helpers.process import started
from services.networks.published import proxy_process

log = logger.bind(service="proxy")

ANSWER_LIMIT_S: Final = 5.0
END_LIMIT_S: Final = 0.5
PROGRAM: Final = proxy_process.__path__[0]


class ProxyLost(EngineError):
    """The proxy has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxiedPort:
    """A bound socket, which stays the caller's, and where what comes in by it is carried."""

    bound: socket.socket
    protocol: str  # tcp or udp
    address: str
    port: int

    def message(self, owner: str) -> bytes:
        """What tells the process of it."""
        where = {"address": self.address, "port": self.port}
        return json.dumps({"owner": owner, "protocol": self.protocol, **where}).encode()


class UserlandProxy:
    """The ports by container, in memory first; a process that ends is replaced, and told all."""

    def __init__(self) -> None:
        self._ports: dict[str, tuple[ProxiedPort, ...]] = {}
        self._told: set[str] = set()  # the owners whose ports the present process has
        self._has_news = trio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: trio.socket.SocketType | None = None
        self._turn = trio.Lock()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a process while one is needed, until cancelled.

        Raises:
            ProxyLost: it has ended.
        """
        task_status.started()
        await self._has_news.wait()
        async with _running_process() as (control, process):
            self._process, self._control = process, control
            try:
                with single_error():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._tell_news)
                        await wait_ended(process.pid)
                        nursery.cancel_scope.cancel()
            finally:
                self._control = None
                self._told.clear()
                if self._ports:
                    self._has_news.set()
        raise ProxyLost(f"the userland proxy has ended with status {process.poll()}")

    @property
    def pid(self) -> int:
        """Of the process that carries; 0: there is none now."""
        return self._process.pid if self._process is not None and self._control else 0

    def carried(self) -> dict[str, tuple[ProxiedPort, ...]]:
        """The ports that it has to carry, by container."""
        return dict(self._ports)

    def serve(self, owner: str, ports: Sequence[ProxiedPort]) -> None:
        """Carry what comes in by these ports, soon. An owner that has some is stopped first."""
        if ports:
            self._ports[owner] = tuple(ports)
            self._has_news.set()

    async def stop(self, owner: str) -> None:
        """Carry nothing more for an owner; its ports are free as far as the process had them."""
        async with self._turn:
            self._ports.pop(owner, None)
            if owner in self._told:
                self._told.discard(owner)
                await self._tell(json.dumps({"owner": owner}).encode())

    async def _tell_news(self) -> None:
        """Tell the process of what it does not have yet."""
        self._has_news.set()
        while True:
            await self._has_news.wait()
            self._has_news = trio.Event()
            async with self._turn:
                for owner in [owner for owner in self._ports if owner not in self._told]:
                    self._told.add(owner)
                    for port in self._ports[owner]:
                        await self._tell(port.message(owner), port.bound)

    async def _tell(self, message: bytes, *passed: socket.socket) -> None:
        """One message. A process that does not answer is killed; the next one is told all."""
        if self._control is None:
            return
        with trio.CancelScope(shield=True):  # an answer must not be left to the next message
            try:
                with trio.fail_after(ANSWER_LIMIT_S):
                    await _exchange(self._control, message, passed)
            except (OSError, trio.TooSlowError, trio.ClosedResourceError) as error:
                log.warning("the userland proxy does not answer", error=str(error))
                self._control = None
                if self._process is not None:
                    self._process.kill()


async def _exchange(
    control: trio.socket.SocketType, message: bytes, passed: Sequence[socket.socket]
) -> None:
    rights = b"".join(each.fileno().to_bytes(4, sys.byteorder) for each in passed)
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
    await control.sendmsg([message], ancillary)
    if not await control.recv(16):
        raise OSError("it has ended")


@asynccontextmanager
async def _running_process() -> AsyncIterator[
    tuple[trio.socket.SocketType, subprocess.Popen[bytes]]
]:
    """A process that can be spoken to. After the block it ends with its last connection."""
    process: subprocess.Popen[bytes] | None = None
    try:
        async with started(PROGRAM, socket.SOCK_SEQPACKET) as (control, process):
            yield control, process
    finally:
        if process is not None:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_reap, process)


def _reap(process: subprocess.Popen[bytes]) -> None:
    """One that still carries connections is left to them."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_LIMIT_S)
