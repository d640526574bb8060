"""The networking of a node in a cluster: brought to what the managers say, again and again.

Each change, and each few seconds, everything is compared with what it should be: networks, who is
behind them, names, where services and ports lead. So nothing that was missed stays wrong, and what
could not be done is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import trio
from loguru import logger

from services.cluster.network.convergence import Convergence
from services.cluster.network.differences import Differences
from services.cluster.network.ingress import IngressSandbox
from services.cluster.network.plan import NodePlan, Place, plan_node
from services.cluster.network.published import PublishedIngress, Publisher
from services.cluster.network.state import NodeNetworkState
from services.errors import EngineError, single_error
from services.networks import Networks, Sandboxes
from services.networks.balancing import arrivals
from services.networks.balancing.balancer import Balancer
from services.networks.dns import NameBook
from services.networks.model import GATEWAY_BRIDGE
from services.networks.nft.table_listing import Difference
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
        self._sandboxes = sandboxes
        self._is_ending = is_ending
        self._balancer = Balancer()
        ingress = IngressSandbox(sandboxes=sandboxes, record=record)
        self._convergence = Convergence(
            networks=networks,
            sandboxes=sandboxes,
            names=names,
            balancer=self._balancer,
            ingress=ingress,
            published=PublishedIngress(publisher),
            overlays=overlays,
            gateway_link=gateway_link,
        )
        self._differences = Differences(
            sandboxes=sandboxes, balancer=self._balancer, ingress=ingress, overlays=overlays
        )
        self._plan: NodePlan | None = None
        self._intended = 0  # how many states were intended
        self._reached = 0  # the number of the last one that was gone through
        self._problems: Mapping[str, str] = {}
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
        return found + await self._differences.of(plan)

    async def mend(self) -> None:
        """Go through another round, now."""
        async with self._turn:
            if self._plan is not None:
                await self._converge(self._plan)

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
        problems = await self._convergence.converge(plan)
        for about, text in problems.items():
            if self._problems.get(about) != text:
                log.error("networking not as intended", about=about, error=text)
        self._problems = problems

    async def _follow(self, container_id: str, namespace: Path) -> None:
        """A container has just got its links: services answer it before it begins."""
        self._balancer.forget(container_id)
        if self._plan is None or container_id == INGRESS_SANDBOX:
            return
        try:
            with trio.fail_after(FOLLOW_LIMIT_S):
                await self._convergence.lead(self._plan, container_id, namespace)
        except (EngineError, trio.TooSlowError) as error:  # the next round does it
            log.error("services not led yet", container=container_id, error=str(error))
            self._is_stale.set()

    async def _end(self) -> None:
        """Ports of an engine that ends, and its containers with it, lead nowhere."""
        if self._is_ending():
            with trio.move_on_after(END_LIMIT_S, shield=True):
                await self._convergence.end()
