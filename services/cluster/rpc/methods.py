"""The RPCs between nodes, and who may call which. This table is the only place that says so."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from grpclib.const import Cardinality

from protos.generated.cluster import (
    AttachReply,
    AttachRequest,
    DescribeRequest,
    Done,
    GetRootReply,
    GetRootRequest,
    HeartbeatRequest,
    IssueReply,
    IssueRequest,
    JoinReply,
    JoinRequest,
    LogBatch,
    LogsRequest,
    SessionMessage,
    SessionRequest,
    StatusRequest,
    SubscribeLogsRequest,
)
from services.grpc.method import NO_LIMIT_S, Method

PEER: Final = "the manager"
# A node waits as long as its managers may take to elect among themselves, and no longer.
HEARTBEAT_LIMIT_S: Final = 4.0
# Whoever reads logs may be a stopped terminal.
LOGS_LIMIT_S: Final = 600.0
JOIN_LIMIT_S: Final = 30.0


class Who(Enum):
    """Who may call. Each of the last two stands in the store, and its certificate says so too."""

    ANYONE = "anyone"
    NODE = "a node of the cluster"
    MANAGER = "a manager of the cluster"


GET_ROOT: Final = Method(
    service="cluster.NodeCA", name="GetRoot", peer=PEER, request=GetRootRequest, reply=GetRootReply
)
ISSUE_CERTIFICATE: Final = Method(
    service="cluster.NodeCA",
    name="IssueCertificate",
    peer=PEER,
    request=IssueRequest,
    reply=IssueReply,
)
SESSION: Final = Method(
    service="cluster.Dispatcher",
    name="Session",
    peer=PEER,
    request=SessionRequest,
    reply=SessionMessage,
    cardinality=Cardinality.UNARY_STREAM,
    limit_s=NO_LIMIT_S,  # heartbeats tell whether the manager lives
)
HEARTBEAT: Final = Method(
    service="cluster.Dispatcher",
    name="Heartbeat",
    peer=PEER,
    request=HeartbeatRequest,
    reply=Done,
    limit_s=HEARTBEAT_LIMIT_S,
)
UPDATE_STATUS: Final = Method(
    service="cluster.Dispatcher",
    name="UpdateStatus",
    peer=PEER,
    request=StatusRequest,
    reply=Done,
    limit_s=JOIN_LIMIT_S,
)
DESCRIBE: Final = Method(
    service="cluster.Dispatcher", name="Describe", peer=PEER, request=DescribeRequest, reply=Done
)
PUBLISH_LOGS: Final = Method(
    service="cluster.Dispatcher",
    name="PublishLogs",
    peer=PEER,
    request=LogsRequest,
    reply=Done,
    limit_s=LOGS_LIMIT_S,
)
ATTACH: Final = Method(
    service="cluster.Dispatcher",
    name="Attach",
    peer=PEER,
    request=AttachRequest,
    reply=AttachReply,
    limit_s=JOIN_LIMIT_S,
)
JOIN: Final = Method(
    service="cluster.Managers",
    name="Join",
    peer=PEER,
    request=JoinRequest,
    reply=JoinReply,
    limit_s=JOIN_LIMIT_S,
)
SUBSCRIBE_LOGS: Final = Method(
    service="cluster.Managers",
    name="SubscribeLogs",
    peer=PEER,
    request=SubscribeLogsRequest,
    reply=LogBatch,
    cardinality=Cardinality.UNARY_STREAM,
    limit_s=NO_LIMIT_S,
)

WHO_MAY: Final[Mapping[Method[Any, Any], Who]] = MappingProxyType(
    {
        GET_ROOT: Who.ANYONE,
        ISSUE_CERTIFICATE: Who.ANYONE,  # who brings no join secret needs a certificate all the same
        SESSION: Who.NODE,
        HEARTBEAT: Who.NODE,
        UPDATE_STATUS: Who.NODE,
        DESCRIBE: Who.NODE,
        PUBLISH_LOGS: Who.NODE,
        ATTACH: Who.NODE,
        JOIN: Who.MANAGER,
        SUBSCRIBE_LOGS: Who.MANAGER,
    }
)
