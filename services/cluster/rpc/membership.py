"""How a node with a manager's certificate becomes a member of the store: values and a contract."""

from __future__ import annotations

from typing import Protocol

from services.cluster.dispatcher.values import Told


class MemberRequest(Told, frozen=True, kw_only=True):
    """`peer_url` is where the other members will find its etcd; `addr` is its swarm port's
    host:port."""

    peer_url: str
    addr: str


class StoreMember(Told, frozen=True, kw_only=True):
    """A member of the store: its name and where its peers find it."""

    name: str
    peer_url: str


class Membership(Told, frozen=True, kw_only=True):
    """What a new manager needs to start. It travels between managers only.

    `data_key` is hexadecimal. `unlock_key` is "" unless managers lock themselves.
    """

    member_id: str
    members: tuple[StoreMember, ...]  # the new one among them
    data_key: str
    unlock_key: str = ""

    def __repr__(self) -> str:
        return f"Membership(member_id={self.member_id!r}, members={self.members!r})"  # no keys


class MemberAdmission(Protocol):
    """What the server needs of who looks after the store's members."""

    async def admit(self, node_id: str, request: MemberRequest) -> Membership:
        """Make a manager a (learning) member of the store. Asked again, it answers the same.

        Raises Unavailable without a quorum, or while another one is just joining.
        """
