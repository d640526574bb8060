"""A client of our own member: keys, transactions, leases, members. See `watch` for changes.

Each call is one attempt, which fails at once when the member knows no leader; who may try again
does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, assert_never

from protos.generated.etcdserverpb import (
    Compare,
    CompareCompareResult,
    CompareCompareTarget,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
    MemberAddRequest,
    MemberListRequest,
    MemberPromoteRequest,
    MemberRemoveRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    StatusRequest,
    TxnRequest,
)
from protos.generated.etcdserverpb import Member as MemberMessage
from protos.generated.mvccpb import KeyValue as KeyValueMessage
from services.errors import Unavailable
from services.grpc.connection import Connection, Peer
from services.grpc.link import Link
from services.grpc.stream import Stream

from .errors import LeaseGone, etcd_errors
from .methods import (
    GRANT,
    KEEP_ALIVE,
    MEMBER_ADD,
    MEMBER_LIST,
    MEMBER_PROMOTE,
    MEMBER_REMOVE,
    RANGE,
    REVOKE,
    STATUS,
    TXN,
)
from .values import (
    Condition,
    Created,
    Exists,
    KeyValue,
    Member,
    Modified,
    NotSince,
    Outcome,
    Page,
    PutKey,
    Status,
    Write,
)

PAGE_KEYS: Final = 1000  # a page of tasks is a few megabytes at most
_NEEDS_LEADER: Final = (("hasleader", "true"),)


class EtcdClient:
    """Calls to the member whose socket is `socket`. `connection.run` is a supervised child."""

    def __init__(self, socket: Path) -> None:
        self.connection: Final = Connection(
            Peer(
                name="etcd",
                target=socket,
                errors=etcd_errors,
                greet=_greet,
                metadata=lambda: _NEEDS_LEADER,
            )
        )

    async def page(
        self, first: str, end: str, *, revision: int = 0, is_linearizable: bool = True
    ) -> Page:
        """Keys from `first` up to `end`, PAGE_KEYS at most; of the present, or of `revision`."""
        reply = await self.connection.unary(
            RANGE,
            RangeRequest(
                key=first.encode(),
                range_end=end.encode(),
                limit=PAGE_KEYS,
                revision=revision,
                serializable=not is_linearizable,
            ),
            first,
        )
        assert reply.header is not None
        keys = [to_key_value(message) for message in reply.kvs]
        return Page(
            revision=revision or reply.header.revision,
            keys=keys,
            next_key=keys[-1].key + "\0" if reply.more else "",
        )

    async def transact(self, conditions: Iterable[Condition], writes: Iterable[Write]) -> Outcome:
        """Make all writes if all conditions hold, in one step. No key may be written twice.

        Raises one of UNKNOWN_OUTCOME when it may have been made and may not.
        """
        conditions = tuple(conditions)
        reply = await self.connection.unary(
            TXN,
            TxnRequest(
                compare=[_compare(condition) for condition in conditions],
                success=[_write(write) for write in writes],
                failure=[
                    RequestOp(request_range=RangeRequest(key=key.encode()))
                    for key in sorted({condition.key for condition in conditions})
                ],
            ),
        )
        assert reply.header is not None
        if reply.succeeded:
            return Outcome(is_done=True, revision=reply.header.revision)
        found = [
            to_key_value(message)
            for answer in reply.responses
            if answer.response_range is not None
            for message in answer.response_range.kvs
        ]
        return Outcome(is_done=False, revision=reply.header.revision, found=found)

    async def grant(self, ttl_s: int) -> int:
        """A new lease, which ends after so long without a sign of life."""
        return (await self.connection.unary(GRANT, LeaseGrantRequest(ttl=ttl_s))).id

    async def revoke(self, lease: int) -> None:
        """End a lease now, and its keys. Raises LeaseGone."""
        await self.connection.unary(REVOKE, LeaseRevokeRequest(id=lease))

    @asynccontextmanager
    async def keeper(self) -> AsyncIterator[LeaseKeeper]:
        """Within the block leases can be kept alive; for one task."""
        async with self.connection.stream(KEEP_ALIVE) as stream:
            yield LeaseKeeper(stream)

    async def members(self) -> Sequence[Member]:
        """As our own member has them; it may be behind."""
        reply = await self.connection.unary(MEMBER_LIST, MemberListRequest())
        return [_member(message) for message in reply.members]

    async def add_learner(self, peer_url: str) -> tuple[Member, Sequence[Member]]:
        """The new member, and all of them. Only one at a time can learn."""
        reply = await self.connection.unary(
            MEMBER_ADD, MemberAddRequest(peer_ur_ls=[peer_url], is_learner=True), peer_url
        )
        assert reply.member is not None
        return _member(reply.member), [_member(message) for message in reply.members]

    async def promote(self, member_id: int) -> None:
        """Make a voter of a learner. Raises Conflict while it has not caught up."""
        await self.connection.unary(
            MEMBER_PROMOTE, MemberPromoteRequest(id=member_id), f"{member_id:x}"
        )

    async def remove(self, member_id: int) -> None:
        """Take a member away for good. Raises NotFound."""
        await self.connection.unary(
            MEMBER_REMOVE, MemberRemoveRequest(id=member_id), f"{member_id:x}"
        )

    async def status(self) -> Status:
        """What our member says of itself; answers without a quorum too."""
        reply = await self.connection.unary(STATUS, StatusRequest())
        assert reply.header is not None
        return Status(
            member_id=reply.header.member_id,
            leader=reply.leader,
            is_learner=reply.is_learner,
            size_bytes=reply.db_size,
            raft_term=reply.raft_term,
        )


class LeaseKeeper:
    """An open stream on which leases are kept alive, one beat at a time."""

    def __init__(self, stream: Stream[LeaseKeepAliveRequest, LeaseKeepAliveResponse]) -> None:
        self._stream = stream

    async def beat(self, lease: int) -> None:
        """Begin the lease's time anew.

        Raises:
            LeaseGone: it has ended.
            Unavailable: the stream is of no more use.
        """
        await self._stream.send(LeaseKeepAliveRequest(id=lease))
        reply = await self._stream.receive()
        if reply is None:
            raise Unavailable("etcd ended the stream that keeps leases alive")
        if reply.ttl <= 0:
            raise LeaseGone(f"lease {lease:x} has ended")


def to_key_value(message: KeyValueMessage) -> KeyValue:
    """Ours of etcd's."""
    return KeyValue(
        message.key.decode(),
        message.value,
        message.create_revision,
        message.mod_revision,
        message.lease,
    )


def end_of_prefix(prefix: str) -> str:
    """The first key behind all that begin with `prefix`, which is plain ASCII."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _compare(condition: Condition) -> Compare:
    key = condition.key.encode()
    created, modified = CompareCompareTarget.CREATE, CompareCompareTarget.MOD
    match condition:
        case Modified(_, revision):
            return Compare(target=modified, key=key, mod_revision=revision)
        case Created(_, revision):
            return Compare(target=created, key=key, create_revision=revision)
        case Exists():
            greater = CompareCompareResult.GREATER
            return Compare(result=greater, target=created, key=key, create_revision=0)
        case NotSince(_, revision):
            less = CompareCompareResult.LESS
            return Compare(result=less, target=modified, key=key, mod_revision=revision + 1)
    assert_never(condition)


def _write(write: Write) -> RequestOp:
    if isinstance(write, PutKey):
        put = PutRequest(key=write.key.encode(), value=write.value, lease=write.lease)
        return RequestOp(request_put=put)
    return RequestOp(request_delete_range=DeleteRangeRequest(key=write.key.encode()))


def _member(message: MemberMessage) -> Member:
    return Member(message.id, message.name, tuple(message.peer_ur_ls), message.is_learner)


async def _greet(link: Link) -> None:
    """Its status, which it says as soon as it serves at all."""
    with etcd_errors("etcd status"):
        await link.run(link.unary(STATUS, StatusRequest(), ()))
