"""Managers and nodes on loopback, with real TLS and a store in memory."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from services.cluster.ca.admission import Admission, Application, Issued
from services.cluster.ca.authority import Subject, key_pem, new_key, new_request
from services.cluster.ca.credentials import CredentialFiles, Credentials
from services.cluster.ca.issuing import issue, trusted_roots
from services.cluster.ca.keeper import CredentialKeeper
from services.cluster.dispatcher.dispatcher import Dispatcher
from services.cluster.model.objects import Cluster
from services.cluster.model.wire import utc_now
from services.cluster.rpc.door import Door
from services.cluster.rpc.membership import MemberRequest, Membership, StoreMember
from services.cluster.rpc.remotes import Remotes
from services.cluster.rpc.server import SwarmServer
from services.cluster.rpc.serving import Serving
from tests.support.cluster_objects import a_node
from tests.support.memory_store import MemoryStore


def credentials_of(
    cluster: Cluster, node_id: str, role: str, *, cluster_id: str = ""
) -> Credentials:
    """A node's, as the cluster's authority makes them now."""
    key = new_key()
    subject = Subject(node_id=node_id, role=role, cluster_id=cluster_id or cluster.id)
    chain = issue(cluster, new_request(key), subject, utc_now())
    return Credentials(chain=chain, key=key_pem(key), roots=trusted_roots(cluster.root_ca))


class Held:
    """Credentials that do not change."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.changed = trio.Event()


class Members:
    """Lets every manager in."""

    async def admit(self, node_id: str, request: MemberRequest) -> Membership:
        member = StoreMember(name=node_id, peer_url=request.peer_url)
        return Membership(member_id="1", members=(member,), data_key="ab" * 32)


class OwnIssuer:
    """A manager signs for itself."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.keeper: CredentialKeeper | None = None

    async def renew(self, application: Application) -> Issued:
        assert self.keeper is not None
        return self._admission.renew(self.keeper.credentials.identity, application)


@dataclass
class Manager:
    """One that runs: what it is made of, and where it listens."""

    store: MemoryStore
    dispatcher: Dispatcher
    keeper: CredentialKeeper
    address: str

    @property
    def remotes(self) -> Remotes:
        """As a node knows it."""
        return Remotes([self.address])


@asynccontextmanager
async def a_manager(
    store: MemoryStore, folder: Path, node_id: str = "m1", *, door: Door | None = None
) -> AsyncIterator[Manager]:
    """A manager at work on a port of its own."""
    if node_id not in store.snapshot().nodes:
        store.put(a_node(node_id, role="manager"))
    admission, dispatcher = Admission(store), Dispatcher(store)
    issuer = OwnIssuer(admission)
    credentials = credentials_of(store.snapshot().cluster, node_id, "manager")
    keeper = CredentialKeeper(credentials, CredentialFiles(folder), issuer=issuer)
    issuer.keeper = keeper
    serving = Serving(store=store, admission=admission, dispatcher=dispatcher, members=Members())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = SwarmServer(listener, keeper, serving.handlers(), door)
        async with trio.open_nursery() as nursery:
            await nursery.start(dispatcher.run)
            await nursery.start(server.run)
            nursery.start_soon(keeper.run)
            yield Manager(
                store=store,
                dispatcher=dispatcher,
                keeper=keeper,
                address=f"127.0.0.1:{listener.getsockname()[1]}",
            )
            nursery.cancel_scope.cancel()
