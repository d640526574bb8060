"""The link on the host that the links of a macvlan or ipvlan network's containers are made on.

The functions block for some milliseconds and are called in a thread.
"""

from __future__ import annotations

import errno
import secrets
import socket
from typing import Final

from services.errors import EngineError
from services.networks.kernel.host_links import link_names
from services.networks.kernel.netns import here
from services.networks.kernel.rtnetlink import Batch, NetlinkError, open_netlink
from services.networks.model import Network
from services.networks.planning.parents import has_own_parent, vlan_of

OTHER_END: Final = "dx-"


def make_parent(network: Network) -> None:
    """Have the parent: a dummy for a network that was given none, or a VLAN of another link.

    Raises:
        EngineError: it is not there and is neither of these, or the kernel refused.
    """
    name = network.link
    if name in link_names():
        return
    try:
        if has_own_parent(network):
            _make_dummy(name)
        else:
            _make_vlan(name)
    except NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise EngineError(_refused(network, error)) from error


def _refused(network: Network, error: NetlinkError) -> str:
    reason = error.strerror
    if error.errno == errno.EOPNOTSUPP and not has_own_parent(network):
        reason = "this kernel has no VLAN links (is it built with CONFIG_VLAN_8021Q?)"
    return f"failed to create the {network.link} parent link: {reason}"


def _make_vlan(name: str) -> None:
    link, tag = vlan_of(name)
    if link not in link_names():
        raise EngineError(f"-o parent interface does not exist on the host: {link}")
    batch = Batch()
    batch.add_vlan(name, parent=socket.if_nametoindex(link), tag=tag)
    with open_netlink() as netlink:
        batch.send(netlink)


def _make_dummy(name: str) -> None:
    """A pair of links that nobody listens to leads nowhere too, where the kernel has no dummies."""
    with open_netlink() as netlink:
        batch = Batch()
        batch.add_dummy(name)
        try:
            batch.send(netlink)
        except NetlinkError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            _make_pair(netlink, name, OTHER_END + name.partition("-")[2])


def _make_pair(netlink: socket.socket, name: str, other: str) -> None:
    mac = b"\x02\x42" + secrets.token_bytes(4)
    batch = Batch()
    with here() as namespace:
        batch.add_veth(name, index=0, mac=mac, peer=other, peer_netns=namespace, mtu=1500)
        batch.send(netlink)
    batch = Batch()
    for end in (name, other):
        index = socket.if_nametoindex(end)
        batch.without_own_address(index, end)
        batch.set_up(index, end)
    batch.send(netlink)
