"""Containers in networks: their namespaces, links, addresses and published ports.

What a container gets is decided first (`reserve`, no system call) and made true afterwards
(`connect`), so that the second runs while runc creates the container.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import trio
from loguru import logger

from services.errors import EngineError, Forbidden
from services.measures import Durations
from services.networks.attach import Attachment, attach_all, attach_one, join_bridges
from services.networks.container_ports import ContainerPorts
from services.networks.endpoints import Endpoint, EndpointRequest, gateways, without
from services.networks.host_links import bridge_ports, link_mtu
from services.networks.inside import entered, preparation, remove_link, remove_links
from services.networks.model import Network
from services.networks.netns import (
    drop_namespace,
    held_namespaces,
    make_namespace,
)
from services.networks.networks import Networks
from services.networks.ports import PortRequest, PublishedPort
from services.networks.publishing import Publishing
from services.networks.reserve import WITHOUT_LINKS, give_back, link_mtu_of, take_endpoint

_T = TypeVar("_T")

log = logger.bind(service="networks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What a container gets: its endpoints, and the namespace that its task is to join.

    `netns` None leaves the namespace to the runtime: a new one (`none`), or the host's (`host`).
    """

    container_id: str
    endpoints: tuple[Endpoint, ...] = ()
    netns: Path | None = None
    ports: tuple[PublishedPort, ...] = ()


class BridgedLink(NamedTuple):
    """Whose a link is, and the bridge that it is to be in; "" if that network is gone."""

    container_id: str
    bridge: str


class Sandboxes:
    """Who is in which network of `networks`, and by what links.

    Operations on one container come one after the other: the caller sees to that.
    """

    def __init__(
        self, networks: Networks, *, publishing: Publishing, netns_directory: Path
    ) -> None:
        self._networks = networks
        self._directory = netns_directory
        self._ports = ContainerPorts(networks, publishing)
        self._places: dict[str, list[Endpoint]] = {}
        self.actions: Final = Durations()  # of what succeeded, by dockerd's word for it
        self._threads = trio.CapacityLimiter(8)

    def endpoints(self, container_id: str) -> Sequence[Endpoint]:
        """A container's places in networks."""
        return tuple(self._places.get(container_id, ()))

    def bridged_links(self) -> dict[str, BridgedLink]:
        """The host's ends of links that are in bridges, by name."""
        return {
            place.host_link: BridgedLink(container_id, self._networks.link_of(place.network_id))
            for container_id, places in self._places.items()
            for place in places
            if place.driver == "bridge"
        }

    def port_problems(self) -> dict[str, list[str]]:
        """What of published ports is not as it should be, by container. Blocks."""
        return self._ports.problems()

    async def mend_ports(self) -> None:
        """Make it so, as far as nobody else has them."""
        await self._ports.mend()

    def ports(self, container_id: str) -> tuple[PublishedPort, ...]:
        """A container's published ports."""
        return self._ports.of(container_id)

    # -- a container's start and end ------------------------------------------------------------

    async def reserve(
        self,
        container_id: str,
        requests: Sequence[EndpointRequest],
        *,
        ports: Sequence[PortRequest] = (),
        name: str = "",
    ) -> Sandbox:
        """Decide what a container gets in its networks; `name` is for messages.

        Ports are published where something leads out over a bridge; elsewhere there is nothing to
        do.

        Raises:
            NotFound: there is no such network.
            InvalidParameter, Forbidden: an address cannot be had.
            Unavailable: the networks are not up.
            EngineError: a port is taken, or no address is left.
        """
        networks = [await self._network(request.network) for request in requests]
        if any(network.driver in WITHOUT_LINKS for network in networks):
            endpoint = self._enter(container_id, networks[0], requests[0])
            return Sandbox(container_id=container_id, endpoints=(endpoint,))
        try:
            for network, request in zip(networks, requests, strict=True):
                self._enter(container_id, network, request)
            endpoints = self.endpoints(container_id)
            published = await self._ports.reserve(container_id, endpoints, ports, name=name)
        except BaseException:
            self._leave_all(container_id)
            raise
        return Sandbox(
            container_id=container_id,
            endpoints=tuple(endpoints),
            netns=self._directory / container_id,
            ports=published,
        )

    async def connect(
        self, sandbox: Sandbox, has_namespace: Callable[[], None] = lambda: None
    ) -> None:
        """Make the namespace and its links. For `none` and `host` there is nothing to do.

        `has_namespace` is called as soon as a task can join the namespace, before it has links.
        What a failure leaves is the namespace, which `release` drops.
        """
        if sandbox.netns is None:
            has_namespace()
            return
        ways = gateways(sandbox.endpoints)
        attachments = [self._attachment(endpoint) for endpoint in sandbox.endpoints]
        prepare = preparation(sandbox.netns, sandbox.endpoints)
        with self.actions.timed("allocate"):
            inside = await self._in_thread(partial(make_namespace, sandbox.netns))
            with inside:
                has_namespace()
                await self._in_thread(partial(attach_all, inside, attachments, ways, prepare))
            await self._ports.publish(sandbox.container_id)

    async def release(self, container_id: str, *, held_by_others: bool = False) -> None:
        """Drop a container's namespace, if it has one, and let others have its addresses.

        `held_by_others`: other containers may be in the namespace and keep it. Its links are taken
        away, or they would go on using the addresses.
        """
        with self.actions.timed("release"):
            await self.release_ports(container_id)
            path = self._directory / container_id
            if held_by_others:
                await self._in_thread(partial(remove_links, path, self.endpoints(container_id)))
            await self._in_thread(partial(drop_namespace, path))
            self._leave_all(container_id)

    async def release_ports(self, container_id: str) -> None:
        """Let others have a container's ports, if it has any."""
        await self._ports.release(container_id)

    # -- while it runs --------------------------------------------------------------------------

    async def reserve_one(self, container_id: str, request: EndpointRequest) -> Endpoint:
        """Decide what a container that runs gets in one more network. Raises as `reserve`.

        Raises:
            Forbidden: it is in that network.
        """
        network = await self._network(request.network)
        if any(e.network_id == network.id for e in self.endpoints(container_id)):
            raise Forbidden(f"endpoint with name {request.network} already exists")
        return self._enter(container_id, network, request)

    def cancel(self, container_id: str, endpoint: Endpoint) -> None:
        """Give back what `reserve_one` has taken, if that has not happened; no link is there."""
        if any(one.endpoint_id == endpoint.endpoint_id for one in self.endpoints(container_id)):
            self._exit(container_id, endpoint)

    async def plug_in(self, container_id: str, endpoint: Endpoint, *, pid: int) -> None:
        """Make the link of an endpoint of a container that runs. A failure leaves none.

        Raises:
            EngineError: the container's namespace is gone, or the kernel refused.
        """
        if not endpoint.interface:
            return
        path = self.namespace(container_id, pid)
        ways = gateways(self.endpoints(container_id))
        attachment = self._attachment(endpoint)
        prepare = preparation(path, [endpoint])

        def plug_in() -> None:
            with entered(path) as inside:
                attach_one(inside, attachment, ways, prepare)

        with self.actions.timed("connect"):
            await self._in_thread(plug_in)

    async def without_links(self) -> list[str]:
        """The containers that lack a link, or have one that is not in its bridge."""
        there = await self._in_thread(bridge_ports)
        return sorted(
            {
                link.container_id
                for name, link in self.bridged_links().items()
                if there.get(name) != link.bridge
            }
        )

    async def mend_links(self, container_id: str, *, pid: int) -> None:
        """Have the links of a container that runs, in their bridges; what is right is left so.

        Raises:
            EngineError: as `plug_in`.
        """
        there, links = await self._in_thread(bridge_ports), self.bridged_links()
        for endpoint in self.endpoints(container_id):
            wanted = links.get(endpoint.host_link)
            if wanted is None or there.get(endpoint.host_link) == wanted.bridge:
                continue
            if endpoint.host_link in there:
                await self._in_thread(partial(join_bridges, [self._attachment(endpoint)]))
            else:
                await self.plug_in(container_id, endpoint, pid=pid)

    async def unplug(self, container_id: str, endpoint: Endpoint, *, pid: int) -> None:
        """Take away the link of an endpoint, gone already is fine, and give back the rest.

        Also of one that an earlier daemon has left, which has nothing to give back here.

        Raises:
            EngineError: the kernel refused. Nothing is given back; call again.
        """
        path = self.namespace(container_id, pid)
        rest = without(self.endpoints(container_id), endpoint)

        await self._in_thread(partial(remove_link, path, endpoint, rest))
        self.cancel(container_id, endpoint)

    async def follow_ports(
        self, container_id: str, ports: Sequence[PortRequest], *, name: str
    ) -> tuple[PublishedPort, ...]:
        """Lead a running container's ports to what is its way out now; which ones it has then.

        Ports that nothing leads out for are released; they are reserved when something does.

        Raises:
            EngineError: a port is taken by now.
        """
        endpoints = self.endpoints(container_id)
        return await self._ports.follow(container_id, endpoints, ports, name=name)

    # -- after a restart of the engine ----------------------------------------------------------

    def adopt(
        self,
        container_id: str,
        endpoints: Sequence[Endpoint],
        ports: Sequence[PublishedPort] = (),
    ) -> None:
        """A container found running has these endpoints and ports; `settle` is to follow."""
        known = {endpoint.endpoint_id for endpoint in self.endpoints(container_id)}
        for endpoint in endpoints:
            network = self._networks.by_id(endpoint.network_id)
            if network is None or endpoint.endpoint_id in known:
                continue
            self._places.setdefault(container_id, []).append(endpoint)
            self._networks.members.enter(network.id, endpoint.endpoint_id, container_id)
            for text in (endpoint.address, endpoint.address6):
                if text:
                    self._networks.addresses(network).take_if_free(ip_address(text))
        if endpoints:  # those of a start that was not recorded are known when it is
            self._ports.adopt(container_id, endpoints, ports)

    def settle(self) -> None:
        """All that run were adopted: what else the firewall has of an earlier life is dropped."""
        self._ports.settle()

    async def held(self) -> list[str]:
        """The ids of the containers that have a namespace here, alive or not."""
        return await self._in_thread(partial(held_namespaces, self._directory))

    # -- what they have in common ---------------------------------------------------------------

    async def _network(self, ref: str) -> Network:
        network = self._networks.find(ref)
        if network.driver not in WITHOUT_LINKS:
            await self._networks.wait_ready()
            await self._networks.mend(network)
            network = self._networks.find(ref)  # the default bridge has its subnets now
        return network

    def _enter(self, container_id: str, network: Network, request: EndpointRequest) -> Endpoint:
        present = self._places.get(container_id, [])
        endpoint = take_endpoint(
            network,
            self._networks.addresses(network),
            request,
            interfaces=[endpoint.interface for endpoint in present],
        )
        self._places[container_id] = [*present, endpoint]
        self._networks.members.enter(network.id, endpoint.endpoint_id, container_id)
        return endpoint

    def _exit(self, container_id: str, endpoint: Endpoint) -> None:
        network = self._networks.by_id(endpoint.network_id)
        if network is not None:
            give_back(self._networks.addresses(network), endpoint)
        self._networks.members.leave(endpoint.network_id, endpoint.endpoint_id)
        rest = [
            other
            for other in self._places.get(container_id, ())
            if other.endpoint_id != endpoint.endpoint_id
        ]
        if rest:
            self._places[container_id] = rest
        else:
            self._places.pop(container_id, None)

    def _leave_all(self, container_id: str) -> None:
        for endpoint in self.endpoints(container_id):
            self._exit(container_id, endpoint)

    def _attachment(self, endpoint: Endpoint) -> Attachment:
        network = self._networks.by_id(endpoint.network_id)
        if network is None:
            raise EngineError(f"network {endpoint.network_id} not found")
        mtu = link_mtu_of(network, link_mtu(network.link))
        return Attachment(endpoint=endpoint, network=network, mtu=mtu)

    def namespace(self, container_id: str, pid: int) -> Path:
        """Where a container that runs is: ours, or the runtime's if it began without networks."""
        held = self._directory / container_id
        return held if held.exists() else Path(f"/proc/{pid}/ns/net")

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await trio.to_thread.run_sync(call, limiter=self._threads)
