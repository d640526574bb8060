"""Where services' addresses and published ports lead, and what services are called. Pure.

Source: moby, daemon/libnetwork/agent.go and service_common.go (addServiceBinding, addSvcRecords).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address

from services.cluster.dispatcher.values import NetworkView, ServiceView
from services.cluster.network.state import backends_of, bare
from services.networks.dns import NamedEndpoint

PROTOCOLS = ("tcp", "udp", "sctp")


@dataclass(frozen=True, slots=True, order=True)
class IngressPort:
    """A port that every node publishes."""

    protocol: str
    number: int

    @property
    def key(self) -> str:
        """As the balancer has it."""
        return f"{self.protocol} . {self.number}"


def service_targets(view: NetworkView) -> dict[str, tuple[str, ...]]:
    """By a service's own address: its tasks'."""
    return {
        bare(service.vip): backends_of(service)
        for service in view.services
        if service.vip and ":" not in service.vip
    }


def port_targets(view: NetworkView) -> dict[IngressPort, tuple[str, ...]]:
    """By published port: addresses of tasks with the port that they listen on.

    Of two services that want one port the first has it; the managers let no second one have it.
    """
    found: dict[IngressPort, tuple[str, ...]] = {}
    for service in sorted(view.services, key=lambda service: service.id):
        for port in service.ports:
            published = IngressPort(port.protocol, port.published_port)
            is_meant = port.publish_mode == "ingress" and port.protocol in PROTOCOLS
            if is_meant and port.published_port and published not in found:
                found[published] = tuple(
                    f"{address} . {port.target_port}" for address in backends_of(service)
                )
    return found


def names(view: NetworkView) -> dict[str, NamedEndpoint]:
    """Who is called what in a network, by an owner that is no container's id.

    A service is called by its name and aliases: that is its own address, or its tasks' in turn.
    `tasks.NAME` is always its tasks. In the ingress network nobody is called anything.
    """
    network = view.network
    if network.spec.ingress:
        return {}
    found: dict[str, NamedEndpoint] = {}
    parsed = cache(ip_address)

    def add(
        owner: str, called: tuple[str, ...], addresses: tuple[str, ...], *, group: bool
    ) -> None:
        if called and addresses:
            found[owner] = NamedEndpoint(
                container_id=owner,
                network=network.name,
                names=called,
                addresses=tuple(parsed(bare(address)) for address in addresses),
                is_group=group,
            )

    for service in view.services:
        called, tasks = _called(service), backends_of(service)
        own = (service.vip,) if service.vip else tasks
        add(f"service:{service.id}", called, own, group=not service.vip)
        add(f"tasks:{service.id}", tuple(f"tasks.{one}" for one in called), tasks, group=True)
        for task in service.backends:
            add(f"task:{task.task_id}", (task.name,), (task.address,), group=False)
    for one in view.containers:
        called = tuple(dict.fromkeys(name for name in (one.name, *one.aliases) if name))
        add(f"task:{one.task_id}", called, (one.address,), group=False)
    return found


def is_no_container(owner: str) -> bool:
    """Whether an owner of names is one of `names`: containers' ids have no colon."""
    return ":" in owner


def _called(service: ServiceView) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for one in (service.name, *service.aliases) if one))
