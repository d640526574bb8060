"""Encryption of what nodes send one another in overlay networks: ESP between their addresses.

Encrypted networks have a VXLAN port of their own. Before the first link uses it, the kernel drops
what comes to it or leaves for it in plain text (`have_guard`), whatever the firewall says and
whether or not a key has come; what is between two nodes that know each other must be ESP
(`sync_encryption`). So a packet is encrypted, or it is not sent.

The functions work in the caller's network namespace, block for some milliseconds and are called in
a thread.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from services.networks.kernel.netns import in_scratch_namespace
from services.networks.overlay.encryption import Encryption, NodeKey, association
from services.networks.overlay.xfrm_messages import (
    Direction,
    Policy,
    State,
    XfrmBatch,
    open_xfrm,
    policies,
    states,
)

PEER_PRIORITY: Final = 16
GUARD_PRIORITY: Final = 32
_REQID: Final = 0x57480000
"""With a port in its lower half: states of ours for that port."""


def why_no_esp() -> str:
    """Why this kernel cannot encrypt, for people; "" when it can.

    A state is made in a namespace that is thrown away: the kernel loads its modules for that.
    """
    try:
        in_scratch_namespace(_make_one)
    except OSError as error:
        return (
            "this node's kernel cannot encrypt what goes between nodes (is it built with "
            f"CONFIG_XFRM_USER, CONFIG_INET_ESP and CONFIG_CRYPTO_GCM?): {error.strerror or error}"
        )
    return ""


def have_guard(port: int) -> None:
    """Have nothing to or from a UDP port that is not encrypted. There already is fine.

    Raises:
        OSError: the kernel has no IPsec, or refused.
    """
    with open_xfrm() as netlink:
        present = policies(netlink, port)
        batch = XfrmBatch()
        for wanted in _guards(port):
            if wanted not in present:
                batch.put_policy(wanted)
        batch.send(netlink)


def drop_guard(ports: Collection[int]) -> None:
    """Let the ports be anybody's again. A kernel without IPsec has no guards.

    Raises:
        NetlinkError: the kernel refused.
    """
    try:
        netlink = open_xfrm()
    except OSError:
        return
    with netlink:
        batch = XfrmBatch()
        for port in ports:
            present = policies(netlink, port)
            for guard in _guards(port):
                if guard in present:
                    batch.delete_policy(guard)
        batch.send(netlink)


def sync_encryption(wanted: Encryption) -> int:
    """Compare what the kernel has with what it should have; how many entries were changed.

    Nothing is interrupted: what is new is there before something leads to it, and what is old goes
    when nothing leads there any more.

    Raises:
        OSError: the kernel has no IPsec, or refused.
    """
    with open_xfrm() as netlink:
        reqid = _REQID | wanted.port
        known = [one for one in states(netlink) if one.reqid == reqid]
        had = [one for one in policies(netlink, wanted.port) if one.priority == PEER_PRIORITY]
        meant = _peer_policies(wanted, reqid)
        keys = {(one.source, one.destination, one.spi) for one in wanted.associations}
        there = {(one.source, one.destination, one.spi) for one in known}
        additions, removals = XfrmBatch(), XfrmBatch()
        count = 0
        for one in wanted.associations:
            if (one.source, one.destination, one.spi) not in there:
                additions.add_state(one, reqid=reqid)
                count += 1
        for policy in meant - set(had):
            additions.put_policy(policy)
            count += 1
        ends = {_ends(policy) for policy in meant}
        for policy in had:
            if _ends(policy) not in ends:
                removals.delete_policy(policy)
                count += 1
        for state in known:
            if (state.source, state.destination, state.spi) not in keys:
                removals.delete_state(state)
                count += 1
        additions.send(netlink)
        removals.send(netlink)
    return count


def clear_encryption(port: int) -> int:
    """Have no states and no peers for a port; a guard stays. How many entries were removed.

    A kernel without IPsec has none.

    Raises:
        NetlinkError: the kernel refused.
    """
    try:
        open_xfrm().close()
    except OSError:
        return 0
    return sync_encryption(Encryption(own="", port=port, peers=frozenset()))


def _guards(port: int) -> tuple[Policy, ...]:
    return tuple(
        Policy(direction=direction, port=port, priority=GUARD_PRIORITY) for direction in Direction
    )


def _peer_policies(wanted: Encryption, reqid: int) -> set[Policy]:
    found = set()
    for peer, spi in wanted.sent_by.items():
        found.add(
            Policy(
                direction=Direction.OUT,
                port=wanted.port,
                priority=PEER_PRIORITY,
                source=wanted.own,
                destination=peer,
                reqid=reqid,
                spi=spi,
            )
        )
        found.add(
            Policy(
                direction=Direction.IN,
                port=wanted.port,
                priority=PEER_PRIORITY,
                source=peer,
                destination=wanted.own,
                reqid=reqid,
            )
        )
    return found


def _ends(policy: Policy) -> tuple[Direction, str, str]:
    return policy.direction, policy.source, policy.destination


def _make_one() -> None:
    key = NodeKey(number=0, secret=bytes(32))
    one = association("192.0.2.1", "192.0.2.2", key)
    with open_xfrm() as netlink:
        batch = XfrmBatch()
        batch.add_state(one, reqid=1)
        batch.send(netlink)
        made = State(source=one.source, destination=one.destination, spi=one.spi, reqid=1)
        if made not in states(netlink):
            raise OSError("it does not show what it was told")
