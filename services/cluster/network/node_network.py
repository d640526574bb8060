"""The networking of a node in a cluster: brought to what the managers say, again and again.

Each change, and each few seconds, everything is compared with what it should be: networks, who is
behind them, names, where services and ports lead. So nothing that was missed stays wrong, and what
could not be done is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.cluster.network.encryption import NodeEncryption
from services.cluster.network.ingress import IngressSandbox
from services.cluster.network.plan import NetworkPlan, NodePlan, Place, plan_node
from services.cluster.network.published import PublishedIngress, Publisher
from services.cluster.network.state import NodeNetworkState
from services.cluster.network.targets import is_no_container
from services.errors import EngineError, NotFound, single_error
from services.networks import Endpoint, Networks, Sandboxes
from services.networks.balancing import arrivals
from services.networks.balancing.balancer import Balancer
from services.networks.balancing.rules import INGRESS, SERVICES
from services.networks.dns import NameBook
from services.networks.drivers.overlay import sync_neighbours
from services.networks.firewall.network_rules import Target
from services.networks.model import GATEWAY_BRIDGE
from services.networks.nft.table_listing import Difference
from services.networks.sandboxes.gateway import gateway_request
from services.networks.sandboxes.ingress_record import INGRESS_SANDBOX

log = logger.bind(service="cluster")

INTERVAL_S: Final = 5.0
FOLLOW_LIMIT_S: Final = 5.0
END_LIMIT_S: Final = 5.0
LOOK_S: Final = 0.5
"""Between two looks whether a container is still sent connections."""


class NodeNetwork:
    """`run` is a supervised child. What was made outlives it, and the daemon.

    `record` and `overlays` are below exec-root: a file that tells of the ingress namespace, and
    where the namespaces of networks are held. `gateway_link` is the bridge that leads out.
    `is_ending`: whether the engine ends, and containers with it.
    """

    def __init__(
        self,
        *,
        networks: Networks,
        sandboxes: Sandboxes,
        publisher: Publisher,
        names: NameBook,
        overlays: Path,
        record: Path,
        gateway_link: str = GATEWAY_BRIDGE,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._networks = networks
        self._sandboxes = sandboxes
        self._names = names
        self._overlays = overlays
        self._gateway_link = gateway_link
        self._is_ending = is_ending
        self._ingress = IngressSandbox(sandboxes=sandboxes, record=record)
        self._published = PublishedIngress(publisher)
        self._balancer = Balancer()
        self._encryption = NodeEncryption()
        self._plan: NodePlan | None = None
        self._intended = 0  # how many states were intended
        self._reached = 0  # the number of the last one that was gone through
        self._problems: dict[str, str] = {}
        self._is_stale = trio.Event()
        self._progress = trio.Event()
        self._turn = trio.Lock()

    @property
    def problems(self) -> Mapping[str, str]:
        """What could not be done in the last round, as sentences, by what it is about.

        A network's id, `ingress`, `gateway`, `encryption`, a container's id, or port and protocol.
        """
        return self._problems

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the node's networking as it is intended, until cancelled.

        Raises:
            HelperLost: the balancer's helper has ended.
        """
        with single_error():
            async with trio.open_nursery() as nursery:
                await nursery.start(self._balancer.run)
                self._sandboxes.follow_overlays(self._follow)
                self._is_stale.set()
                task_status.started()
                try:
                    await self._keep()
                finally:
                    self._sandboxes.follow_overlays(None)
                    await self._end()

    def intend(self, state: NodeNetworkState) -> None:
        """Have it so from now on. What is not in the state goes, once nobody is in it."""
        self._plan = plan_node(state, self._plan)
        self._intended += 1
        self._is_stale.set()

    async def wait_settled(self) -> None:
        """Block until what is intended now was gone through once; `problems` tells how well."""
        number = self._intended
        while self._reached < number:
            await self._progress.wait()

    async def wait_network(self, network_id: str) -> None:
        """Block until a container can be in a network that is, or is going to be, intended.

        Raises:
            EngineError: it cannot be had here.
        """
        while True:
            await self.wait_settled()
            if network_id in self._problems:
                raise EngineError(self._problems[network_id])
            if self._plan is not None and network_id in self._plan.networks:
                return
            await self._progress.wait()

    async def clear(self) -> None:
        """Take away all that was made, but networks that somebody is in; whether `run` runs or not.

        From then on nothing is intended.
        """
        self._plan = None
        self._intended += 1
        async with self._turn:
            await self._converge(NodePlan(place=Place(), networks={}))
            self._problems = {}

    async def wait_unused(self, container_id: str, *, quiet_s: float, limit_s: float) -> None:
        """Block until nobody has begun a connection to a container for `quiet_s`; not for longer
        than `limit_s`.

        Other nodes hear of a task's end each in its own time: who still sends here shows.

        Raises:
            EngineError: it cannot be told; the container may be gone.
        """
        namespace = self._sandboxes.namespace(container_id, 0)
        with trio.move_on_after(limit_s):
            await self._balancer.run_inside(namespace, arrivals.BEGIN)
            before, quiet_at = 0, trio.current_time() + quiet_s
            while trio.current_time() < quiet_at:
                await trio.sleep(LOOK_S)
                count = arrivals.arrived(await self._balancer.run_inside(namespace, arrivals.ASK))
                if count != before:
                    before, quiet_at = count, trio.current_time() + quiet_s

    # -- for an audit ---------------------------------------------------------------------------

    async def differences(self) -> list[Difference]:
        """What is not as it is intended, now: what the next round finds, and what it could not do.

        Raises:
            EngineError: it cannot be told.
        """
        plan = self._plan
        if plan is None:
            return []
        found = [Difference(what=about, text=text) for about, text in self._problems.items()]
        for network_id, one in plan.networks.items():
            if not one.problem:
                found += await self._differences_of(network_id, one)
        if not await self._ingress.is_whole():
            found.append(Difference(what=INGRESS_SANDBOX, text="the ingress namespace lacks links"))
        return found

    async def mend(self) -> None:
        """Go through another round, now."""
        async with self._turn:
            if self._plan is not None:
                await self._converge(self._plan)

    async def _differences_of(self, network_id: str, plan: NetworkPlan) -> list[Difference]:
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

    # -- round by round -------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            with trio.move_on_after(INTERVAL_S):
                await self._is_stale.wait()
            self._is_stale = trio.Event()
            number, plan = self._intended, self._plan
            if plan is not None:  # else nobody knows yet: what is there stays
                async with self._turn:
                    if self._plan is not None:
                        await self._converge(plan)
            self._reached = number
            self._progress.set()
            self._progress = trio.Event()

    async def _converge(self, plan: NodePlan) -> None:
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
        for about, text in problems.items():
            if self._problems.get(about) != text:
                log.error("networking not as intended", about=about, error=text)
        self._problems = problems

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
                await self._lead(plan, container_id, namespace)
            if not self._sandboxes.endpoints(container_id):
                problems.pop(container_id, None)  # it has ended meanwhile

    async def _lead(self, plan: NodePlan, container_id: str, namespace: Path) -> None:
        endpoints = self._sandboxes.endpoints(container_id)
        targets = plan.services_in(endpoint.network_id for endpoint in endpoints)
        await self._balancer.lead(SERVICES, container_id, namespace, targets)

    async def _follow(self, container_id: str, namespace: Path) -> None:
        """A container has just got its links: services answer it before it begins."""
        self._balancer.forget(container_id)
        if self._plan is None or container_id == INGRESS_SANDBOX:
            return
        try:
            with trio.fail_after(FOLLOW_LIMIT_S):
                await self._lead(self._plan, container_id, namespace)
        except (EngineError, trio.TooSlowError) as error:  # the next round does it
            log.error("services not led yet", container=container_id, error=str(error))
            self._is_stale.set()

    async def _have_ingress(self, plan: NodePlan) -> dict[str, str]:
        ingress = plan.ingress
        if ingress is None or not ingress.own_address:
            await self._published.have((), None)
            if self._sandboxes.endpoints(INGRESS_SANDBOX):
                await self._ingress.drop()
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

    def _target_of(self, way_out: Endpoint) -> Target:
        bridge = self._networks.find(way_out.network_id).link
        return Target(bridge=bridge, address=IPv4Address(way_out.address))

    async def _end(self) -> None:
        """Ports of an engine that ends, and its containers with it, lead nowhere."""
        if self._is_ending():
            with trio.move_on_after(END_LIMIT_S, shield=True):
                await self._published.have((), None)
                if self._sandboxes.endpoints(INGRESS_SANDBOX):
                    await self._ingress.drop()
                await self._encryption.clear()


@contextmanager
def _noted(problems: dict[str, str], about: str) -> Iterator[None]:
    """What goes wrong in the block is a problem of one thing, and keeps nothing else back."""
    try:
        yield
    except EngineError as error:
        problems[about] = str(error)
    except OSError as error:
        problems[about] = f"the kernel refused: {error}"
