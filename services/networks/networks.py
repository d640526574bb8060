"""The networks of this engine: made, kept, removed. Who is in them is `sandboxes`' affair."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Final

import msgspec
import trio
from loguru import logger

from services.errors import (
    Conflict,
    EngineError,
    Forbidden,
    Unavailable,
)
from services.networks import ipvlan_options, model
from services.networks.catalog import EventSink, NetworkCatalog, Reader, event_of, network_event
from services.networks.default_bridge import BridgeConfig, bridge_network, bridge_subnets
from services.networks.drivers.bridge import HostSwitches
from services.networks.drivers.ipvlan import why_no_ipvlan
from services.networks.filters import NetworkFilters
from services.networks.firewall import Firewall
from services.networks.host_links import address_of, addresses6_of, host_routes, link_names
from services.networks.host_side import HostSide
from services.networks.ipam import NetworkAddresses
from services.networks.members import Members
from services.networks.model import Network, Stage
from services.networks.plan import NetworkRequest, Surroundings, plan_network
from services.networks.pools import DEFAULT_POOLS, Pool, with_unique_local

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
        self._broken: dict[str, str] = {}  # what kept a network's link from being made, by id
        self._addresses: dict[str, NetworkAddresses] = {}
        self.members = Members()
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
            await self._make_default_bridge(self._config)
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
        await self.wait_ready()
        async with self._changing:
            if self._catalog.is_name_taken(request.name) and request.name not in model.PREDEFINED:
                raise Conflict(f"network with name {request.name} already exists")
            around = await self._host.in_thread(partial(self._surroundings, request))
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
                    await self._host.unmake(network, is_shared=self._is_link_shared(network))
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
        return [network for network in self._catalog.present() if network.is_of_cluster]

    async def have_of_cluster(self, network: Network) -> None:
        """Have a network as the cluster has it now, on disk and with its links.

        One that could not be made is tried again by the next call.

        Raises:
            EngineError: the kernel refused, or it cannot be had here.
        """
        await self.wait_ready()
        async with self._changing:
            known = self._catalog.get(network.id)
            if known == network and network.id not in self._broken:
                return
            with trio.CancelScope(shield=True):
                if known != network:
                    await self._catalog.put(network)
                try:
                    await self._host.make(network)
                except EngineError as error:
                    self._broken[network.id] = str(error)
                    raise
                self._broken.pop(network.id, None)
                if known is None or known.subnets != network.subnets:
                    self._renew_addresses(network)

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
        """Hold no namespaces for networks that nobody is in; the next start makes them again."""
        with trio.move_on_after(END_LIMIT_S, shield=True):
            for network in self.of_cluster():
                if not self.members.is_used(network.id):
                    await self._host.unmake(network, is_shared=False)

    def bridges(self) -> frozenset[str]:
        """The links of all networks that have a bridge, but those that could not be made."""
        return frozenset(
            network.link
            for network in self._catalog.present()
            if network.driver == "bridge" and network.link and network.id not in self._broken
        )

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
        found = self._addresses.get(network.id)
        if found is None:
            found = self._addresses[network.id] = NetworkAddresses(network)
        return found

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
        if network.id in self._broken:
            async with self._changing:
                await self._host.make(network)
                self._broken.pop(network.id, None)

    async def mend_links(self) -> None:
        """Make bridges that are gone, with their rules; containers' links are not in them yet.

        Raises:
            EngineError: the kernel or the firewall refused.
        """
        async with self._changing:
            there = await self._host.in_thread(link_names)
            lost = self.bridges() - there
            for network in self._catalog.present():
                if network.driver == "bridge" and network.link in lost:
                    await self._host.make(network)
                    log.warning("network's lost link made again", network=network.id)

    # -- their links ----------------------------------------------------------------------------

    async def _make_default_bridge(self, config: BridgeConfig) -> None:
        network = bridge_network(config, self.network_id(model.BRIDGE))

        def subnets() -> list[model.Subnet]:
            present: list[IPv4Interface | IPv6Interface] = [*addresses6_of(config.name)]
            if own := address_of(config.name):
                present.append(own)
            others = [s.prefix for n in self._catalog.all if n.id != network.id for s in n.subnets]
            routes = host_routes()
            return bridge_subnets(
                config, present=present, pools=self._pools(), taken=[*others, *routes]
            )

        network = msgspec.structs.replace(network, subnets=await self._host.in_thread(subnets))
        await self._host.make(network)
        self._catalog.set(network)
        self._renew_addresses(network)

    def _renew_addresses(self, network: Network) -> None:
        """A new subnet needs a new pool."""
        before = self._addresses.get(network.id)
        if before is None or before.subnets != network.subnets:
            self._addresses[network.id] = after = NetworkAddresses(network)
            for address in before.handed_out if before else ():
                after.take_if_free(address)

    async def _restore(self, network: Network) -> None:
        """Bring a network to the end of what an earlier daemon had begun with it."""
        try:
            match network.stage:
                case Stage.PRESENT:
                    await self._host.make(network)
                case Stage.MAKING:
                    await self._host.unmake(network, is_shared=self._is_link_shared(network))
                    await self._catalog.delete(network)
                case Stage.REMOVING:
                    await self._finish_removal(network)
        except EngineError as error:
            self._broken[network.id] = str(error)
            log.error("network not restored", network=network.id, error=str(error))

    def _is_link_shared(self, network: Network) -> bool:
        """Whether another network has the same parent."""
        return any(
            other.link == network.link and other.id != network.id for other in self._catalog.all
        )

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
        await self._host.unmake(network, is_shared=self._is_link_shared(network))
        is_told = not network.config_only and not network.is_of_cluster
        events = (event_of(network, "destroy"),) if is_told else ()
        await self._catalog.delete(network, *events)
        self._addresses.pop(network.id, None)
        self._broken.pop(network.id, None)

    def _check_removable(self, network: Network) -> None:
        if network.is_predefined:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        if network.is_of_cluster:
            raise Forbidden(f"network {network.name} is the cluster's: remove it on a manager")
        if network.config_only:
            users = [n for n in self._catalog.all if n.config_from == network.name]
            if users:
                raise Forbidden(
                    f'error while removing network: configuration network "{network.name}" is in '
                    "use"
                )
        members = self.members.of(network.id)
        if members:
            shown = ", ".join(
                sorted(
                    f'name:"{self._container_name(container)}" id:"{endpoint[:12]}"'
                    for endpoint, container in members.items()
                )
            )
            raise Forbidden(
                f"error while removing network: network {network.name} has active endpoints "
                f"({shown})"
            )

    def _surroundings(self, request: NetworkRequest) -> Surroundings:
        why_not = ""
        if request.driver == "ipvlan":
            mode = request.options.get(ipvlan_options.MODE, "")
            why_not = why_no_ipvlan(ipvlan_options.MODES.get(mode, 0))
        return Surroundings(
            present=self._catalog.all,
            pools=self._pools(),
            routes=host_routes(),
            default_options=self._default_options(),
            links=link_names(),
            unusable_drivers={"ipvlan": why_not} if why_not else {},
        )
