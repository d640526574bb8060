"""The networks service: its parts, each made once and handed what it needs of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.containers import ContainerTable
from services.events import EventBus
from services.networks import (
    BridgeConfig,
    Firewall,
    FirewallPolicy,
    HostSwitches,
    Networks,
    Pool,
    PortMeans,
    Publishing,
    Sandboxes,
    UserlandProxy,
    listens_on_ipv6,
)
from services.networks.helpers.ahead import HelperAhead
from services.store import Store
from supervisor.configuration.in_force import Current
from supervisor.configuration.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkParts:
    """What of the networks is somebody's child, or spoken to by others."""

    firewall: Firewall | None
    proxy: UserlandProxy | None
    networks: Networks
    sandboxes: Sandboxes
    publishing: Publishing


def build_networks(
    current: Current,
    *,
    store: Store,
    bus: EventBus,
    table: ContainerTable,
    engine_id: str,
    ends_containers: Callable[[], bool],
    ahead: HelperAhead | None = None,
) -> NetworkParts:
    """The networks, who is in them, and what leads ports to them.

    `ahead`: a helper of the firewall's that was started already.
    `ends_containers`: whether the daemon ends, and containers with it.
    """
    settings = current.settings()
    wanted = settings.network
    firewall = _firewall(settings, engine_id, ends_containers, ahead)
    proxy = UserlandProxy() if wanted.userland_proxy else None
    networks = Networks(
        store=store,
        events=bus,
        bridge=_bridge(settings),
        firewall=firewall,
        engine_id=engine_id,
        pools=partial(_pools, current),
        default_options=lambda: current.settings().network.default_options,
        switches=HostSwitches(forwards=wanted.ip_forward, local_routes=firewall is not None),
        container_name=partial(_container_name, table),
        overlays=settings.exec_root / "overlays",
        is_ending=ends_containers,
    )
    publishing = Publishing(
        firewall=firewall,
        proxy=proxy,
        means=PortMeans(
            has_firewall=firewall is not None,
            has_firewall6=firewall is not None and wanted.firewall6,
            has_proxy=proxy is not None,
            has_ipv6=listens_on_ipv6(),
        ),
    )
    sandboxes = Sandboxes(
        networks,
        publishing=publishing,
        netns_directory=settings.exec_root / "netns",
        overlays=settings.exec_root / "overlays",
        ingress_record=ingress_record(settings.exec_root),
    )
    return NetworkParts(
        firewall=firewall,
        proxy=proxy,
        networks=networks,
        sandboxes=sandboxes,
        publishing=publishing,
    )


def ingress_record(exec_root: Path) -> Path:
    """What tells the next daemon of the ingress namespace of a cluster's node."""
    return exec_root / "swarm" / "ingress.json"


def _pools(current: Current) -> tuple[Pool, ...]:
    return tuple(Pool(pool.base, pool.size) for pool in current.settings().network.pools)


def _firewall(
    settings: Settings,
    engine_id: str,
    ends_containers: Callable[[], bool],
    ahead: HelperAhead | None,
) -> Firewall | None:
    """Named after the default bridge; without one, after the engine."""
    network = settings.network
    if not network.firewall:
        return None
    name = engine_id[:8] if network.bridge == "none" else network.bridge or "docker0"
    policy = FirewallPolicy(
        allow_direct_routing=network.allow_direct_routing, accept_mark=network.accept_mark
    )
    return Firewall(
        table=f"wharfinger-{name}", policy=policy, is_ending=ends_containers, ahead=ahead
    )


def _bridge(settings: Settings) -> BridgeConfig | None:
    network = settings.network
    if network.bridge == "none":
        return None
    return BridgeConfig(
        name=network.bridge or "docker0",
        address=network.bridge_address,
        allowed=network.fixed_cidr,
        gateway=network.gateway,
        ipv6=network.ipv6,
        address6=network.bridge_address6,
        allowed6=network.fixed_cidr6,
        gateway6=network.gateway6,
        mtu=network.mtu,
        masquerade=network.ip_masquerade,
        icc=network.icc,
        host_binding=network.host_address,
    )


def _container_name(table: ContainerTable, container_id: str) -> str:
    container = table.get(container_id)
    return container.name if container is not None else container_id[:12]
