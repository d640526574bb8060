"""A node's part in a swarm, for route tests: a manager over a store in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.cluster.control.control import Control
from services.cluster.control.ports import Parts
from services.cluster.dispatcher.values import LogMessage, LogOptions, LogSelector
from services.cluster.errors import IS_A_WORKER, NotManager
from services.cluster.info import Peer, SwarmInfo
from services.cluster.model.objects import Stored
from services.cluster.requests import InitRequest, JoinRequest
from tests.services.cluster.control.fakes import (
    FakeLeadership,
    FakeLocalNetworks,
    FakeRegistry,
)
from tests.services.cluster.objects import id_of, store_of


class FakeLogs:
    """Has written what it has written; remembers who asked for what."""

    def __init__(self, messages: Sequence[LogMessage] = ()) -> None:
        self.messages = list(messages)
        self.asked: list[tuple[LogSelector, LogOptions]] = []

    @asynccontextmanager
    async def subscribe_logs(
        self, selector: LogSelector, options: LogOptions
    ) -> AsyncIterator[AsyncIterator[LogMessage]]:
        self.asked.append((selector, options))
        yield self._messages()

    async def _messages(self) -> AsyncIterator[LogMessage]:
        for message in self.messages:
            yield message


class Manager:
    """A `ClusterFace`. `is_worker`: it cannot look at the cluster."""

    def __init__(self, *objects: Stored, is_worker: bool = False) -> None:
        self.store = store_of(*objects)
        self.logs = FakeLogs()
        self.registry = FakeRegistry()
        self.is_worker = is_worker
        self.is_active = True
        self.calls: list[object] = []
        self._control = Control(
            Parts(
                store=self.store,
                images=self.registry,
                local_networks=FakeLocalNetworks(),
                leadership=FakeLeadership(id_of("m1"), present=[id_of("m1")]),
                logs=self.logs,
            )
        )

    @property
    def role_word(self) -> str:
        return "active/worker" if self.is_worker else "active/manager"

    def control(self) -> Control:
        if self.is_worker:
            raise NotManager(IS_A_WORKER)
        return self._control

    def info(self) -> SwarmInfo:
        return SwarmInfo(
            node_id=id_of("m1"),
            node_addr="10.0.0.1",
            state="active",
            control_available=not self.is_worker,
            remote_managers=(Peer(node_id=id_of("m1"), addr="10.0.0.1:2377"),),
            cluster=None if self.is_worker else self.store.snapshot().cluster,
            nodes=0 if self.is_worker else 2,
            managers=0 if self.is_worker else 2,
        )

    async def init(self, request: InitRequest) -> str:
        self.calls.append(request)
        return id_of("m1")

    async def join(self, request: JoinRequest) -> None:
        self.calls.append(request)

    async def leave(self, *, force: bool) -> None:
        self.calls.append(force)

    async def unlock(self, key: str) -> None:
        self.calls.append(key)
