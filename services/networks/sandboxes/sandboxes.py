"""Containers in networks: their namespaces, links, addresses and published ports.

What a container gets is decided first (`reserve`, no system call) and made true afterwards
(`connect`), so that the second runs while runc creates the container.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from services.measures import Durations
from services.networks.endpoints import Endpoint, EndpointRequest
from services.networks.model import Network
from services.networks.networks import Networks
from services.networks.ports import PortRequest, PublishedPort
from services.networks.published.publishing import Publishing
from services.networks.sandboxes.attaching import Attacher
from services.networks.sandboxes.container_links import BridgedLink, ContainerLinks, Follower
from services.networks.sandboxes.container_ports import ContainerPorts
from services.networks.sandboxes.gateway import WayOut
from services.networks.sandboxes.ingress_record import INGRESS_SANDBOX, read_ingress
from services.networks.sandboxes.occupants import Occupants
from services.networks.sandboxes.reserve import WITHOUT_LINKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What a container gets: its endpoints, and the namespace that its task is to join.

    `netns` None leaves the namespace to the runtime: a new one (`none`), or the host's (`host`).
    """

    container_id: str
    endpoints: tuple[Endpoint, ...] = ()
    netns: Path | None = None
    ports: tuple[PublishedPort, ...] = ()


class Sandboxes:
    """Who is in which network of `networks`, and by what links.

    Operations on one container come one after the other: the caller sees to that. In `overlays` the
    namespaces of overlay networks are held; `ingress_record` is what a daemon of a cluster leaves.
    """

    def __init__(
        self,
        networks: Networks,
        *,
        publishing: Publishing,
        netns_directory: Path,
        overlays: Path | None = None,
        ingress_record: Path | None = None,
    ) -> None:
        self._networks = networks
        self._ingress_record = ingress_record
        self._occupants = Occupants(networks)
        self._links = ContainerLinks(
            networks, self._occupants, directory=netns_directory, overlays=overlays
        )
        self._ports = ContainerPorts(networks, publishing)
        self.actions: Final = Durations()  # of what succeeded, by dockerd's word for it

    def endpoints(self, container_id: str) -> Sequence[Endpoint]:
        """A container's places in networks."""
        return self._occupants.endpoints(container_id)

    def bridged_links(self) -> dict[str, BridgedLink]:
        """The host's ends of links that are in bridges, by name."""
        return self._links.bridged()

    def namespace(self, container_id: str, pid: int) -> Path:
        """Where a container that runs is: ours, or the runtime's if it began without networks."""
        return self._links.namespace(container_id, pid)

    def port_problems(self) -> dict[str, list[str]]:
        """What of published ports is not as it should be, by container. Blocks."""
        return self._ports.problems()

    async def mend_ports(self) -> None:
        """Make it so, as far as nobody else has them."""
        await self._ports.mend()

    def attach_by(self, attacher: Attacher | None) -> None:
        """Have somebody ask the managers for places in networks that span nodes."""
        self._occupants.attach_by(attacher)

    @property
    def has_managers(self) -> bool:
        """Whether a network that is not known here may be the cluster's."""
        return self._occupants.has_managers

    def follow_overlays(self, follower: Follower | None) -> None:
        """Have somebody told of each container that gets a link in an overlay network.

        It is waited for: the container's process begins, or goes on, when it has returned.
        """
        self._links.follower = follower

    def in_network(self, network_id: str) -> Mapping[str, Path]:
        """Who is in a network, each with its namespace if that is held here."""
        members = frozenset(self._networks.members.of(network_id).values())
        return {container_id: self._links.held_at(container_id) for container_id in members}

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
        requests = await self._occupants.ask_places(container_id, requests)
        try:
            await self._occupants.enter_all(container_id, requests)
            endpoints = tuple(self.endpoints(container_id))
            if any(endpoint.driver in WITHOUT_LINKS for endpoint in endpoints):
                return Sandbox(container_id=container_id, endpoints=endpoints)
            published = await self._ports.reserve(container_id, endpoints, ports, name=name)
        except BaseException:
            self._occupants.leave_all(container_id)
            self._occupants.give_back_places(container_id, requests)
            raise
        return Sandbox(
            container_id=container_id,
            endpoints=endpoints,
            netns=self._links.held_at(container_id),
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
        with self.actions.timed("allocate"):
            await self._links.make_all(sandbox.container_id, sandbox.endpoints, has_namespace)
            await self._ports.publish(sandbox.container_id)

    async def release(self, container_id: str, *, held_by_others: bool = False) -> None:
        """Drop a container's namespace, if it has one, and let others have its addresses.

        `held_by_others`: other containers may be in the namespace and keep it. Its links are taken
        away, or they would go on using the addresses.
        """
        with self.actions.timed("release"):
            await self.release_ports(container_id)
            await self._links.drop_all(container_id, held_by_others=held_by_others)
            self._occupants.leave_all(container_id)

    async def release_ports(self, container_id: str) -> None:
        """Let others have a container's ports, if it has any."""
        await self._ports.release(container_id)

    # -- while it runs --------------------------------------------------------------------------

    async def ask_place(self, container_id: str, request: EndpointRequest) -> EndpointRequest:
        """Have the managers give a place in a network that may not be known here; it is then.

        Any other request comes back as it is.

        Raises:
            NotFound, Forbidden, Unavailable: as `Attacher.attach`; without one, as `Networks.find`.
        """
        return await self._occupants.ask_place(container_id, request)

    async def reserve_one(self, container_id: str, request: EndpointRequest) -> Endpoint:
        """Decide what a container that runs gets in one more network. Raises as `reserve`.

        Raises:
            Forbidden: it is in that network.
        """
        request = await self._occupants.ask_place(container_id, request)
        return await self._occupants.enter(container_id, request)

    def way_out(self, container_id: str) -> WayOut:
        """Whether a container that runs has the way out that is to be had with its networks."""
        return self._occupants.way_out(container_id)

    def cancel(self, container_id: str, endpoint: Endpoint) -> None:
        """Give back what `reserve_one` has taken, if that has not happened; no link is there."""
        self._occupants.leave(container_id, endpoint)

    async def plug_in(self, container_id: str, endpoint: Endpoint, *, pid: int) -> None:
        """Make the link of an endpoint of a container that runs. A failure leaves none.

        Raises:
            EngineError: the container's namespace is gone, or the kernel refused.
        """
        if not endpoint.interface:
            return
        with self.actions.timed("connect"):
            await self._links.make(container_id, endpoint, pid=pid)

    async def without_links(self) -> list[str]:
        """The containers that lack a link, or have one that is not in its bridge."""
        return await self._links.lacking()

    async def mend_links(self, container_id: str, *, pid: int) -> None:
        """Have the links of a container that runs, in their bridges; what is right is left so.

        Raises:
            EngineError: as `plug_in`.
        """
        missing, elsewhere = await self._links.wrong(container_id)
        for endpoint in elsewhere:
            await self._links.join_bridge(endpoint)
        for endpoint in missing:
            await self.plug_in(container_id, endpoint, pid=pid)

    async def without_link_in(self, network: Network) -> list[tuple[str, Endpoint]]:
        """Endpoints in an overlay network whose links are lost, with their containers.

        Raises:
            EngineError: the network has no namespace.
        """
        return await self._links.lacking_in(network)

    async def mend_link(self, container_id: str, endpoint: Endpoint) -> None:
        """Make such a link again.

        Raises:
            EngineError: as `plug_in`.
        """
        await self._links.make_again(container_id, endpoint)

    async def unplug(self, container_id: str, endpoint: Endpoint, *, pid: int) -> None:
        """Take away the link of an endpoint, gone already is fine, and give back the rest.

        Also of one that an earlier daemon has left, which has nothing to give back here.

        Raises:
            EngineError: the kernel refused. Nothing is given back; call again.
        """
        await self._links.remove(container_id, endpoint, pid=pid)
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
        self._occupants.adopt(container_id, endpoints)
        self._links.adopt(endpoints)
        if endpoints:  # those of a start that was not recorded are known when it is
            self._ports.adopt(container_id, endpoints, ports)

    async def adopt_ingress(self) -> None:
        """The ingress namespace and its ports are as an earlier daemon has left them.

        After containers were adopted; `settle` is to follow.
        """
        if self._ingress_record is None or self.endpoints(INGRESS_SANDBOX):
            return
        read = partial(read_ingress, self._ingress_record, self._links.held_at(INGRESS_SANDBOX))
        record = await self._links.in_thread(read)
        self.adopt(INGRESS_SANDBOX, record.endpoints)
        for owner, ports in record.ports.items():
            self._ports.adopt_for(owner, record.endpoints, ports)

    def settle(self) -> None:
        """All that run were adopted: what else the firewall has of an earlier life is dropped."""
        self._ports.settle()

    async def held(self) -> list[str]:
        """The ids of the containers that have a namespace here, alive or not."""
        held = await self._links.held()
        return [name for name in held if name != INGRESS_SANDBOX]
