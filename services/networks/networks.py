"""Networks as containers see them: `none`, `host` and the default `bridge`.

What a container gets is decided first (`reserve`, no system call) and made true afterwards
(`connect`), so that the second runs while runc creates the container.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Final, TypeVar

import trio
from loguru import logger

from services.errors import (
    EngineError,
    InvalidParameter,
    NotFound,
    NotSupported,
    Unavailable,
)
from services.networks.bridge import (
    Attachment,
    Bridge,
    BridgeConfig,
    attach,
    detach,
    ensure_bridge,
    mac_of,
)
from services.networks.firewall import Firewall
from services.networks.ipam import AddressPool
from services.networks.netns import (
    drop_namespace,
    enter_namespace,
    held_namespaces,
    make_namespace,
)
from services.networks.network_rules import FamilyRules, NetworkRules, PortTargets, Target
from services.networks.ports import ANY_ADDRESS, PortRequest, PublishedPort
from services.networks.publishing import Publishing

_T = TypeVar("_T")

log = logger.bind(service="networks")

READY_LIMIT_S: Final = 5.0
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}\Z")
PREDEFINED: Final = ("bridge", "host", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One container's place in one network. Addresses are "" where the network has none."""

    network: str
    network_id: str
    endpoint_id: str
    address: str = ""
    prefix_length: int = 0
    gateway: str = ""
    mac_address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What a container gets: its endpoint, and the namespace that its task is to join.

    `netns` None leaves the namespace to the runtime: a new one (`none`), or the host's (`host`).
    """

    container_id: str
    endpoint: Endpoint
    netns: Path | None
    ports: tuple[PublishedPort, ...] = ()


class Networks:
    """The networks of this engine and who is in them.

    The bridge is made when its child starts; until then, and while that fails, only containers
    on the bridge have to wait.
    """

    def __init__(
        self,
        *,
        bridge: BridgeConfig | None,
        firewall: Firewall | None,
        publishing: Publishing,
        netns_directory: Path,
        engine_id: str,
    ) -> None:
        self._config = bridge
        self._firewall = firewall
        self._publishing = publishing
        self._directory = netns_directory
        self._engine_id = engine_id
        self._bridge: Bridge | None = None
        self._pool: AddressPool | None = None
        self._ready = trio.Event()
        self._adopted: set[IPv4Address] = set()
        self._threads = trio.CapacityLimiter(8)

    @property
    def has_bridge(self) -> bool:
        """Whether there is a default bridge (`--bridge none` has none)."""
        return self._config is not None

    @property
    def default_mode(self) -> str:
        """The network of a container that names none."""
        return "bridge" if self.has_bridge else "none"

    @property
    def bridge_config(self) -> BridgeConfig | None:
        """What was asked of the default bridge; None without one."""
        return self._config

    @property
    def bridge_address(self) -> IPv4Interface | None:
        """The bridge's own address with its subnet; None while it has none."""
        return self._bridge.address if self._bridge else None

    def network_id(self, name: str) -> str:
        """The id of a predefined network: the same for the life of this engine."""
        return hashlib.sha256(f"{self._engine_id}/{name}".encode()).hexdigest()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Make the default bridge and its way out, and keep them until cancelled."""
        config = self._config
        if config is not None:
            self._bridge = await self._in_thread(partial(ensure_bridge, config))
            self._keep_addresses(self._bridge, config)
            if self._firewall is not None:
                family = FamilyRules(
                    subnet=self._bridge.address.network, masquerade=config.masquerade
                )
                await self._firewall.set_network(NetworkRules(bridge=config.name, ipv4=family))
        self._ready.set()
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._ready = trio.Event()

    def check_mode(self, mode: str) -> None:
        """Refuse a mode that no container can have here. Raises as `reserve`."""
        if mode.startswith("container:"):
            raise NotSupported("joining another container's network is not supported yet")
        if mode not in PREDEFINED or (mode == "bridge" and not self.has_bridge):
            raise NotFound(f"network {mode} not found")

    async def reserve(
        self,
        container_id: str,
        mode: str,
        *,
        wanted_address: str = "",
        mac_address: str = "",
        ports: Sequence[PortRequest] = (),
        name: str = "",
    ) -> Sandbox:
        """Decide what a container gets in the network that `mode` names; `name` is for messages.

        Ports are published on the bridge only: in `none` and `host` there is nothing to do.

        Raises:
            NotFound: there is no such network.
            NotSupported: a kind of network that is not offered yet.
            InvalidParameter, Conflict: the address cannot be had.
            Unavailable: the bridge is not up.
            EngineError: a port is taken.
        """
        network = self.default_mode if mode in ("", "default") else mode
        self.check_mode(network)
        endpoint_id = secrets.token_hex(32)
        if network in ("none", "host"):
            endpoint = Endpoint(
                network=network, network_id=self.network_id(network), endpoint_id=endpoint_id
            )
            return Sandbox(container_id=container_id, endpoint=endpoint, netns=None)
        mac = _checked_mac(mac_address)
        bridge, pool = await self._when_ready()
        address = self._take(pool, wanted_address)
        endpoint = Endpoint(
            network=network,
            network_id=self.network_id(network),
            endpoint_id=endpoint_id,
            address=str(address),
            prefix_length=bridge.address.network.prefixlen,
            gateway=str(self._gateway(bridge)),
            mac_address=mac or mac_of(address).hex(":"),
        )
        try:
            published = await self._publishing.reserve(
                container_id,
                self._targets(str(address)),
                ports,
                default_address=self._config.host_address if self._config else ANY_ADDRESS,
            )
        except BaseException as error:
            pool.give_back(address)
            if isinstance(error, EngineError):
                raise type(error)(
                    "failed to set up container networking: driver failed programming external "
                    f"connectivity on endpoint {name} ({endpoint_id}): {error}"
                ) from error
            raise
        return Sandbox(
            container_id=container_id,
            endpoint=endpoint,
            netns=self._directory / container_id,
            ports=published,
        )

    async def connect(
        self, sandbox: Sandbox, has_namespace: Callable[[], None] = lambda: None
    ) -> None:
        """Make the namespace and its links. For `none` and `host` there is nothing to do.

        `has_namespace` is called as soon as a task can join the namespace, before it has links.
        What a failure leaves is the namespace, which `release` drops.
        """
        if sandbox.netns is None:
            has_namespace()
            return
        bridge, _ = await self._when_ready()
        endpoint = sandbox.endpoint
        assert self._config is not None
        attachment = Attachment(
            address=IPv4Interface(f"{endpoint.address}/{endpoint.prefix_length}"),
            gateway=IPv4Address(endpoint.gateway),
            mac=bytes.fromhex(endpoint.mac_address.replace(":", "")),
            mtu=self._config.mtu,
        )
        inside = await self._in_thread(partial(make_namespace, sandbox.netns))
        with inside:
            has_namespace()
            await self._in_thread(partial(attach, bridge, inside, attachment))
        await self._publishing.publish(sandbox.container_id)

    async def release(
        self, container_id: str, address: str, *, held_by_others: bool = False
    ) -> None:
        """Drop a container's namespace, if it has one, and let others have its address.

        `held_by_others`: other containers may be in the namespace and keep it. Its link is taken
        away, or it would go on using the address.
        """
        await self.release_ports(container_id)
        path = self._directory / container_id
        if held_by_others:
            await self._in_thread(partial(unplug, path))
        await self._in_thread(partial(drop_namespace, path))
        if address and self._pool is not None:
            self._pool.give_back(IPv4Address(address))

    async def release_ports(self, container_id: str) -> None:
        """Let others have a container's ports, if it has any."""
        await self._publishing.release(container_id)

    def adopt(self, container_id: str, address: str, ports: Sequence[PublishedPort] = ()) -> None:
        """A container found running has this address and these ports; `settle` is to follow."""
        if not address:
            return
        self._publishing.adopt(container_id, self._targets(address), ports)
        self._adopted.add(IPv4Address(address))
        if self._pool is not None:
            self._pool.take_if_free(IPv4Address(address))

    def settle(self) -> None:
        """All that run were adopted: what else the firewall has of an earlier life is dropped."""
        self._publishing.settle()

    async def held(self) -> list[str]:
        """The ids of the containers that have a namespace here, alive or not."""
        return await self._in_thread(partial(held_namespaces, self._directory))

    def _targets(self, address: str) -> PortTargets:
        assert self._config is not None
        target = Target(bridge=self._config.name, address=IPv4Address(address))
        return PortTargets(ipv4=target)

    def _gateway(self, bridge: Bridge) -> IPv4Address:
        assert self._config is not None
        return self._config.gateway or bridge.address.ip

    def _keep_addresses(self, bridge: Bridge, config: BridgeConfig) -> None:
        """One pool for the life of the engine, whatever restarts; a new subnet needs a new one."""
        if self._pool is None or self._pool.subnet != bridge.address.network:
            self._pool = AddressPool(
                bridge.address.network, gateway=bridge.address.ip, allowed=config.allowed
            )
            for address in self._adopted:
                self._pool.take_if_free(address)

    def _take(self, pool: AddressPool, wanted: str) -> IPv4Address:
        if not wanted:
            return pool.take_free()
        try:
            address = IPv4Address(wanted)
        except ValueError:
            raise InvalidParameter(f"invalid IPv4 address: {wanted}") from None
        pool.take(address)
        return address

    async def _when_ready(self) -> tuple[Bridge, AddressPool]:
        with trio.move_on_after(READY_LIMIT_S):
            await self._ready.wait()
        if self._bridge is None or self._pool is None or not self._ready.is_set():
            raise Unavailable("the bridge network is not up; try again")
        return self._bridge, self._pool

    async def _in_thread(self, call: partial[_T]) -> _T:
        return await trio.to_thread.run_sync(call, limiter=self._threads)


def unplug(namespace: Path) -> None:
    """Take the link out of a namespace that may have one. Blocks for about 30 ms."""
    inside = enter_namespace(namespace)
    if inside is not None:
        with inside:
            detach(inside)


def _checked_mac(text: str) -> str:
    """The address in Docker's spelling, "" for none.

    Raises:
        InvalidParameter: it is none.
    """
    if text and not _MAC.match(text):
        raise InvalidParameter(f"invalid MAC address: {text}")
    return text.lower().replace("-", ":")
