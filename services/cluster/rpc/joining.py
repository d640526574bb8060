"""How a node that knows a token and a manager's address gets its first certificate, and how a
node gets another one."""

from __future__ import annotations

from collections.abc import Callable

from protos.generated.cluster import GetRootRequest, IssueReply, IssueRequest, JoinRequest
from services.cluster.ca.admission import Application, Issued
from services.cluster.ca.authority import key_pem, new_key, new_request
from services.cluster.ca.credentials import Credentials
from services.cluster.ca.tokens import JoinToken, read_token
from services.cluster.rpc.anyone import ask_any
from services.cluster.rpc.client import ManagerCalls
from services.cluster.rpc.codec import decode_json, encode_json
from services.cluster.rpc.membership import MemberRequest, Membership
from services.cluster.rpc.methods import GET_ROOT, ISSUE_CERTIFICATE, JOIN
from services.cluster.rpc.remotes import Remotes
from services.cluster.rpc.tls import client_context, joining_context, unchecked_context
from services.errors import Forbidden


async def join_cluster(
    token: str,
    remotes: Remotes,
    *,
    availability: str = "active",
    addresses: tuple[str, ...] = (),
) -> Credentials:
    """The credentials of a new node of the token's role. Nothing is on disk yet.

    Raises InvalidParameter (the token is none), Forbidden (it is of another swarm, or not valid any
    more), Unavailable (no manager answers).
    """
    known = read_token(token)
    root = await ask_any(remotes, unchecked_context(), lambda manager: _root(manager, known))
    key = new_key()
    request = IssueRequest(
        join_secret=known.secret,
        signing_request=new_request(key),
        availability=availability,
        addresses=list(addresses),
    )
    reply = await ask_any(
        remotes,
        joining_context(root),
        lambda manager: manager.call(ISSUE_CERTIFICATE, request),
    )
    credentials = Credentials(chain=reply.chain, key=key_pem(key), roots=reply.roots)
    credentials.identity  # noqa: B018 - what is no node's certificate is refused here
    return credentials


async def become_member(
    credentials: Credentials, remotes: Remotes, request: MemberRequest
) -> Membership:
    """What a node with a manager's certificate needs to start its store's member.

    Raises Forbidden (it is no manager), Unavailable.
    """
    reply = await ask_any(
        remotes,
        client_context(credentials),
        lambda manager: manager.call(JOIN, JoinRequest(json=encode_json(request))),
    )
    return decode_json(reply.json, Membership)


class RemoteIssuer:
    """An `Issuer` that asks managers over the network, showing the present certificate."""

    def __init__(self, credentials: Callable[[], Credentials], remotes: Remotes) -> None:
        self._credentials = credentials  # of the keeper, which has this issuer
        self._remotes = remotes

    async def renew(self, application: Application) -> Issued:
        """See `Issuer`. Raises Forbidden for a node that was removed, Unavailable."""
        request = IssueRequest(
            signing_request=application.signing_request, addresses=list(application.addresses)
        )
        reply: IssueReply = await ask_any(
            self._remotes,
            client_context(self._credentials()),
            lambda manager: manager.call(ISSUE_CERTIFICATE, request),
        )
        return Issued(node_id=reply.node_id, chain=reply.chain, roots=reply.roots)


async def _root(manager: ManagerCalls, token: JoinToken) -> str:
    root = (await manager.call(GET_ROOT, GetRootRequest())).certificate
    if not token.pins(root):
        raise Forbidden(
            "remote CA does not match fingerprint: the token is of another swarm, or its root CA "
            "was replaced since"
        )
    return root
