"""Whether the kernel has ipvlan links, found out by making one in a namespace that is thrown away.

Blocks for some milliseconds; call it in a thread.
"""

from __future__ import annotations

import socket
from typing import Final

from services.networks.kernel.netns import here, in_scratch_namespace
from services.networks.kernel.rtnetlink import Batch, open_netlink

_MAC: Final = b"\x02\x42\x0a\x00\x00\x01"


def why_no_ipvlan(mode: int) -> str:
    """Why there can be no links of this mode, for the client; "" when there can.

    The kernel loads its module for the attempt, so that neither a list of modules nor the kernel's
    configuration has to be understood.
    """
    try:
        in_scratch_namespace(lambda: _make_one(mode))
    except OSError as error:
        reason = error.strerror or error
        return (
            "ipvlan networks are not supported by this kernel (is it built with CONFIG_IPVLAN and "
            f"CONFIG_IPVLAN_L3S?): {reason}; the macvlan driver may do instead"
        )
    return ""


def _make_one(mode: int) -> None:
    with open_netlink() as netlink, here() as namespace:
        batch = Batch()
        batch.add_veth("p0", index=0, mac=_MAC, peer="p1", peer_netns=namespace, mtu=1500)
        batch.send(netlink)
        batch = Batch()
        parent = socket.if_nametoindex("p0")
        batch.add_ipvlan("i0", index=0, parent=parent, mode=mode, flag=0, netns=namespace)
        batch.send(netlink)
