"""Networks that span nodes: the cluster's, known here while this node is in them."""

from __future__ import annotations

import trio

from services.networks.catalog.catalog import NetworkCatalog
from services.networks.catalog.members import Members
from services.networks.catalog.network_links import NetworkLinks
from services.networks.model import Network


class ClusterNetworks:
    """Had as the cluster has them now, on disk and with their links. The caller has the turn."""

    def __init__(self, catalog: NetworkCatalog, links: NetworkLinks, members: Members) -> None:
        self._catalog = catalog
        self._links = links
        self._members = members

    def all(self) -> list[Network]:
        """Those that this node has."""
        return [network for network in self._catalog.present() if network.is_of_cluster]

    async def have(self, network: Network) -> None:
        """Have a network; one that could not be made is tried again by the next call.

        Raises:
            EngineError: the kernel refused, or it cannot be had here.
        """
        known = self._catalog.get(network.id)
        if known == network and not self._links.is_broken(network.id):
            return
        with trio.CancelScope(shield=True):
            if known != network:
                await self._catalog.put(network)
            await self._links.make(network)
            if known is None or known.subnets != network.subnets:
                self._links.renew_addresses(network)

    async def let_go(self) -> None:
        """Hold no namespaces for networks that nobody is in; the next start makes them again."""
        for network in self.all():
            if not self._members.is_used(network.id):
                await self._links.unmake(network)
