"""Nodes of a cluster in one process, each with an address of loopback; their agents run nothing."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from services.cluster.cluster import Cluster
from services.cluster.control.control import Control
from services.cluster.control.ports import Parts
from services.cluster.dispatcher.values import SessionFacts
from services.cluster.entering import Disk
from services.cluster.life import LifeConfig, ManagerLife
from services.cluster.local_state import LocalFiles
from services.cluster.model.objects import NodeDescription
from services.cluster.requests import InitRequest, JoinRequest, checked_init, checked_join
from services.cluster.work import AgentContext
from services.errors import EngineError
from services.events.model import Event
from supervisor.otp import ChildSpec
from tests.support.ports import free_port


class IdleWork:
    """An agent that keeps a session and does nothing of what it is told."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self.was_cleared = False
        self.is_deaf = False  # then it hears nothing of its managers

    def children(self, context: AgentContext) -> Sequence[ChildSpec]:
        async def agent() -> None:
            while True:
                try:
                    description = NodeDescription(hostname=self._hostname)
                    async with context.source.session(description) as session:
                        while True:
                            message = await session.receive()
                            while self.is_deaf:
                                await trio.sleep(0.05)
                            if isinstance(message, SessionFacts):
                                for listener in context.listeners:
                                    listener(message)
                except EngineError:
                    await trio.sleep(0.05)

        return [ChildSpec(id="agent", start=agent)]

    async def clear(self) -> None:
        self.was_cleared = True


class NoEvents:
    """Nobody listens."""

    async def commit(self, *events: Event) -> None:
        await trio.lowlevel.checkpoint()


class TestNode:
    """One node: `address` is its own of loopback."""

    __test__ = False

    def __init__(self, folder: Path, address: str, port: int) -> None:
        self.address = f"{address}:{port}"
        self.folder = folder
        self.work = IdleWork(f"host-{address}")
        self.lives: list[ManagerLife] = []
        self.cluster = self.made()
        self.scope = trio.CancelScope()
        self.ended = trio.Event()

    def made(self) -> Cluster:
        """The node's part, as a daemon that starts has it."""
        disk = Disk(LocalFiles(self.folder / "swarm"))

        def was_removed() -> None:
            cluster.was_removed()

        config = LifeConfig(
            files=disk.files,
            run_folder=self.folder / "run",
            work=self.work,
            events=NoEvents(),
            on_removed=was_removed,
        )
        cluster = Cluster(config, disk, make_control=self._control)
        return cluster

    def _control(self, life: ManagerLife) -> Control:
        self.lives.append(life)
        return Control(
            Parts(
                store=life.store,
                images=None,  # type: ignore[arg-type]
                local_networks=None,  # type: ignore[arg-type]
                leadership=life.store,
                logs=None,  # type: ignore[arg-type]
            )
        )

    @property
    def life(self) -> ManagerLife:
        """Of a manager, the present one."""
        return self.lives[-1]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """As a daemon does, until `scope` is cancelled."""
        self.ended = trio.Event()
        with trio.CancelScope() as self.scope:
            await self.cluster.run(task_status=task_status)
        self.ended.set()

    async def restart(self, nursery: trio.Nursery) -> None:
        """As a daemon that ends and one that starts."""
        self.scope.cancel()
        await self.ended.wait()
        self.cluster = self.made()
        await nursery.start(self.run)

    async def init(self, **changes: object) -> str:
        """Begin a cluster."""
        request = InitRequest(listen_addr=self.address, advertise_addr=self.address, **changes)  # type: ignore[arg-type]
        return await self.cluster.init(checked_init(request))

    async def join(self, other: TestNode, role: str) -> None:
        """Join another node's cluster."""
        tokens = other.cluster.control().swarm.join_tokens()
        request = JoinRequest(
            listen_addr=self.address,
            advertise_addr=self.address,
            remote_addrs=[other.address],
            join_token=tokens.manager if role == "manager" else tokens.worker,
        )
        await self.cluster.join(checked_join(request))


@asynccontextmanager
async def nodes(count: int, limit_s: float = 280.0) -> AsyncIterator[list[TestNode]]:
    """Nodes that run and are in no cluster yet. All must be over within `limit_s`."""
    folder = Path(tempfile.mkdtemp(prefix="wf", dir="/tmp"))
    port = _free_swarm_port()
    try:
        with trio.fail_after(limit_s):
            async with trio.open_nursery() as nursery:
                made = [
                    TestNode(folder / str(n), f"127.0.0.{n}", port) for n in range(1, count + 1)
                ]
                for node in made:
                    await nursery.start(node.run)
                yield made
                nursery.cancel_scope.cancel()
    finally:
        shutil.rmtree(folder)


def _free_swarm_port() -> int:
    """One whose etcd port is free as well."""
    while True:
        port = free_port()
        with socket.socket() as other:
            try:
                other.bind(("127.0.0.1", port + 5569))
            except OSError:
                continue
            return port
