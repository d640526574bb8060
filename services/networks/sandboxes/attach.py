"""Links of containers: made inside a namespace, joined to their networks on the host.

Everything of one container is two datagrams, whatever the number of its networks. The functions
block for about a millisecond and are called in a thread.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from services.errors import EngineError
from services.networks.endpoints import Endpoint, Gateways, mac_bytes
from services.networks.kernel.netns import enter_namespace, here, namespace_of
from services.networks.kernel.rtnetlink import Batch, NetlinkError, link_index, open_netlink
from services.networks.model import Network
from services.networks.overlay.values import bridge_name, carried_subnets
from services.networks.planning import ipvlan_options, macvlan_options
from services.networks.planning.ipvlan_options import parse_ipvlan_options
from services.networks.planning.macvlan_options import parse_macvlan_options

LOOPBACK_INDEX: Final = 1
FIRST_INDEX: Final = 10
"""Chosen by us, so that address and route can be set without asking for it. A new namespace has
only a few low numbers of its own."""

_PAIRS: Final = ("bridge", "overlay")
"""The drivers whose links are pairs with one end inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One link of a container: its endpoint, its network, and how large its packets are.

    `overlay` is where the namespace of an overlay network is held.
    """

    endpoint: Endpoint
    network: Network
    mtu: int
    overlay: Path | None = None


@dataclass(frozen=True, slots=True)
class _FarSide:
    """The namespace where the other ends of links stand, and a route socket that lives there."""

    netlink: socket.socket
    namespace: int


def attach_all(
    inside: socket.socket,
    attachments: Sequence[Attachment],
    ways: Gateways,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Make all links of a new namespace. `inside` is a route socket of it.

    `prepare` is called when they are there and have no addresses yet. What a failure leaves goes
    with the namespace.
    """
    indexes = {a.endpoint.endpoint_id: FIRST_INDEX + n for n, a in enumerate(attachments)}
    with _far_sides(attachments) as far:
        batch = Batch()
        batch.set_up(LOOPBACK_INDEX, "lo")
        for attachment, side in zip(attachments, far, strict=True):
            index = indexes[attachment.endpoint.endpoint_id]
            _make(batch, side, inside, attachment, index=index)
        if prepare is not None:
            batch.send(inside)
            prepare()
            batch = Batch()
        for attachment in attachments:
            _configure(batch, attachment, indexes[attachment.endpoint.endpoint_id])
        _route(batch, ways, indexes)
        batch.send(inside)
        _join(attachments, far)


def attach_one(
    inside: socket.socket,
    attachment: Attachment,
    ways: Gateways,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Make one more link, in a namespace that may have links of any number.

    `prepare` is called when the link is there and has no address yet. A failure leaves nothing.
    """
    endpoint = attachment.endpoint
    with _far_sides([attachment]) as far:
        try:
            batch = Batch()
            _make(batch, far[0], inside, attachment, index=0)
            batch.send(inside)
            if prepare is not None:
                prepare()
            batch = Batch()
            _configure(batch, attachment, link_index(inside, endpoint.interface))
            batch.send(inside)
            _join([attachment], far)
            set_routes(inside, ways)
        except BaseException:
            detach(inside, endpoint)
            raise


def set_routes(inside: socket.socket, ways: Gateways) -> None:
    """Have the default routes of these gateways, and no others of ours."""
    indexes = {e.endpoint_id: link_index(inside, e.interface) for e in (ways.ipv4, ways.ipv6) if e}
    batch = Batch()
    _route(batch, ways, indexes)
    batch.send(inside)
    for version in (4, 6):
        if ways.of(version) is None:
            batch = Batch()
            batch.delete_default_route(version=version)
            _send_unless(batch, inside, errno.ESRCH, errno.EAFNOSUPPORT, errno.EOPNOTSUPP)


def join_bridges(attachments: Sequence[Attachment]) -> None:
    """Put the host's ends of links that are there into their bridges, and set them up."""
    with _far_sides(attachments) as far:
        _join(attachments, far)


def detach(inside: socket.socket | None, endpoint: Endpoint) -> None:
    """Delete a container's link; gone already is fine. Blocks for about 30 ms."""
    if endpoint.driver == "bridge":
        batch = Batch()
        batch.delete_link(endpoint.host_link)
        with open_netlink() as outside:
            _send_unless(batch, outside, errno.ENODEV)
    elif inside is not None and endpoint.interface:
        batch = Batch()
        batch.delete_link(endpoint.interface)
        _send_unless(batch, inside, errno.ENODEV)


@contextmanager
def _far_sides(attachments: Sequence[Attachment]) -> Iterator[list[_FarSide]]:
    """Where the other end of each link is to be: the host, or the network's own namespace.

    Raises:
        EngineError: the namespace of an overlay network is gone.
    """
    with open_netlink() as outside, here() as host, ExitStack() as stack:
        sides = []
        for attachment in attachments:
            side = _FarSide(outside, host)
            if attachment.overlay is not None:
                netlink = enter_namespace(attachment.overlay)
                if netlink is None:
                    raise EngineError(f"the namespace of network {attachment.network.name} is gone")
                stack.enter_context(netlink)
                side = _FarSide(netlink, stack.enter_context(namespace_of(netlink)))
            sides.append(side)
        yield sides


def _make(
    batch: Batch, far: _FarSide, inside: socket.socket, attachment: Attachment, *, index: int
) -> None:
    """A veth pair is made from inside, by `batch`: only the link that the request is for can
    choose its index. Other links are made from the host, where their parents are, at once.
    """
    endpoint = attachment.endpoint
    if endpoint.driver in _PAIRS:
        batch.add_veth(
            endpoint.interface,
            index=index,
            mac=mac_bytes(endpoint.mac_address),
            peer=endpoint.host_link,
            peer_netns=far.namespace,
            mtu=attachment.mtu,
        )
        return
    add = _add_ipvlan if endpoint.driver == "ipvlan" else _add_macvlan
    with namespace_of(inside) as namespace:
        made = Batch()
        add(made, attachment, index=index, netns=namespace)
        made.send(far.netlink)


def _add_macvlan(batch: Batch, attachment: Attachment, *, index: int, netns: int) -> None:
    endpoint = attachment.endpoint
    mode = parse_macvlan_options(attachment.network.options).mode
    batch.add_macvlan(
        endpoint.interface,
        index=index,
        # In this mode it has its parent's address.
        mac=b"" if mode == "passthru" else mac_bytes(endpoint.mac_address),
        parent=socket.if_nametoindex(attachment.network.link),
        mode=macvlan_options.MODES[mode],
        mtu=attachment.mtu,
        netns=netns,
    )


def _add_ipvlan(batch: Batch, attachment: Attachment, *, index: int, netns: int) -> None:
    options = parse_ipvlan_options(attachment.network.options)
    batch.add_ipvlan(
        attachment.endpoint.interface,
        index=index,
        parent=socket.if_nametoindex(attachment.network.link),
        mode=ipvlan_options.MODES[options.mode],
        flag=ipvlan_options.FLAGS[options.flag],
        netns=netns,
    )


def _configure(batch: Batch, attachment: Attachment, index: int) -> None:
    """Addresses, then up. Without an IPv6 address it gets none from the kernel either."""
    endpoint = attachment.endpoint
    if not endpoint.address6:
        batch.without_own_address(index, endpoint.interface, mtu=attachment.mtu)
    for address in endpoint.interfaces:
        batch.add_address(index, address)
    batch.set_up(index, endpoint.interface)


def _route(batch: Batch, ways: Gateways, indexes: Mapping[str, int]) -> None:
    for version in (4, 6):
        way = ways.of(version)
        if way is not None:
            endpoint, gateway = way
            batch.add_default_route(gateway, indexes[endpoint.endpoint_id], version=version)


def _join(attachments: Sequence[Attachment], far: Sequence[_FarSide]) -> None:
    """Put the other ends into their bridges."""
    on_host = [a for a in attachments if a.endpoint.driver == "bridge"]
    for attachment, side in zip(attachments, far, strict=True):
        if attachment.overlay is not None:
            batch = Batch()
            bridge = link_index(
                side.netlink, bridge_of_endpoint(attachment.network, attachment.endpoint)
            )
            batch.join_bridge(attachment.endpoint.host_link, bridge, mtu=attachment.mtu)
            batch.send(side.netlink)
    if not on_host:
        return
    outside = next(s for a, s in zip(attachments, far, strict=True) if a.overlay is None).netlink
    batch = Batch()
    for attachment in on_host:
        bridge = socket.if_nametoindex(attachment.network.link)
        batch.join_bridge(attachment.endpoint.host_link, bridge, mtu=attachment.mtu)
    batch.send(outside)
    batch = Batch()
    for attachment in on_host:
        link = attachment.endpoint.host_link
        batch.set_hairpin(socket.if_nametoindex(link), link)
    batch.send(outside)


def bridge_of_endpoint(network: Network, endpoint: Endpoint) -> str:
    """The bridge of the subnet that an endpoint of an overlay network is in. Raises EngineError."""
    address = ip_address(endpoint.address)
    for number, subnet in enumerate(carried_subnets(network)):
        if address in subnet.prefix:
            return bridge_name(number)
    raise EngineError(f"{address} is in no subnet of network {network.name}")


def _send_unless(batch: Batch, netlink: socket.socket, *fine: int) -> None:
    try:
        batch.send(netlink)
    except NetlinkError as error:
        if error.errno not in fine:
            raise
