"""Networks: which a container can be in, its namespace, links and addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services import lazily

if TYPE_CHECKING:
    from services.networks.bridge import BridgeConfig as BridgeConfig
    from services.networks.firewall import Firewall as Firewall
    from services.networks.network_rules import FirewallPolicy as FirewallPolicy
    from services.networks.networks import Endpoint as Endpoint
    from services.networks.networks import Networks as Networks
    from services.networks.networks import Sandbox as Sandbox
    from services.networks.port_plan import PortMeans as PortMeans
    from services.networks.ports import PortRequest as PortRequest
    from services.networks.ports import PublishedPort as PublishedPort
    from services.networks.proxy import UserlandProxy as UserlandProxy
    from services.networks.publishing import Publishing as Publishing
    from services.networks.reservations import listens_on_ipv6 as listens_on_ipv6

__getattr__ = lazily.exports(
    __name__,
    {
        "bridge": "BridgeConfig",
        "firewall": "Firewall",
        "network_rules": "FirewallPolicy",
        "networks": "Endpoint Networks Sandbox",
        "port_plan": "PortMeans",
        "ports": "PortRequest PublishedPort",
        "proxy": "UserlandProxy",
        "publishing": "Publishing",
        "reservations": "listens_on_ipv6",
    },
)
