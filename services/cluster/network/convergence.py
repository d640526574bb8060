"""One round of a node's networking: everything is brought to what a plan says.

What cannot be done is a problem of one thing, by what it is about, and keeps nothing else back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import trio
from loguru import logger

from services.cluster.network.encryption import NodeEncryption
from services.cluster.network.ingress import IngressSandbox
from services.cluster.network.plan import NetworkPlan, NodePlan
from services.cluster.network.published import PublishedIngress
from services.cluster.network.targets import is_no_container
from services.errors import EngineError, NotFound
from services.networks import Endpoint, Networks, Sandboxes
from services.networks.balancing.balancer import Balancer
from services.networks.balancing.rules import INGRESS, SERVICES
from services.networks.dns import NameBook
from services.networks.drivers.overlay import sync_neighbours
from services.networks.firewall.network_rules import Target
from services.networks.model import GATEWAY_BRIDGE
from services.networks.sandboxes.gateway import gateway_request
from services.networks.sandboxes.ingress_record import INGRESS_SANDBOX

log = logger.bind(service="cluster")


class Convergence:
    """`overlays`: where the namespaces of networks are held; `gateway_link`: the bridge that leads
    out."""

    def __init__(
        self,
        *,
        networks: Networks,
        sandboxes: Sandboxes,
        names: NameBook,
        balancer: Balancer,
        ingress: IngressSandbox,
        published: PublishedIngress,
        overlays: Path,
        gateway_link: str,
    ) -> None:
        self._networks = networks
        self._sandboxes = sandboxes
        self._names = names
        self._balancer = balancer
        self._ingress = ingress
        self._published = published
        self._overlays = overlays
        self._gateway_link = gateway_link
        self._encryption = NodeEncryption()

    async def converge(self, plan: NodePlan) -> Mapping[str, str]:
        """Have it as planned; what could not be done, as sentences."""
        problems: dict[str, str] = {}
        if plan.networks:
            with _noted(problems, "gateway"):
                await self._have_gateway()
        for network_id, one in plan.networks.items():
            with _noted(problems, network_id):
                await self._have_network(one)
                await self._have_links(one, problems)
        with _noted(problems, "encryption"):
            await self._encryption.have(plan)
        self._have_names(plan)
        await self._have_services(plan, problems)
        with _noted(problems, "ingress"):
            problems |= await self._have_ingress(plan)
        for network in self._networks.of_cluster():
            if network.id not in plan.networks:
                with _noted(problems, network.id):
                    await self._networks.drop_of_cluster(network.id)
        return problems

    async def lead(self, plan: NodePlan, container_id: str, namespace: Path) -> None:
        """Lead one container's connections to services. Raises EngineError."""
        endpoints = self._sandboxes.endpoints(container_id)
        targets = plan.services_in(endpoint.network_id for endpoint in endpoints)
        await self._balancer.lead(SERVICES, container_id, namespace, targets)

    async def end(self) -> None:
        """Take away what leads to services, and the encryption."""
        await self._drop_ingress()
        await self._encryption.clear()

    async def _have_gateway(self) -> None:
        await self._networks.wait_ready()
        try:
            self._networks.find(GATEWAY_BRIDGE)
        except NotFound:
            await self._networks.create(gateway_request(self._gateway_link))

    async def _have_network(self, plan: NetworkPlan) -> None:
        if plan.problem:
            raise EngineError(plan.problem)
        if plan.is_encrypted:
            await self._encryption.require(plan.network.name)
        await self._networks.have_of_cluster(plan.network)
        sync = partial(sync_neighbours, plan.network, self._overlays, plan.neighbours)
        try:
            changed = await trio.to_thread.run_sync(sync)
        except EngineError as error:
            log.warning("links of a network made again", network=plan.network.id, was=str(error))
            await self._networks.mend_of_cluster(plan.network)
            changed = await trio.to_thread.run_sync(sync)
        if changed:
            log.info("neighbours changed", network=plan.network.id, entries=changed)

    async def _have_links(self, plan: NetworkPlan, problems: dict[str, str]) -> None:
        """What somebody has taken away of containers' links is made again."""
        for container_id, endpoint in await self._sandboxes.without_link_in(plan.network):
            with _noted(problems, container_id):
                await self._sandboxes.mend_link(container_id, endpoint)
                log.warning(
                    "container's lost link made again",
                    container=container_id,
                    network=plan.network.id,
                )

    def _have_names(self, plan: NodePlan) -> None:
        """A change is seen by the next question; there is nothing that could fail."""
        wanted = {network_id: one.names for network_id, one in plan.networks.items()}
        present = self._names.endpoints()
        for network_id, before in present.items():
            for owner in filter(is_no_container, before.keys() - wanted.get(network_id, {}).keys()):
                self._names.remove(network_id, owner)
        for network_id, now in wanted.items():
            before = present.get(network_id, {})
            for owner, endpoint in now.items():
                if before.get(owner) != endpoint:
                    self._names.put(network_id, endpoint)

    async def _have_services(self, plan: NodePlan, problems: dict[str, str]) -> None:
        clients: dict[str, Path] = {}
        for network_id in plan.networks:
            clients |= self._sandboxes.in_network(network_id)
        self._balancer.forget_others([*clients, INGRESS_SANDBOX])
        for container_id, namespace in clients.items():
            if container_id == INGRESS_SANDBOX:
                continue
            with _noted(problems, container_id):
                await self.lead(plan, container_id, namespace)
            if not self._sandboxes.endpoints(container_id):
                problems.pop(container_id, None)  # it has ended meanwhile

    async def _have_ingress(self, plan: NodePlan) -> dict[str, str]:
        ingress = plan.ingress
        if ingress is None or not ingress.own_address:
            await self._drop_ingress()
            return {}
        if ingress.problem:
            return {}  # it is told of with its network
        way_out = await self._ingress.have(ingress.network, ingress.own_address)
        targets = {port.key: tasks for port, tasks in ingress.ports.items() if tasks}
        await self._balancer.lead(
            INGRESS,
            INGRESS_SANDBOX,
            self._ingress.namespace,
            targets,
            client=plan.place.node_id,
        )
        problems = await self._published.have(ingress.ports, self._target_of(way_out))
        await self._ingress.remember(self._published.ports)
        return {f"{port.number}/{port.protocol}": text for port, text in problems.items()}

    async def _drop_ingress(self) -> None:
        await self._published.have((), None)
        if self._sandboxes.endpoints(INGRESS_SANDBOX):
            await self._ingress.drop()

    def _target_of(self, way_out: Endpoint) -> Target:
        bridge = self._networks.find(way_out.network_id).link
        return Target(bridge=bridge, address=IPv4Address(way_out.address))


@contextmanager
def _noted(problems: dict[str, str], about: str) -> Iterator[None]:
    """What goes wrong in the block is a problem of one thing, and keeps nothing else back."""
    try:
        yield
    except EngineError as error:
        problems[about] = str(error)
    except OSError as error:
        problems[about] = f"the kernel refused: {error}"
