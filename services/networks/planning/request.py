"""What is asked of a network, and what it must agree with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from services.networks.ipam.pools import Pool
from services.networks.ipam.request import SubnetRequest
from services.networks.model import Network, Prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRequest:
    """What POST /networks/create asks for. None: nothing was said."""

    name: str
    driver: str = ""
    scope: str = ""
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: str = ""
    ipv4: bool | None = None
    ipv6: bool | None = None
    ipam_driver: str = ""
    ipam_options: Mapping[str, str] | None = None
    subnets: tuple[SubnetRequest, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a new network must agree with.

    `default_options` are the daemon's for new networks, by driver.
    """

    present: Sequence[Network]
    pools: Sequence[Pool]
    routes: Sequence[Prefix]
    default_options: Mapping[str, Mapping[str, str]]
    links: Collection[str] = ()
    unusable_drivers: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefixes(self) -> list[Prefix]:
        """The subnets of all networks that have addresses."""
        return [
            subnet.prefix
            for network in self.present
            if not network.config_only
            for subnet in network.subnets
        ]
