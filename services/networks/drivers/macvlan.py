"""Networks of the macvlan driver: the link on the host that containers' links are made on.

The functions block for some milliseconds and are called in a thread.
"""

from __future__ import annotations

import errno
import socket

from services.errors import EngineError
from services.networks.host_links import link_names
from services.networks.macvlan_options import DUMMY_PREFIX, vlan_of
from services.networks.model import Network
from services.networks.rtnetlink import Batch, NetlinkError, open_netlink


def make_parent(network: Network) -> None:
    """Have the parent: a dummy for a network that was given none, or a VLAN of another link.

    Raises:
        EngineError: it is not there and is neither of these, or the kernel refused.
    """
    name = network.link
    if name in link_names():
        return
    batch = Batch()
    if name.startswith(DUMMY_PREFIX) and network.id.startswith(name.removeprefix(DUMMY_PREFIX)):
        batch.add_dummy(name)
    else:
        link, tag = vlan_of(name)
        if link not in link_names():
            raise EngineError(f"-o parent interface does not exist on the host: {link}")
        batch.add_vlan(name, parent=socket.if_nametoindex(link), tag=tag)
    with open_netlink() as netlink:
        try:
            batch.send(netlink)
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise EngineError(f"failed to create the {name} parent link: {error}") from error
