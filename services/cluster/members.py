"""Who is a member of etcd: managers are, and nobody else. Followed by the leader.

A manager that joins is a learner first; it votes once it has caught up. One that is demoted or
removed is taken away while it can still be asked: a quorum must not need who is about to go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio
from loguru import logger
from msgspec.structs import replace

from services.cluster.etcd.client import EtcdClient
from services.cluster.etcd.errors import UNKNOWN_OUTCOME
from services.cluster.etcd.values import Member
from services.cluster.model.objects import ManagerMember, Node
from services.cluster.model.snapshot import Put, Snapshot, Transaction
from services.cluster.model.wire import utc_now
from services.cluster.rpc.membership import MemberRequest, Membership, StoreMember
from services.cluster.store.contract import ClusterStore, OutOfSequence
from services.errors import Conflict, EngineError, Forbidden, NotFound, Unavailable

ADMIT_ATTEMPTS: Final = 5
LOOK_S: Final = 5.0
LOOK_LEARNING_S: Final = 0.1
JOIN_LIMIT_S: Final = 60.0  # a member that was added and has not started by then is taken away

log = logger.bind(service="cluster.members")


class Members:
    """A manager's `MemberAdmission`: any manager can take another one in."""

    def __init__(self, client: EtcdClient, store: ClusterStore, data_key: bytes) -> None:
        self._client = client
        self._store = store
        self._data_key = data_key
        self._one_at_a_time = trio.Lock()

    async def admit(self, node_id: str, request: MemberRequest) -> Membership:
        """As `MemberAdmission`'s."""
        async with self._one_at_a_time:
            member, members = await self._added(request.peer_url)
            place = ManagerMember(addr=request.addr, member_id=f"{member.id:x}")
            await self._note(node_id, place)
            cluster = self._store.snapshot().cluster
            return Membership(
                member_id=place.member_id,
                members=tuple(_peers(members, node_id, member.id)),
                data_key=self._data_key.hex(),
                unlock_key=cluster.unlock_key,
            )

    async def _added(self, peer_url: str) -> tuple[Member, Sequence[Member]]:
        members = await self._client.members()
        for member in members:
            if peer_url in member.peer_urls:
                return member, members
        try:
            return await self._client.add_learner(peer_url)
        except Conflict as error:
            # Only one may be learning at a time.
            raise Unavailable(f"another manager is joining, try again: {error}") from error

    async def _note(self, node_id: str, place: ManagerMember) -> None:
        for _ in range(ADMIT_ATTEMPTS):
            node = self._store.snapshot().nodes.get(node_id)
            if node is None:
                raise Forbidden("the node was removed from the swarm")
            if node.manager == place:
                return
            try:
                await self._store.commit(
                    Transaction((Put(replace(node, manager=place, updated_at=utc_now())),))
                )
            except OutOfSequence:
                continue
            return
        raise Unavailable("the node changes faster than it can be made a manager")


class MemberKeeper:
    """A child of the leader: promotes learners, takes away who is no manager any more."""

    def __init__(self, client: EtcdClient, store: ClusterStore) -> None:
        self._client = client
        self._store = store
        self._learning_since: dict[int, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            revision = self._store.snapshot().revision
            is_learning = False
            try:
                is_learning = await self._look()
            except (*UNKNOWN_OUTCOME, Conflict, NotFound) as error:
                log.bind(error=str(error)).debug("members were not looked after")
                is_learning = True
            with trio.move_on_after(LOOK_LEARNING_S if is_learning else LOOK_S):
                await self._store.changed_since(revision)

    async def _look(self) -> bool:
        """Whether somebody is still learning."""
        snapshot = self._store.snapshot()
        members = await self._client.members()
        for member in unwanted(snapshot, members):
            await self._remove(member)
        await self._forget_places(snapshot)
        learners = [member for member in members if member.is_learner]
        for member in learners:
            await self._promote(member)
        self._learning_since = {
            member.id: self._learning_since.get(member.id, trio.current_time())
            for member in learners
        }
        return bool(learners)

    async def _remove(self, member: Member) -> None:
        log.bind(member=f"{member.id:x}", name=member.name).info("a manager is taken away")
        await self._client.remove(member.id)

    async def _promote(self, member: Member) -> None:
        since = self._learning_since.get(member.id, trio.current_time())
        if not member.name and trio.current_time() - since > JOIN_LIMIT_S:
            await self._remove(member)
            return
        try:
            await self._client.promote(member.id)
        except (Conflict, *UNKNOWN_OUTCOME):
            return  # it has not caught up
        log.bind(member=f"{member.id:x}", name=member.name).info("a manager votes from now on")

    async def _forget_places(self, snapshot: Snapshot) -> None:
        """Nodes that are to be workers are no managers in the records either."""
        for node in snapshot.nodes.values():
            if node.manager is None or node.spec.role == "manager":
                continue
            changed: Node = replace(node, manager=None, updated_at=utc_now())
            try:
                await self._store.commit(Transaction((Put(changed),)))
            except EngineError as error:
                log.bind(node=node.id, error=str(error)).debug("a former manager is still noted")


def unwanted(snapshot: Snapshot, members: Sequence[Member]) -> list[Member]:
    """Members that belong to no node which is to be a manager.

    A member whose node has no place in the records yet is just being admitted: it is let be.
    """
    found = []
    for member in members:
        id = f"{member.id:x}"
        if member.name:
            node = snapshot.nodes.get(member.name)
        else:
            node = next(
                (n for n in snapshot.nodes.values() if n.manager and n.manager.member_id == id),
                None,
            )
            if node is None:
                continue
        if node is None or node.spec.role != "manager":
            found.append(member)
    return found


def _peers(members: Sequence[Member], node_id: str, member_id: int) -> list[StoreMember]:
    """For a new member's first start: who was added and has never started has no name yet."""
    peers = []
    for member in members:
        name = node_id if member.id == member_id else member.name
        if name:
            peers.append(StoreMember(name=name, peer_url=member.peer_urls[0]))
    return peers
