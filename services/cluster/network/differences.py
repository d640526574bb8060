"""What of a node's networking is not as it is planned: read for an audit, and not mended."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from services.cluster.network.ingress import IngressSandbox
from services.cluster.network.plan import NetworkPlan, NodePlan
from services.errors import EngineError
from services.networks import Sandboxes
from services.networks.balancing.balancer import Balancer
from services.networks.balancing.rules import INGRESS, SERVICES
from services.networks.drivers.overlay import sync_neighbours
from services.networks.nft.table_listing import Difference
from services.networks.sandboxes.ingress_record import INGRESS_SANDBOX


class Differences:
    """`overlays`: where the namespaces of networks are held."""

    def __init__(
        self, *, sandboxes: Sandboxes, balancer: Balancer, ingress: IngressSandbox, overlays: Path
    ) -> None:
        self._sandboxes = sandboxes
        self._balancer = balancer
        self._ingress = ingress
        self._overlays = overlays

    async def of(self, plan: NodePlan) -> list[Difference]:
        """What is not as planned, now.

        Raises:
            EngineError: it cannot be told.
        """
        found: list[Difference] = []
        for network_id, one in plan.networks.items():
            if not one.problem:
                found += await self._of_network(network_id, one)
        if not await self._ingress.is_whole():
            found.append(Difference(what=INGRESS_SANDBOX, text="the ingress namespace lacks links"))
        return found

    async def _of_network(self, network_id: str, plan: NetworkPlan) -> list[Difference]:
        sync = partial(sync_neighbours, plan.network, self._overlays, plan.neighbours, mends=False)
        try:
            wrong = await trio.to_thread.run_sync(sync)
            lost = await self._sandboxes.without_link_in(plan.network)
        except (EngineError, OSError) as error:
            return [Difference(what=network_id, text=str(error))]
        found = [
            Difference(what=container_id, text=f"its link in network {plan.network.name} is lost")
            for container_id, _ in lost
        ]
        if wrong:
            text = f"{wrong} entries of network {plan.network.name} lead elsewhere, or nowhere"
            found.append(Difference(what=network_id, text=text))
        return found + await self._of_rules(network_id)

    async def _of_rules(self, network_id: str) -> list[Difference]:
        """Rules that lead to services, in the namespaces of a network's containers."""
        found = []
        for container_id, namespace in self._sandboxes.in_network(network_id).items():
            kind = INGRESS if container_id == INGRESS_SANDBOX else SERVICES
            try:
                is_changed = await self._balancer.is_changed(kind, container_id, namespace)
            except EngineError as error:
                found.append(Difference(what=container_id, text=str(error)))
                continue
            if is_changed:
                text = "somebody has changed rules in its namespace, which lead to services"
                found.append(Difference(what=container_id, text=text))
        return found
