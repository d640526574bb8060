"""etcd's RPCs that are in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from grpclib.const import Cardinality

from protos.generated.etcdserverpb import (
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    MemberAddRequest,
    MemberAddResponse,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPromoteResponse,
    MemberRemoveRequest,
    MemberRemoveResponse,
    RangeRequest,
    RangeResponse,
    StatusRequest,
    StatusResponse,
    TxnRequest,
    TxnResponse,
    WatchRequest,
    WatchResponse,
)
from services.grpc import method
from services.grpc.method import NO_LIMIT_S, ReplyT, RequestT

# A request that an election interrupts hangs for 5 s and more; one that works takes milliseconds.
ATTEMPT_LIMIT_S: Final = 2.0
# Writes are made again by whoever asks for them, and are to go on 3 s after a leader's end: one
# that was sent in the last instant before it is missed (up to 1 s) must not wait for much longer.
WRITE_LIMIT_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Method(method.Method[RequestT, ReplyT]):
    """Of etcd's."""

    peer: str = "etcd"
    limit_s: float = ATTEMPT_LIMIT_S


_KV: Final = "etcdserverpb.KV"
RANGE: Final = Method(service=_KV, name="Range", request=RangeRequest, reply=RangeResponse)
TXN: Final = Method(
    service=_KV, name="Txn", request=TxnRequest, reply=TxnResponse, limit_s=WRITE_LIMIT_S
)

WATCH: Final = Method(
    service="etcdserverpb.Watch",
    name="Watch",
    request=WatchRequest,
    reply=WatchResponse,
    cardinality=Cardinality.STREAM_STREAM,
    limit_s=NO_LIMIT_S,
)

_LEASE: Final = "etcdserverpb.Lease"
GRANT: Final = Method(
    service=_LEASE, name="LeaseGrant", request=LeaseGrantRequest, reply=LeaseGrantResponse
)
REVOKE: Final = Method(
    service=_LEASE, name="LeaseRevoke", request=LeaseRevokeRequest, reply=LeaseRevokeResponse
)
KEEP_ALIVE: Final = Method(
    service=_LEASE,
    name="LeaseKeepAlive",
    request=LeaseKeepAliveRequest,
    reply=LeaseKeepAliveResponse,
    cardinality=Cardinality.STREAM_STREAM,
)

_CLUSTER: Final = "etcdserverpb.Cluster"
MEMBER_LIST: Final = Method(
    service=_CLUSTER, name="MemberList", request=MemberListRequest, reply=MemberListResponse
)
MEMBER_ADD: Final = Method(
    service=_CLUSTER, name="MemberAdd", request=MemberAddRequest, reply=MemberAddResponse
)
MEMBER_REMOVE: Final = Method(
    service=_CLUSTER, name="MemberRemove", request=MemberRemoveRequest, reply=MemberRemoveResponse
)
MEMBER_PROMOTE: Final = Method(
    service=_CLUSTER,
    name="MemberPromote",
    request=MemberPromoteRequest,
    reply=MemberPromoteResponse,
)

STATUS: Final = Method(
    service="etcdserverpb.Maintenance",
    name="Status",
    request=StatusRequest,
    reply=StatusResponse,
)
