"""Ways into a cluster: a new one made, a present one joined, the managers' circle entered."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial

import trio
from msgspec.structs import replace

from services.cluster.addresses import (
    Addresses,
    address_towards,
    decide,
    peer_url,
    present_addresses,
    split_host,
)
from services.cluster.bootstrap import NewCluster, new_cluster, taken_over
from services.cluster.ca.credentials import CredentialFiles, Credentials
from services.cluster.ca.data_key import DataKeyFile
from services.cluster.life import Life, LifeConfig, ManagerLife, WorkerLife
from services.cluster.local_state import LocalFiles, LocalState
from services.cluster.model.objects import ManagerMember
from services.cluster.model.wire import utc_now
from services.cluster.requests import InitRequest, JoinRequest
from services.cluster.rpc.joining import become_member, join_cluster
from services.cluster.rpc.membership import MemberRequest, Membership
from services.cluster.rpc.remotes import Remotes
from services.errors import EngineError


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A manager's. `unlock_key` is "" unless managers lock themselves."""

    data_key: bytes
    unlock_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """What a node has when it is part of a cluster. `keys` is None for a worker."""

    state: LocalState
    credentials: Credentials
    keys: Keys | None


class Disk:
    """All that a node has on disk of its cluster, written and forgotten together."""

    def __init__(self, files: LocalFiles) -> None:
        self.files = files
        self._credentials = CredentialFiles(files.certificates)
        self._data_key = DataKeyFile(files.folder)

    async def load(self) -> LocalState | None:
        """None for a node that is in no cluster; what a crash has left of an attempt is gone."""
        state = await trio.to_thread.run_sync(self.files.load)
        if state is None:
            await self.wipe()
        return state

    async def is_locked(self, state: LocalState) -> bool:
        """Whether `entered` needs the unlock key."""
        if not state.is_manager:
            return False
        return await trio.to_thread.run_sync(
            lambda: self._data_key.is_locked or self._credentials.is_locked
        )

    async def entered(self, state: LocalState, unlock_key: str = "") -> Entered | None:
        """Everything; None if the certificate is missing. Raises InvalidParameter for a wrong key.

        A manager whose certificate is a worker's by now is one that crashed on its way.
        """
        credentials = await trio.to_thread.run_sync(self._credentials.load, unlock_key)
        if credentials is None:
            return None
        if not state.is_manager:
            return Entered(state=state, credentials=credentials, keys=None)
        if credentials.identity.role != "manager":
            state = await self.save_worker(state)
            return Entered(state=state, credentials=credentials, keys=None)
        data_key = await trio.to_thread.run_sync(self._data_key.load, unlock_key)
        keys = Keys(data_key=data_key, unlock_key=unlock_key)
        return Entered(state=state, credentials=credentials, keys=keys)

    async def save_keys(self, credentials: Credentials, keys: Keys | None) -> None:
        """All but the state, which says that all is there."""
        await trio.to_thread.run_sync(self._save_keys, credentials, keys)

    async def save(self, state: LocalState) -> None:
        """The node is part of its cluster from now on, also after a crash."""
        await trio.to_thread.run_sync(self.files.save, state)

    async def save_worker(self, state: LocalState) -> LocalState:
        """What a node is that is no manager any more; what only a manager has goes."""
        remotes = tuple(addr for addr in state.remotes if addr != state.advertise_addr)
        state = replace(state, is_manager=False, members={}, remotes=remotes)

        def forget() -> None:
            self.files.save(state)
            self.files.wipe_member()
            self._data_key.wipe()

        await trio.to_thread.run_sync(forget)
        return state

    async def save_manager(self, entered: Entered) -> None:
        """What a worker is from now on. Of a member that it may have been once nothing stays."""

        def save() -> None:
            self.files.wipe_member()
            self._save_keys(entered.credentials, entered.keys)
            self.files.save(entered.state)

        await trio.to_thread.run_sync(save)

    async def wipe(self) -> None:
        """Forget everything."""
        await trio.to_thread.run_sync(self.files.wipe)

    def _save_keys(self, credentials: Credentials, keys: Keys | None) -> None:
        self._credentials.save(credentials, keys.unlock_key if keys else "")
        if keys is not None:
            self._data_key.save(keys.data_key, keys.unlock_key)


def life_of(config: LifeConfig, entered: Entered, *, forces_new: bool = False) -> Life:
    """The life of a node in its role.

    Raises:
        EngineError: it cannot be lived here.
    """
    if entered.keys is None:
        return WorkerLife(config, entered.state, entered.credentials)
    return ManagerLife(
        config,
        entered.state,
        entered.credentials,
        data_key=entered.keys.data_key,
        unlock_key=entered.keys.unlock_key,
        forces_new=forces_new,
    )


async def decided_addresses(request: InitRequest | JoinRequest, towards: str = "") -> Addresses:
    """By what was asked for and what the host has. Raises EngineError."""

    def look() -> Addresses:
        remote = address_towards(split_host(towards, 0)[0]) if towards else ""
        return decide(
            listen=request.listen_addr,
            advertise=request.advertise_addr,
            data_path=request.data_path_addr,
            present=present_addresses(),
            towards=remote,
        )

    return await trio.to_thread.run_sync(look)


def check_etcd() -> None:
    """Raises EngineError where there is none: a manager cannot be without."""
    if shutil.which("etcd") is None:
        raise EngineError("etcd is not installed, which managers need (Debian: etcd-server)")


async def founded(request: InitRequest) -> tuple[NewCluster, LocalState]:
    """A new cluster of this node; nothing of it is anywhere yet. Raises EngineError."""
    check_etcd()
    addresses = await decided_addresses(request)
    make = partial(
        new_cluster,
        request.spec,
        now=utc_now(),
        address=split_host(addresses.advertise, 0)[0],
        advertise_addr=addresses.advertise,
        data_path_addr=addresses.data_path,
        availability=request.availability or "active",
        default_address_pool=request.default_addr_pool,
        subnet_size=request.subnet_size,
        data_path_port=request.data_path_port,
    )
    new = await trio.to_thread.run_sync(make)
    return new, LocalState(
        node_id=new.node.id,
        cluster_id=new.cluster.id,
        listen_addr=addresses.listen,
        advertise_addr=addresses.advertise,
        data_path_addr=addresses.data_path,
        remotes=(addresses.advertise,),
        is_manager=True,
    )


async def joined(request: JoinRequest) -> Entered:
    """A node of a cluster that there is; nothing is on disk yet. No limit.

    Raises what `join_cluster` and `become_member` raise.
    """
    addresses = await decided_addresses(request, towards=request.remote_addrs[0])
    remotes = Remotes(request.remote_addrs)
    credentials = await join_cluster(
        request.join_token,
        remotes,
        availability=request.availability or "active",
        addresses=(split_host(addresses.advertise, 0)[0],),
    )
    identity = credentials.identity
    state = LocalState(
        node_id=identity.node_id,
        cluster_id=identity.cluster_id,
        listen_addr=addresses.listen,
        advertise_addr=addresses.advertise,
        data_path_addr=addresses.data_path,
        remotes=remotes.addresses,
    )
    if identity.role == "manager":
        return await taken_in(state, credentials, remotes)
    return Entered(state=state, credentials=credentials, keys=None)


async def taken_in(state: LocalState, credentials: Credentials, remotes: Remotes) -> Entered:
    """A node with a manager's certificate among the managers. Raises EngineError."""
    check_etcd()
    place = MemberRequest(
        peer_url=peer_url(state.advertise_addr, state.listen_addr), addr=state.advertise_addr
    )
    membership: Membership = await become_member(credentials, remotes, place)
    members = {member.name: member.peer_url for member in membership.members}
    return Entered(
        state=replace(state, is_manager=True, members=members),
        credentials=credentials,
        keys=Keys(data_key=bytes.fromhex(membership.data_key), unlock_key=membership.unlock_key),
    )


async def write_takeover(life: ManagerLife) -> None:
    """In the cluster that one manager has made anew of what it has, the others are workers."""
    member_id = (await life.client.status()).member_id
    place = ManagerMember(addr=life.state.advertise_addr, member_id=f"{member_id:x}")
    snapshot = life.store.snapshot()
    nodes = list(snapshot.nodes.values())
    await life.store.commit(
        *taken_over(snapshot.cluster, nodes, life.state.node_id, place, utc_now())
    )
