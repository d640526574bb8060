"""The links of networks on the host, and which addresses in each network are free.

Whoever changes links has the networks' turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface, IPv6Interface

import msgspec
from loguru import logger

from services.errors import EngineError
from services.networks.catalog.catalog import NetworkCatalog
from services.networks.catalog.host_side import HostSide
from services.networks.ipam.addresses import NetworkAddresses
from services.networks.ipam.pools import Pool
from services.networks.kernel.host_links import address_of, addresses6_of, host_routes, link_names
from services.networks.model import Network, Subnet
from services.networks.planning.default_bridge import BridgeConfig, bridge_network, bridge_subnets

log = logger.bind(service="networks")


class NetworkLinks:
    """Made and taken away for the networks of a catalog; knows which of them could not be."""

    def __init__(self, catalog: NetworkCatalog, host: HostSide) -> None:
        self._catalog = catalog
        self._host = host
        self._broken: dict[str, str] = {}  # what kept a network's link from being made, by id
        self._addresses: dict[str, NetworkAddresses] = {}

    def is_broken(self, network_id: str) -> bool:
        """Whether the network's link could not be made the last time."""
        return network_id in self._broken

    def bridges(self) -> frozenset[str]:
        """The links of all networks that have a bridge, but those that could not be made."""
        return frozenset(
            network.link
            for network in self._catalog.present()
            if network.driver == "bridge" and network.link and network.id not in self._broken
        )

    # -- made and taken away --------------------------------------------------------------------

    async def make(self, network: Network) -> None:
        """As `HostSide.make`; a failure is remembered until it succeeds."""
        try:
            await self._host.make(network)
        except EngineError as error:
            self._broken[network.id] = str(error)
            raise
        self._broken.pop(network.id, None)

    async def unmake(self, network: Network) -> None:
        """Take a network's link away, unless another network has the same parent."""
        is_shared = any(
            other.link == network.link and other.id != network.id for other in self._catalog.all
        )
        await self._host.unmake(network, is_shared=is_shared)

    def forget(self, network_id: str) -> None:
        """The network is gone."""
        self._addresses.pop(network_id, None)
        self._broken.pop(network_id, None)

    async def make_lost(self) -> None:
        """Make bridges that are gone, with their rules; containers' links are not in them yet.

        Raises:
            EngineError: the kernel or the firewall refused.
        """
        there = await self._host.in_thread(link_names)
        lost = self.bridges() - there
        for network in self._catalog.present():
            if network.driver == "bridge" and network.link in lost:
                await self._host.make(network)
                log.warning("network's lost link made again", network=network.id)

    async def make_default(
        self, config: BridgeConfig, network_id: str, pools: Callable[[], Sequence[Pool]]
    ) -> None:
        """Make the default bridge, with the subnets that it has, or gets now."""
        network = bridge_network(config, network_id)

        def subnets() -> list[Subnet]:
            present: list[IPv4Interface | IPv6Interface] = [*addresses6_of(config.name)]
            if own := address_of(config.name):
                present.append(own)
            others = [s.prefix for n in self._catalog.all if n.id != network.id for s in n.subnets]
            routes = host_routes()
            return bridge_subnets(config, present=present, pools=pools(), taken=[*others, *routes])

        network = msgspec.structs.replace(network, subnets=await self._host.in_thread(subnets))
        await self._host.make(network)
        self._catalog.set(network)
        self.renew_addresses(network)

    # -- addresses ------------------------------------------------------------------------------

    def addresses(self, network: Network) -> NetworkAddresses:
        """Which addresses of a network are free."""
        found = self._addresses.get(network.id)
        if found is None:
            found = self._addresses[network.id] = NetworkAddresses(network)
        return found

    def renew_addresses(self, network: Network) -> None:
        """A new subnet needs a new pool; who has an address of the old one keeps it."""
        before = self._addresses.get(network.id)
        if before is None or before.subnets != network.subnets:
            self._addresses[network.id] = after = NetworkAddresses(network)
            for address in before.handed_out if before else ():
                after.take_if_free(address)
