"""The published ports of containers, which follow their way out from network to network."""

from __future__ import annotations

from collections.abc import Sequence

from services.errors import EngineError
from services.networks.endpoints import Endpoint, Gateways, gateways
from services.networks.firewall.network_rules import PortTargets
from services.networks.firewall.rules import targets_of
from services.networks.networks import Networks
from services.networks.planning.bridge_options import parse_bridge_options
from services.networks.ports import ANY_ADDRESS, PortRequest, PublishedPort
from services.networks.published.publishing import Publishing


class ContainerPorts:
    """Which ports each container has, and where they lead. `publishing` does it."""

    def __init__(self, networks: Networks, publishing: Publishing) -> None:
        self._networks = networks
        self._publishing = publishing
        self._ports: dict[str, tuple[PublishedPort, ...]] = {}
        self._led_to: dict[str, PortTargets] = {}

    def of(self, container_id: str) -> tuple[PublishedPort, ...]:
        """A container's published ports."""
        return self._ports.get(container_id, ())

    async def reserve(
        self,
        container_id: str,
        endpoints: Sequence[Endpoint],
        requests: Sequence[PortRequest],
        *,
        name: str,
    ) -> tuple[PublishedPort, ...]:
        """Reserve ports where something leads out over a bridge; elsewhere there are none.

        Raises:
            EngineError: one is taken; dockerd's text, with the container's `name`.
        """
        ways = gateways(endpoints)
        targets = self._targets(ways)
        if not requests or not _leads_anywhere(targets):
            return ()
        try:
            ports = await self._publishing.reserve(
                container_id, targets, requests, default_address=self._binding(ways)
            )
        except EngineError as error:
            way = ways.ipv4 or ways.ipv6
            raise type(error)(
                "failed to set up container networking: driver failed programming external "
                f"connectivity on endpoint {name} ({way.endpoint_id if way else ''}): {error}"
            ) from error
        self._ports[container_id], self._led_to[container_id] = ports, targets
        return ports

    async def publish(self, container_id: str) -> None:
        """Lead what was reserved to the container. Raises as `Publishing.publish`."""
        await self._publishing.publish(container_id)

    async def follow(
        self,
        container_id: str,
        endpoints: Sequence[Endpoint],
        requests: Sequence[PortRequest],
        *,
        name: str,
    ) -> tuple[PublishedPort, ...]:
        """Lead a running container's ports to what is its way out now; which ones it has then.

        Ports that nothing leads out for are released; they are reserved when something does.

        Raises:
            EngineError: a port is taken by now.
        """
        targets = self._targets(gateways(endpoints))
        before = self._led_to.get(container_id, targets)
        if _kind_of(before) != _kind_of(targets):  # other addresses of the host have to be theirs
            await self.release(container_id)
        if not _leads_anywhere(targets):
            return ()
        if container_id not in self._ports:
            await self.reserve(container_id, endpoints, requests, name=name)
            await self._publishing.publish(container_id)
        elif before != targets:
            await self._publishing.publish(container_id, targets)
            self._led_to[container_id] = targets
        return self.of(container_id)

    async def release(self, container_id: str) -> None:
        """Let others have a container's ports, if it has any."""
        self._ports.pop(container_id, None)
        self._led_to.pop(container_id, None)
        await self._publishing.release(container_id)

    def adopt(
        self, container_id: str, endpoints: Sequence[Endpoint], ports: Sequence[PublishedPort]
    ) -> None:
        """A container found running has these ports; `settle` is to follow."""
        if ports and container_id not in self._ports:
            self._ports[container_id] = tuple(ports)
            self._led_to[container_id] = targets = self._targets(gateways(endpoints))
            self._publishing.adopt(container_id, targets, ports)

    def adopt_for(
        self, owner: str, endpoints: Sequence[Endpoint], ports: Sequence[PublishedPort]
    ) -> None:
        """These ports, which are no container's, lead to who has these endpoints."""
        self._publishing.adopt(owner, self._targets(gateways(endpoints)), ports)

    def problems(self) -> dict[str, list[str]]:
        """As `Publishing.problems`. Blocks."""
        return self._publishing.problems()

    async def mend(self) -> None:
        """As `Publishing.mend`."""
        await self._publishing.mend()

    def settle(self) -> None:
        """All that run were adopted: what else the firewall has of an earlier life is dropped."""
        self._publishing.settle()

    def _targets(self, ways: Gateways) -> PortTargets:
        found = (e.network_id for e in (ways.ipv4, ways.ipv6) if e)
        networks = {network_id: self._networks.by_id(network_id) for network_id in found}
        return targets_of(ways, {key: network for key, network in networks.items() if network})

    def _binding(self, ways: Gateways) -> str:
        """The host's address for ports of which nobody says where: the network's."""
        way = ways.ipv4 or ways.ipv6
        network = self._networks.by_id(way.network_id) if way else None
        if network is None or network.driver != "bridge":
            return ANY_ADDRESS
        return parse_bridge_options(network.options).host_binding or ANY_ADDRESS


def _kind_of(targets: PortTargets) -> tuple[bool | None, bool | None]:
    """By version: whether ports are open at the container's own address; None leads nowhere."""
    four, six = targets.ipv4, targets.ipv6
    return four.is_routed if four else None, six.is_routed if six else None


def _leads_anywhere(targets: PortTargets) -> bool:
    return targets.ipv4 is not None or targets.ipv6 is not None
