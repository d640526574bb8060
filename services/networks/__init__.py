"""Networks: which a container can be in, its namespace, links and addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from services.networks.default_bridge import BridgeConfig as BridgeConfig
    from services.networks.drivers.bridge import HostSwitches as HostSwitches
    from services.networks.endpoints import Endpoint as Endpoint
    from services.networks.endpoints import EndpointRequest as EndpointRequest
    from services.networks.filters import NetworkFilters as NetworkFilters
    from services.networks.firewall import Firewall as Firewall
    from services.networks.ipam_request import SubnetRequest as SubnetRequest
    from services.networks.model import Network as Network
    from services.networks.network_rules import FirewallPolicy as FirewallPolicy
    from services.networks.networks import Networks as Networks
    from services.networks.plan import NetworkRequest as NetworkRequest
    from services.networks.pools import Pool as Pool
    from services.networks.port_plan import PortMeans as PortMeans
    from services.networks.ports import PortRequest as PortRequest
    from services.networks.ports import PublishedPort as PublishedPort
    from services.networks.proxy import UserlandProxy as UserlandProxy
    from services.networks.publishing import Publishing as Publishing
    from services.networks.records import MIGRATION as MIGRATION
    from services.networks.reservations import listens_on_ipv6 as listens_on_ipv6
    from services.networks.sandboxes import Sandbox as Sandbox
    from services.networks.sandboxes import Sandboxes as Sandboxes

__getattr__ = lazily.exports(
    __name__,
    {
        "default_bridge": "BridgeConfig",
        "drivers.bridge": "HostSwitches",
        "endpoints": "Endpoint EndpointRequest",
        "filters": "NetworkFilters",
        "firewall": "Firewall",
        "ipam_request": "SubnetRequest",
        "model": "Network",
        "network_rules": "FirewallPolicy",
        "networks": "Networks",
        "plan": "NetworkRequest",
        "pools": "Pool",
        "port_plan": "PortMeans",
        "ports": "PortRequest PublishedPort",
        "proxy": "UserlandProxy",
        "publishing": "Publishing",
        "records": "MIGRATION",
        "reservations": "listens_on_ipv6",
        "sandboxes": "Sandbox Sandboxes",
    },
)
