"""What a manager answers, one method a call; access was checked before."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

from grpclib.const import Handler
from msgspec.structs import replace

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
    SessionRequest,
    StatusRequest,
    SubscribeLogsRequest,
)
from services.cluster.ca.admission import Admission, Application
from services.cluster.ca.identity import Identity, issuer_among
from services.cluster.ca.issuing import trusted_roots
from services.cluster.dispatcher.dispatcher import Dispatcher
from services.cluster.dispatcher.sessions import ManagerSession, Peer
from services.cluster.dispatcher.values import (
    Assignments,
    AttachmentWish,
    LogOptions,
    LogSelector,
    TaskUpdate,
)
from services.cluster.model.objects import NodeDescription
from services.cluster.rpc import methods
from services.cluster.rpc.access import check_access
from services.cluster.rpc.bridge import Caller, Send, Streaming, Unary, streaming, unary
from services.cluster.rpc.codec import (
    decode_json,
    decode_logs,
    encode_json,
    encode_logs,
    encode_session_message,
)
from services.cluster.rpc.membership import MemberAdmission, MemberRequest
from services.cluster.rpc.methods import WHO_MAY, Who
from services.cluster.rpc.view_changes import ViewCache, ViewSender
from services.cluster.store.contract import ClusterStore
from services.errors import InvalidParameter, Unauthorized, Unavailable
from services.grpc.method import Method

AnyMethod = Method[Any, Any]

# Log messages that are there already go together, up to so many.
LOG_BATCH: Final = 64


class Serving:
    """The manager's parts as gRPC methods. `handlers` is what a server is made of."""

    def __init__(
        self,
        *,
        store: ClusterStore,
        admission: Admission,
        dispatcher: Dispatcher,
        members: MemberAdmission,
    ) -> None:
        self._store = store
        self._admission = admission
        self._dispatcher = dispatcher
        self._members = members
        self._views = ViewCache()

    def handlers(self) -> Mapping[str, Handler]:
        """By route. Each method of the table is there, with the table's word on who may call."""
        unaries: dict[AnyMethod, Unary] = {
            methods.GET_ROOT: self.get_root,
            methods.ISSUE_CERTIFICATE: self.issue_certificate,
            methods.HEARTBEAT: self.heartbeat,
            methods.UPDATE_STATUS: self.update_status,
            methods.DESCRIBE: self.describe,
            methods.PUBLISH_LOGS: self.publish_logs,
            methods.ATTACH: self.attach,
            methods.JOIN: self.join,
        }
        streams: dict[AnyMethod, Streaming] = {
            methods.SESSION: self.session,
            methods.SUBSCRIBE_LOGS: self.subscribe_logs,
        }
        found = {}
        for method, who in WHO_MAY.items():
            if method in unaries:
                found[method.route] = unary(method, who, self._check, unaries[method])
            else:
                found[method.route] = streaming(method, who, self._check, streams[method])
        return found

    async def _check(self, who: Who, caller: Caller) -> None:
        """Raises Unauthorized, Forbidden, and Unavailable when only a quorum could say."""
        identity = caller.identity
        if identity is not None and identity.node_id not in self._store.snapshot().nodes:
            # It may have joined at another manager a moment ago: only who is sure may refuse it.
            await self._store.catch_up()
        check_access(who, identity, self._store.snapshot())

    async def get_root(self, caller: Caller, request: GetRootRequest) -> GetRootReply:  # noqa: ARG002
        """The root that tokens pin."""
        return GetRootReply(certificate=self._admission.root)

    async def issue_certificate(self, caller: Caller, request: IssueRequest) -> IssueReply:
        """For a join secret, or for a node that shows the certificate it has."""
        application = Application(
            signing_request=request.signing_request,
            availability=request.availability or "active",
            addresses=tuple(request.addresses),
            peer_addr=caller.addr,
        )
        if request.join_secret:
            issued = await self._admission.admit(request.join_secret, application)
        else:
            issued = self._admission.renew(_identity(caller), application)
        return IssueReply(node_id=issued.node_id, chain=issued.chain, roots=issued.roots)

    async def session(self, caller: Caller, request: SessionRequest, send: Send) -> None:
        """Messages until either end goes."""
        description = decode_json(request.description_json, NodeDescription)
        peer = self._peer(caller, request.data_path_addr)
        sender = ViewSender(self._views)
        async with self._dispatcher.session(peer, description) as session:
            while True:
                message = await session.receive()
                if isinstance(message, Assignments):
                    networks = sender.messages(message)
                    told = encode_session_message(replace(message, networks=()))
                    told.networks = networks
                    await send(told)
                else:
                    await send(encode_session_message(message))

    async def heartbeat(self, caller: Caller, request: HeartbeatRequest) -> Done:
        """A node lives."""
        await self._session(caller, request.session_id).beat()
        return Done()

    async def update_status(self, caller: Caller, request: StatusRequest) -> Done:
        """Reports of tasks."""
        updates = decode_json(request.updates_json, list[TaskUpdate])
        await self._session(caller, request.session_id).update_status(updates)
        return Done()

    async def describe(self, caller: Caller, request: DescribeRequest) -> Done:
        """What a node is."""
        description = decode_json(request.description_json, NodeDescription)
        await self._session(caller, request.session_id).describe(description)
        return Done()

    async def publish_logs(self, caller: Caller, request: LogsRequest) -> Done:
        """Output that was asked for."""
        session = self._session(caller, request.session_id)
        await session.publish_logs(
            request.subscription_id, decode_logs(request.messages), is_last=request.is_last
        )
        return Done()

    async def attach(self, caller: Caller, request: AttachRequest) -> AttachReply:
        """A place in a network for a container of the caller's."""
        wish = decode_json(request.wish_json, AttachmentWish)
        session = self._session(caller, request.session_id)
        return AttachReply(task_id=await session.attach(wish))

    async def join(self, caller: Caller, request: JoinRequest) -> JoinReply:
        """A new manager."""
        wanted = decode_json(request.json, MemberRequest)
        membership = await self._members.admit(_identity(caller).node_id, wanted)
        return JoinReply(json=encode_json(membership))

    async def subscribe_logs(
        self,
        caller: Caller,  # noqa: ARG002
        request: SubscribeLogsRequest,
        send: Send,
    ) -> None:
        """Output from the nodes whose sessions are here, for another manager."""
        selector = decode_json(request.selector_json, LogSelector)
        options = decode_json(request.options_json, LogOptions)
        async with self._dispatcher.subscribe_logs(selector, options) as messages:
            async for message in messages:
                batch = [message]
                while len(batch) < LOG_BATCH and messages.statistics().current_buffer_used:
                    batch.append(messages.receive_nowait())
                await send(LogBatch(messages=encode_logs(batch)))

    def _peer(self, caller: Caller, data_path_addr: str) -> Peer:
        """Raises InvalidParameter when a node's data path address is none."""
        identity = _identity(caller)
        assert caller.certificate is not None
        roots = trusted_roots(self._store.snapshot().cluster.root_ca)
        return Peer(
            node_id=identity.node_id,
            role=identity.role,
            addr=caller.addr,
            data_path_addr=_checked_address(data_path_addr),
            issuer=issuer_among(caller.certificate, roots),
        )

    def _session(self, caller: Caller, session_id: str) -> ManagerSession:
        session = self._dispatcher.session_of(_identity(caller).node_id)
        if session.id != session_id:
            raise Unavailable("the node has opened another session")
        return session


def _identity(caller: Caller) -> Identity:
    identity = caller.identity
    if identity is None:
        raise Unauthorized("a certificate of the swarm is needed for this")
    return identity


def _checked_address(text: str) -> str:
    try:
        return str(ip_address(text)) if text else ""
    except ValueError as error:
        raise InvalidParameter(f"invalid data path address: {text}") from error
