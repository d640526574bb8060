"""A node's life in one role: the parts that it has then, each a supervised child.

    life (of a manager)        one_for_one
    ├─ certificates            renews the node's own
    ├─ etcd                    the member, started anew when the trusted roots change
    ├─ connection              to it
    ├─ store                   the mirror
    ├─ lock                    rewrites the keys on disk when the unlock key changes
    ├─ dispatcher              sessions of nodes
    ├─ port                    the swarm port
    ├─ presence                tells the other managers that this one is there
    ├─ election                while this node leads: rules, members
    ├─ facts                   what the managers tell the node
    ├─ events                  what changes in the cluster, told as the engine's events
    └─ …                       the agent, the node's networking

    life (of a worker)         certificates, facts, the agent, the node's networking

A life ends when the node leaves or changes its role; the next one has parts of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import trio

from services.cluster.addresses import peer_url, split_host
from services.cluster.ca.admission import Admission, Application, Issued
from services.cluster.ca.credentials import CredentialFiles, Credentials
from services.cluster.ca.data_key import DataKeyFile
from services.cluster.ca.keeper import CredentialKeeper
from services.cluster.ca.rotation import RotationRule
from services.cluster.ca.sealing import ObjectSealer, Sealer
from services.cluster.control.events import ClusterEvents, EventSink
from services.cluster.dispatcher.dispatcher import Dispatcher
from services.cluster.dispatcher.local import LocalSource
from services.cluster.etcd.client import EtcdClient
from services.cluster.facts import FactsKeeper
from services.cluster.leader.election import Election
from services.cluster.leader.rule_loop import Rule, RuleLoop
from services.cluster.local_state import LocalFiles, LocalState
from services.cluster.lock import Lock
from services.cluster.member import EtcdMember
from services.cluster.members import MemberKeeper, Members
from services.cluster.model.objects import NodeState
from services.cluster.orchestrator.rules import leader_rules
from services.cluster.presence import Presence
from services.cluster.rpc.joining import RemoteIssuer
from services.cluster.rpc.remote import RemoteSource
from services.cluster.rpc.remotes import Remotes
from services.cluster.rpc.server import SwarmServer
from services.cluster.rpc.serving import Serving
from services.cluster.store.contract import ClusterStore
from services.cluster.store.store import EtcdStore
from services.cluster.work import AgentContext, NodeWork
from services.errors import EngineError, Forbidden, single_error
from supervisor.otp import Backoff, ChildSpec, Intensity, Restart, Supervisor

PATIENT: Final = Backoff(first_s=0.1, cap_s=5.0)
OFTEN: Final = Intensity(max_restarts=100, window_s=60.0)
LISTEN_BACKLOG: Final = 256
RENEW_AGAIN_S: Final = 1.0
RENEW_AGAIN_MAX_S: Final = 60.0
LED_LIMIT_S: Final = 3.0  # what clients look at right after init is to be as it will stay


class Life(Protocol):
    """What the cluster's owner needs of either."""

    @property
    def state(self) -> LocalState:
        """What this life began with."""

    @property
    def keeper(self) -> CredentialKeeper:
        """The node's credentials."""

    @property
    def facts(self) -> FactsKeeper:
        """What the managers told the node."""

    @property
    def remotes(self) -> Remotes:
        """The managers that it knows."""

    async def run(self, *, task_status: trio.TaskStatus[object] = ...) -> None:
        """Live until cancelled."""

    async def wait_ready(self) -> None:
        """Block until the node takes part in its cluster. No limit."""

    def close(self) -> None:
        """Let go of what is held outside of `run`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeConfig:
    """What every life of a node is made with. `run_folder` does not outlive the machine."""

    files: LocalFiles
    run_folder: Path
    work: NodeWork
    events: EventSink
    on_removed: Callable[[], None]


class WorkerLife:
    """A node that does what it is told by managers on other nodes."""

    def __init__(self, config: LifeConfig, state: LocalState, credentials: Credentials) -> None:
        self.state: Final = state
        self.remotes: Final = Remotes(state.remotes)
        self.keeper: Final = CredentialKeeper(
            credentials,
            CredentialFiles(config.files.certificates),
            issuer=RemoteIssuer(lambda: self.keeper.credentials, self.remotes),
            addresses=lambda: _own_addresses(state),
        )
        self.facts: Final = FactsKeeper(
            state=state, files=config.files, keeper=self.keeper, remotes=self.remotes
        )
        source = RemoteSource(self.keeper, self.remotes, data_path_addr=state.data_path_addr)
        self._children = [
            ChildSpec(id="certificates", start=self.keeper.run, backoff=PATIENT),
            ChildSpec(id="facts", start=self.facts.run, backoff=PATIENT),
            *config.work.children(
                AgentContext(
                    state=state,
                    source=source,
                    listeners=(self.facts.take,),
                    on_removed=config.on_removed,
                )
            ),
        ]

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Live until cancelled."""
        await Supervisor(self._children, name="life", intensity=OFTEN).run(task_status=task_status)

    async def wait_ready(self) -> None:
        """Block until a manager has told the node something. No limit."""
        await self.facts.was_told.wait()

    def close(self) -> None:
        """It holds nothing."""


class ManagerLife:
    """A node that keeps the cluster with the other managers, and works too."""

    def __init__(
        self,
        config: LifeConfig,
        state: LocalState,
        credentials: Credentials,
        *,
        data_key: bytes,
        unlock_key: str = "",
        forces_new: bool = False,
    ) -> None:
        """Raises EngineError when the swarm port cannot be listened on."""
        self.state: Final = state
        self.remotes: Final = Remotes(state.remotes)
        self.data_key: Final = data_key
        self.unlock_key = unlock_key
        self.keeper: Final = CredentialKeeper(
            credentials,
            CredentialFiles(config.files.certificates),
            issuer=_ManagerIssuer(lambda: self, config.on_removed),
            unlock_key=lambda: self.unlock_key,
            addresses=lambda: _own_addresses(state),
        )
        self.member: Final = EtcdMember(
            state,
            config.files,
            self.keeper,
            run_folder=config.run_folder,
            peer_url=peer_url(state.advertise_addr, state.listen_addr),
            forces_new=forces_new,
        )
        self.client: Final = EtcdClient(self.member.socket)
        self.store: Final = EtcdStore(self.client, ObjectSealer(Sealer(data_key)))
        self.dispatcher: Final = Dispatcher(self.store)
        self.admission: Final = Admission(self.store)
        self.election: Final = Election(state.node_id, self.client, self.store, self._lead)
        self.facts: Final = FactsKeeper(
            state=state, files=config.files, keeper=self.keeper, remotes=self.remotes
        )
        self._listener = _listening(state.listen_addr)
        self._children = [*self._keeping(config), *self._working(config)]

    def _keeping(self, config: LifeConfig) -> list[ChildSpec]:
        """What keeps the cluster."""
        serving = Serving(
            store=self.store,
            admission=self.admission,
            dispatcher=self.dispatcher,
            members=Members(self.client, self.store, self.data_key),
        )
        server = SwarmServer(self._listener, self.keeper, serving.handlers())
        lock = Lock(self, DataKeyFile(config.files.folder), self.data_key)
        presence = Presence(self.state.node_id, self.client)
        events = ClusterEvents(self.store, config.events)
        after = self._after_store
        return [
            ChildSpec(id="certificates", start=self.keeper.run, backoff=PATIENT),
            ChildSpec(id="removal", start=self._renew_once_removed, restart=Restart.TRANSIENT),
            ChildSpec(id="etcd", start=self.member.run, backoff=PATIENT, shutdown_s=15.0),
            ChildSpec(id="connection", start=self.client.connection.run, backoff=PATIENT),
            ChildSpec(id="store", start=self.store.run, backoff=PATIENT),
            ChildSpec(id="lock", start=after(lock.run), backoff=PATIENT),
            ChildSpec(id="dispatcher", start=after(self.dispatcher.run), backoff=PATIENT),
            ChildSpec(
                id="port",
                start=after(partial(self._serve, server)),
                restart=Restart.TRANSIENT,
                backoff=PATIENT,
            ),
            ChildSpec(id="presence", start=after(presence.run), backoff=PATIENT),
            ChildSpec(id="election", start=after(self.election.run), backoff=PATIENT),
            ChildSpec(id="facts", start=self.facts.run, backoff=PATIENT),
            ChildSpec(id="events", start=after(events.run), backoff=PATIENT),
        ]

    def _working(self, config: LifeConfig) -> Sequence[ChildSpec]:
        """What a manager does as every node does."""
        source = LocalSource(
            self.dispatcher,
            self.keeper,
            addr=_own_addresses(self.state)[0],
            data_path_addr=self.state.data_path_addr,
        )
        context = AgentContext(
            state=self.state,
            source=source,
            listeners=(self.facts.take,),
            on_removed=config.on_removed,
        )
        return config.work.children(context)

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Live until cancelled."""
        await Supervisor(self._children, name="life", intensity=OFTEN).run(task_status=task_status)

    async def wait_ready(self) -> None:
        """Block until the cluster is known, and serves this node. No limit."""
        await self.wait_cluster()

    async def wait_cluster(self) -> None:
        """Block until the store was read, and the cluster is in it. No limit."""
        await self.store.wait_ready()
        while self.store.snapshot().cluster_object is None:
            await self.store.mirror.moved()

    async def wait_led(self) -> None:
        """Block until there is a leader which hears of this node; LED_LIMIT_S at most."""
        mirror = self.store.mirror
        with trio.move_on_after(LED_LIMIT_S):
            while not (self.store.leader_id and self._is_heard_of()):
                await mirror.moved()

    def _is_heard_of(self) -> bool:
        node = self.store.snapshot().nodes.get(self.state.node_id)
        return node is not None and node.status.state is NodeState.READY

    def close(self) -> None:
        """Free the swarm port."""
        self._listener.close()

    def _after_store(self, run: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
        """Started at once: without a quorum there may be no store for a long time."""

        async def start() -> None:
            await self.wait_cluster()
            await run()

        return start

    async def _serve(self, server: SwarmServer) -> None:
        """Until this manager was taken away: it would go on with what has been overtaken, and tell
        another one that was taken away with it that it still is a manager."""
        if self.member.was_removed.is_set():
            return
        with single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.run)
                await self.member.was_removed.wait()
                self._listener.shutdown(socket.SHUT_RDWR)  # who comes is to ask somebody else now
                nursery.cancel_scope.cancel()

    async def _renew_once_removed(self) -> None:
        """Who is no manager any more may have heard nothing of it before that. Who is asked may not
        have heard either: then it is asked again."""
        await self.member.was_removed.wait()
        again_s = RENEW_AGAIN_S
        while self.keeper.credentials.identity.role == "manager":
            changed = self.keeper.changed
            self.keeper.ask_to_renew()
            await changed.wait()
            await trio.sleep(again_s)
            again_s = min(2 * again_s, RENEW_AGAIN_MAX_S)

    async def _lead(self, store: ClusterStore) -> None:
        """What only the leader does, each a child."""
        loops = [RuleLoop(name, partial(_rule, name), store) for name in _rules()]
        children = [ChildSpec(id=loop.name, start=loop.run, backoff=PATIENT) for loop in loops]
        members = MemberKeeper(self.client, store)
        children.append(ChildSpec(id="members", start=members.run, backoff=PATIENT))
        await Supervisor(children, name="leader", intensity=OFTEN).run()


def _rules() -> Mapping[str, Rule]:
    return {**leader_rules(), "ca": RotationRule()}


def _rule(name: str) -> Rule:
    return _rules()[name]


class _ManagerIssuer:
    """A manager signs for itself: the cluster's key is in the store. One that was taken away from
    the managers knows nothing new, and asks the others what it is now."""

    def __init__(self, life: Callable[[], ManagerLife], on_removed: Callable[[], None]) -> None:
        self._life = life
        self._on_removed = on_removed

    async def renew(self, application: Application) -> Issued:
        """As `Issuer`'s."""
        life = self._life()
        if not life.member.was_removed.is_set():
            return life.admission.renew(life.keeper.credentials.identity, application)
        own = life.state.advertise_addr
        others = Remotes(addr for addr in life.remotes.addresses if addr != own)
        try:
            return await RemoteIssuer(lambda: life.keeper.credentials, others).renew(application)
        except Forbidden:
            self._on_removed()
            raise


def _own_addresses(state: LocalState) -> tuple[str, ...]:
    host, _ = split_host(state.advertise_addr, 0)
    return (host,)


def _listening(address: str) -> socket.socket:
    host, port = split_host(address, 0)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise EngineError(f"listen tcp {address}: bind: {error.strerror}") from error
    return listener
