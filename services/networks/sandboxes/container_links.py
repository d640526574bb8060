"""The links of containers, and the namespaces that they are in: made, mended, taken away.

Which endpoints a container has is decided before; nothing is given back here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import trio

from services.errors import EngineError
from services.networks.drivers.overlay import joined_links
from services.networks.endpoints import Endpoint, gateways, without
from services.networks.kernel.host_links import bridge_ports, link_mtu
from services.networks.kernel.netns import drop_namespace, held_namespaces, make_namespace
from services.networks.model import IPV6_LEAST_MTU, Network
from services.networks.networks import Networks
from services.networks.overlay.values import DRIVER as OVERLAY
from services.networks.overlay.values import namespace_of_network
from services.networks.sandboxes.attach import (
    Attachment,
    attach_all,
    attach_one,
    bridge_of_endpoint,
    detach,
    join_bridges,
)
from services.networks.sandboxes.inside import entered, preparation, remove_link, remove_links
from services.networks.sandboxes.occupants import Occupants
from services.networks.sandboxes.reserve import link_mtu_of

_T = TypeVar("_T")

Follower = Callable[[str, Path], Awaitable[None]]
"""Is told of a container (its id, its namespace) whose links in overlay networks are just made."""


class BridgedLink(NamedTuple):
    """Whose a link is, and the bridge that it is to be in; "" if that network is gone."""

    container_id: str
    bridge: str


class ContainerLinks:
    """Links of the endpoints that `occupants` has. `follower` is waited for.

    In `directory` containers' namespaces are held, in `overlays` those of overlay networks.
    """

    def __init__(
        self,
        networks: Networks,
        occupants: Occupants,
        *,
        directory: Path,
        overlays: Path | None,
    ) -> None:
        self._networks = networks
        self._occupants = occupants
        self._directory = directory
        self._overlays = overlays
        self._threads = trio.CapacityLimiter(8)
        self._standing: set[str] = (
            set()
        )  # endpoints (ids) whose links were made, and not taken away
        self.follower: Follower | None = None

    def held_at(self, container_id: str) -> Path:
        """Where a container's namespace is held, if it has one."""
        return self._directory / container_id

    def namespace(self, container_id: str, pid: int) -> Path:
        """Where a container that runs is: ours, or the runtime's if it began without networks."""
        held = self.held_at(container_id)
        return held if held.exists() else Path(f"/proc/{pid}/ns/net")

    async def held(self) -> list[str]:
        """Whose namespaces are held here."""
        return await self.in_thread(partial(held_namespaces, self._directory))

    def bridged(self) -> dict[str, BridgedLink]:
        """The host's ends of links that are in bridges, by name."""
        return {
            endpoint.host_link: BridgedLink(
                container_id, self._networks.link_of(endpoint.network_id)
            )
            for container_id, endpoint in self._occupants.all()
            if endpoint.driver == "bridge"
        }

    def adopt(self, endpoints: Sequence[Endpoint]) -> None:
        """The links of these endpoints are there."""
        self._standing.update(endpoint.endpoint_id for endpoint in endpoints)

    # -- all of a container ---------------------------------------------------------------------

    async def make_all(
        self,
        container_id: str,
        endpoints: Sequence[Endpoint],
        has_namespace: Callable[[], None],
    ) -> None:
        """Make a container's namespace, say so, and make the links of its endpoints.

        What a failure leaves is the namespace, which `drop_all` drops.
        """
        path = self.held_at(container_id)
        ways = gateways(endpoints)
        attachments = [self._attachment(endpoint) for endpoint in endpoints]
        prepare = preparation(path, endpoints)
        inside = await self.in_thread(partial(make_namespace, path))
        with inside:
            has_namespace()
            await self.in_thread(partial(attach_all, inside, attachments, ways, prepare))
        self.adopt(endpoints)
        await self._tell_follower(container_id, path, endpoints)

    async def drop_all(self, container_id: str, *, held_by_others: bool) -> None:
        """Drop a container's namespace, if it has one, and with it the links.

        `held_by_others`: other containers may be in it and keep it, so its links are taken away.
        """
        path = self.held_at(container_id)
        endpoints = self._occupants.endpoints(container_id)
        self._standing.difference_update(endpoint.endpoint_id for endpoint in endpoints)
        if held_by_others:
            await self.in_thread(partial(remove_links, path, endpoints))
        await self.in_thread(partial(drop_namespace, path))

    # -- one of a container that runs -----------------------------------------------------------

    async def make(self, container_id: str, endpoint: Endpoint, *, pid: int) -> None:
        """Make the link of an endpoint. A failure leaves none.

        Raises:
            EngineError: the container's namespace is gone, or the kernel refused.
        """
        path = self.namespace(container_id, pid)
        ways = gateways(self._occupants.endpoints(container_id))
        attachment = self._attachment(endpoint)
        prepare = preparation(path, [endpoint])

        def attach() -> None:
            with entered(path) as inside:
                attach_one(inside, attachment, ways, prepare)

        await self.in_thread(attach)
        self.adopt([endpoint])
        await self._tell_follower(container_id, path, [endpoint])

    async def remove(self, container_id: str, endpoint: Endpoint, *, pid: int) -> None:
        """Take away the link of an endpoint; gone already is fine.

        Raises:
            EngineError: the kernel refused.
        """
        path = self.namespace(container_id, pid)
        self._standing.discard(endpoint.endpoint_id)
        rest = without(self._occupants.endpoints(container_id), endpoint)
        await self.in_thread(partial(remove_link, path, endpoint, rest))

    # -- what somebody else has taken away ------------------------------------------------------

    async def lacking(self) -> list[str]:
        """The containers that lack a link, or have one that is not in its bridge."""
        there = await self.in_thread(bridge_ports)
        return sorted(
            {
                link.container_id
                for name, link in self.bridged().items()
                if there.get(name) != link.bridge
            }
        )

    async def wrong(self, container_id: str) -> tuple[list[Endpoint], list[Endpoint]]:
        """The endpoints whose links are not there, and those whose are in another bridge."""
        there, links = await self.in_thread(bridge_ports), self.bridged()
        wrong = [
            endpoint
            for endpoint in self._occupants.endpoints(container_id)
            if (wanted := links.get(endpoint.host_link)) is not None
            and there.get(endpoint.host_link) != wanted.bridge
        ]
        return (
            [endpoint for endpoint in wrong if endpoint.host_link not in there],
            [endpoint for endpoint in wrong if endpoint.host_link in there],
        )

    async def join_bridge(self, endpoint: Endpoint) -> None:
        """Have the link of an endpoint in the bridge of its network."""
        await self.in_thread(partial(join_bridges, [self._attachment(endpoint)]))

    async def lacking_in(self, network: Network) -> list[tuple[str, Endpoint]]:
        """Endpoints in an overlay network whose links are not in its bridge, with their containers.

        Raises:
            EngineError: the network has no namespace.
        """
        standing = [
            (container_id, endpoint)
            for container_id, endpoint in self._occupants.all()
            if endpoint.network_id == network.id and endpoint.endpoint_id in self._standing
        ]
        if not standing or self._overlays is None:
            return []
        there = await self.in_thread(partial(joined_links, network, self._overlays))
        return [
            (container_id, endpoint)
            for container_id, endpoint in standing
            if there.get(endpoint.host_link) != bridge_of_endpoint(network, endpoint)
            and endpoint.endpoint_id in self._standing
        ]

    async def make_again(self, container_id: str, endpoint: Endpoint) -> None:
        """Have a link in an overlay network that was lost; what is left of it goes.

        Raises:
            EngineError: the container's namespace is gone, or the kernel refused.
        """
        path = self.held_at(container_id)
        ways = gateways(self._occupants.endpoints(container_id))
        attachment = self._attachment(endpoint)
        prepare = preparation(path, [endpoint])

        def attach() -> None:
            with entered(path) as inside:
                detach(inside, endpoint)
                attach_one(inside, attachment, ways, prepare)

        await self.in_thread(attach)

    def _attachment(self, endpoint: Endpoint) -> Attachment:
        network = self._networks.by_id(endpoint.network_id)
        if network is None:
            raise EngineError(f"network {endpoint.network_id} not found")
        mtu = link_mtu_of(network, link_mtu(network.link))
        if endpoint.address6 and 0 < mtu < IPV6_LEAST_MTU:
            raise EngineError(
                f"network {network.name} has IPv6, whose packets need {IPV6_LEAST_MTU} bytes: "
                f"those of {network.link} have {mtu}"
            )
        overlay = None
        if network.driver == OVERLAY and self._overlays is not None:
            overlay = namespace_of_network(self._overlays, network.id)
        return Attachment(endpoint=endpoint, network=network, mtu=mtu, overlay=overlay)

    async def _tell_follower(
        self, container_id: str, namespace: Path, endpoints: Sequence[Endpoint]
    ) -> None:
        if self.follower is not None and any(e.driver == OVERLAY for e in endpoints):
            await self.follower(container_id, namespace)

    async def in_thread(self, call: Callable[[], _T]) -> _T:
        """What a blocking call answers."""
        return await trio.to_thread.run_sync(call, limiter=self._threads)
