"""Networks: which a container can be in, its namespace, links and addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from services.networks.catalog.filters import NetworkFilters as NetworkFilters
    from services.networks.catalog.records import MIGRATION as MIGRATION
    from services.networks.drivers.bridge import HostSwitches as HostSwitches
    from services.networks.endpoints import Endpoint as Endpoint
    from services.networks.endpoints import EndpointRequest as EndpointRequest
    from services.networks.firewall.firewall import Firewall as Firewall
    from services.networks.firewall.network_rules import FirewallPolicy as FirewallPolicy
    from services.networks.ipam.pools import Pool as Pool
    from services.networks.ipam.request import SubnetRequest as SubnetRequest
    from services.networks.model import Network as Network
    from services.networks.networks import Networks as Networks
    from services.networks.planning.default_bridge import BridgeConfig as BridgeConfig
    from services.networks.planning.request import NetworkRequest as NetworkRequest
    from services.networks.ports import PortRequest as PortRequest
    from services.networks.ports import PublishedPort as PublishedPort
    from services.networks.published.port_plan import PortMeans as PortMeans
    from services.networks.published.proxy import UserlandProxy as UserlandProxy
    from services.networks.published.publishing import Publishing as Publishing
    from services.networks.published.reservations import listens_on_ipv6 as listens_on_ipv6
    from services.networks.sandboxes.sandboxes import Sandbox as Sandbox
    from services.networks.sandboxes.sandboxes import Sandboxes as Sandboxes

__getattr__ = lazily.exports(
    __name__,
    {
        "catalog.filters": "NetworkFilters",
        "catalog.records": "MIGRATION",
        "drivers.bridge": "HostSwitches",
        "endpoints": "Endpoint EndpointRequest",
        "firewall.firewall": "Firewall",
        "firewall.network_rules": "FirewallPolicy",
        "ipam.pools": "Pool",
        "ipam.request": "SubnetRequest",
        "model": "Network",
        "networks": "Networks",
        "planning.default_bridge": "BridgeConfig",
        "planning.request": "NetworkRequest",
        "ports": "PortRequest PublishedPort",
        "published.port_plan": "PortMeans",
        "published.proxy": "UserlandProxy",
        "published.publishing": "Publishing",
        "published.reservations": "listens_on_ipv6",
        "sandboxes.sandboxes": "Sandbox Sandboxes",
    },
)
