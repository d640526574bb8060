"""The networks of this engine: made, kept, removed. Who is in them is `sandboxes`' affair."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from loguru import logger

from services.errors import Conflict, EngineError, Unavailable
from services.networks import model
from services.networks.catalog.catalog import (
    EventSink,
    NetworkCatalog,
    Reader,
    event_of,
    network_event,
)
from services.networks.catalog.cluster_networks import ClusterNetworks
from services.networks.catalog.host_side import HostSide
from services.networks.catalog.members import Members
from services.networks.catalog.network_links import NetworkLinks
from services.networks.catalog.removable import check_removable
from services.networks.drivers.bridge import HostSwitches
from services.networks.firewall.firewall import Firewall
from services.networks.ipam.addresses import NetworkAddresses
from services.networks.ipam.pools import DEFAULT_POOLS, Pool, with_unique_local
from services.networks.model import Network, Stage
from services.networks.planning.default_bridge import BridgeConfig, bridge_network

if TYPE_CHECKING:
    from services.networks.catalog.filters import NetworkFilters
    from services.networks.planning.request import NetworkRequest

log = logger.bind(service="networks")

READY_LIMIT_S: Final = 5.0
END_LIMIT_S: Final = 5.0


class Networks:
    """`run` is a supervised child. Until it has made the networks' links, whoever needs one waits.

    `container_name` tells what a container (id) is called, for messages.
    """

    def __init__(
        self,
        *,
        store: Reader,
        events: EventSink,
        bridge: BridgeConfig | None,
        firewall: Firewall | None,
        engine_id: str,
        pools: Callable[[], Sequence[Pool]] = tuple,
        default_options: Callable[[], Mapping[str, Mapping[str, str]]] = dict,
        switches: HostSwitches | None = None,
        container_name: Callable[[str], str] = lambda container_id: container_id[:12],
        overlays: Path | None = None,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        """`pools` (none: the built-in ones) and `default_options` are asked for each new one.

        In `overlays` the namespaces of networks that span nodes are held; None: there are none.
        `is_ending`: whether an end of this part is one of the engine and its containers.
        """
        self._catalog = NetworkCatalog(store=store, events=events)
        self._config = bridge
        self._host = HostSide(
            firewall=firewall, switches=switches or HostSwitches(), overlays=overlays
        )
        self._engine_id = engine_id
        self._wanted_pools = pools
        self._default_options = default_options
        self._container_name = container_name
        self._is_ending = is_ending
        self._ready = trio.Event()
        self._changing = trio.Lock()
        self._is_pruning = False
        self._links = NetworkLinks(self._catalog, self._host)
        self.members = Members()
        self._cluster = ClusterNetworks(self._catalog, self._links, self.members)
        if bridge is not None:
            self._catalog.set(bridge_network(bridge, self.network_id(model.BRIDGE)))
        for name, driver in ((model.HOST, "host"), (model.NONE, "null")):
            self._catalog.set(
                Network(id=self.network_id(name), name=name, driver=driver, ipv4=False)
            )

    def _pools(self) -> Sequence[Pool]:
        return with_unique_local(self._wanted_pools() or DEFAULT_POOLS, self._engine_id)

    @property
    def has_bridge(self) -> bool:
        """Whether there is a default bridge (`--bridge none` has none)."""
        return self._config is not None

    @property
    def default_mode(self) -> str:
        """The network of a container that names none."""
        return model.BRIDGE if self.has_bridge else model.NONE

    def network_id(self, name: str) -> str:
        """The id of a predefined network: the same for the life of this engine."""
        return hashlib.sha256(f"{self._engine_id}/{name}".encode()).hexdigest()

    @property
    def bridge_addresses(self) -> list[str]:
        """The default bridge's own addresses; none until it is up."""
        bridge = self._catalog.get(self.network_id(model.BRIDGE))
        return [subnet.gateway for subnet in bridge.subnets] if bridge else []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Make the links of all networks and their rules, and keep them until cancelled."""
        await self._catalog.load()
        if self._config is not None:
            await self._links.make_default(self._config, self.network_id(model.BRIDGE), self._pools)
        async with self._changing:
            for network in self._catalog.all:
                if not network.is_predefined:
                    await self._restore(network)
            await self._host.reclaim([network.id for network in self._catalog.all])
        self._ready.set()
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._ready = trio.Event()
            if self._is_ending():
                await self._let_go_of_cluster()

    async def load(self) -> None:
        """Know the networks; their links may not be there yet. Once is enough."""
        await self._catalog.load()

    # -- what clients ask for -------------------------------------------------------------------

    async def select(self, filters: NetworkFilters) -> list[Network]:
        """The networks that `filters` let through. Source: Engine API, NetworkList."""
        await self._catalog.wait_loaded()
        return [n for n in self._catalog.present() if filters.choose(n, self.members.is_used(n.id))]

    async def get(self, ref: str) -> Network:
        """One network. Raises as `find`, and Unavailable."""
        await self._catalog.wait_loaded()
        return self._catalog.find(ref)

    async def create(self, request: NetworkRequest) -> Network:
        """Make a network. Source: Engine API, NetworkCreate.

        Raises:
            InvalidParameter, Forbidden, NotFound: there can be no such network.
            Conflict: somebody has the name.
            EngineError: the kernel refused.
        """
        from services.networks.planning.plan import plan_network

        await self.wait_ready()
        async with self._changing:
            if self._catalog.is_name_taken(request.name) and request.name not in model.PREDEFINED:
                raise Conflict(f"network with name {request.name} already exists")
            around = await self._host.surroundings(
                request,
                present=self._catalog.all,
                pools=self._pools(),
                default_options=self._default_options(),
            )
            network = plan_network(
                request, around, network_id=secrets.token_hex(32), now_ns=time.time_ns()
            )
            # A client that leaves in the middle must not leave half a network.
            with trio.CancelScope(shield=True):
                await self._catalog.put(network)
                try:
                    await self._host.make(network)
                    network = await self._catalog.move(
                        network, Stage.PRESENT, event_of(network, "create")
                    )
                except BaseException:
                    await self._links.unmake(network)
                    await self._catalog.delete(network)
                    raise
        log.info("network made", network=network.id, name=network.name, driver=network.driver)
        return network

    async def remove(self, ref: str) -> None:
        """Remove a network that nobody is in. Source: Engine API, NetworkDelete.

        Raises:
            NotFound, InvalidParameter: as `find`.
            Forbidden: it is predefined, or in use.
        """
        await self.wait_ready()
        async with self._changing:
            await self._remove(self._catalog.find(ref))

    async def prune(self, filters: NetworkFilters) -> list[str]:
        """Remove what nobody is in; their names. Source: Engine API, NetworkPrune.

        Raises:
            Conflict: another prune is at work.
        """
        await self.wait_ready()
        if self._is_pruning:
            raise Conflict("a prune operation is already running")
        self._is_pruning = True
        names: list[str] = []
        try:
            for network in self._catalog.present():
                is_wanted = filters.choose(network, self.members.is_used(network.id))
                if network.is_predefined or network.config_only or not is_wanted:
                    continue
                if network.is_of_cluster:
                    continue
                async with self._changing:
                    try:
                        await self._remove(self._catalog.find(network.id))
                    except EngineError as error:  # somebody was quicker, or came in
                        log.info("network not pruned", network=network.id, error=str(error))
                        continue
                names.append(network.name)
        finally:
            self._is_pruning = False
        await self._catalog.tell(network_event("prune", "", {"reclaimed": "0"}))
        return names

    # -- networks that span nodes: the cluster's, known here while this node is in them ----------

    def of_cluster(self) -> list[Network]:
        """Those that this node has."""
        return self._cluster.all()

    async def have_of_cluster(self, network: Network) -> None:
        """As `ClusterNetworks.have`."""
        await self.wait_ready()
        async with self._changing:
            await self._cluster.have(network)

    async def mend_of_cluster(self, network: Network) -> None:
        """Make what is missing of a network's links, which somebody has taken away.

        Raises:
            EngineError: the kernel refused.
        """
        async with self._changing:
            await self._host.make(network)

    async def drop_of_cluster(self, network_id: str) -> bool:
        """Have a network no more; False while somebody is in it."""
        await self.wait_ready()
        async with self._changing:
            network = self._catalog.get(network_id)
            if network is None:
                return True
            if self.members.is_used(network_id):
                return False
            with trio.CancelScope(shield=True):
                going = await self._catalog.move(network, Stage.REMOVING)
                await self._finish_removal(going)
        return True

    async def _let_go_of_cluster(self) -> None:
        with trio.move_on_after(END_LIMIT_S, shield=True):
            await self._cluster.let_go()

    def bridges(self) -> frozenset[str]:
        """The links of all networks that have a bridge, but those that could not be made."""
        return self._links.bridges()

    # -- for who is in them ---------------------------------------------------------------------

    def find(self, ref: str) -> Network:
        """By id, name or a beginning of its id. Raises NotFound and InvalidParameter."""
        return self._catalog.find(ref)

    def by_id(self, network_id: str) -> Network | None:
        """The network with exactly this id."""
        return self._catalog.get(network_id)

    def link_of(self, network_id: str) -> str:
        """The link of a network on the host; "" without one, or without such a network."""
        network = self._catalog.get(network_id)
        return network.link if network is not None else ""

    def addresses(self, network: Network) -> NetworkAddresses:
        """Which addresses of a network are free."""
        return self._links.addresses(network)

    async def wait_ready(self) -> None:
        """Raises Unavailable if the networks' links are not there within 5 s."""
        with trio.move_on_after(READY_LIMIT_S):
            await self._ready.wait()
        if not self._ready.is_set():
            raise Unavailable("the networks are not up; try again")

    async def mend(self, network: Network) -> None:
        """Have the link of a network that could not be made when the engine started.

        Raises:
            EngineError: it still cannot.
        """
        if self._links.is_broken(network.id):
            async with self._changing:
                await self._links.make(network)

    async def mend_links(self) -> None:
        """Make bridges that are gone, with their rules; containers' links are not in them yet.

        Raises:
            EngineError: the kernel or the firewall refused.
        """
        async with self._changing:
            await self._links.make_lost()

    # -- their links ----------------------------------------------------------------------------

    async def _restore(self, network: Network) -> None:
        """Bring a network to the end of what an earlier daemon had begun with it."""
        try:
            match network.stage:
                case Stage.PRESENT:
                    await self._links.make(network)
                case Stage.MAKING:
                    await self._links.unmake(network)
                    await self._catalog.delete(network)
                case Stage.REMOVING:
                    await self._finish_removal(network)
        except EngineError as error:
            log.error("network not restored", network=network.id, error=str(error))

    async def _remove(self, network: Network) -> None:
        self._check_removable(network)
        with trio.CancelScope(shield=True):
            going = await self._catalog.move(network, Stage.REMOVING)
            if self.members.is_used(network.id):  # somebody came in while that was written
                await self._catalog.move(network, Stage.PRESENT)
                self._check_removable(network)
            await self._finish_removal(going)
        log.info("network removed", network=network.id, name=network.name)

    async def _finish_removal(self, network: Network) -> None:
        await self._links.unmake(network)
        is_told = not network.config_only and not network.is_of_cluster
        events = (event_of(network, "destroy"),) if is_told else ()
        await self._catalog.delete(network, *events)
        self._links.forget(network.id)

    def _check_removable(self, network: Network) -> None:
        check_removable(
            network,
            others=self._catalog.all,
            members=self.members.of(network.id),
            container_name=self._container_name,
        )
