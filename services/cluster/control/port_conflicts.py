"""Whether the ports that a service wants to publish are another's already. Pure.

Source: swarmkit, manager/controlapi/service.go, checkPortConflicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.cluster.control.refusals import invalid
from services.cluster.model.objects import Service
from services.cluster.model.specs import PortConfig, ServiceSpec
from services.errors import InvalidParameter

PortKey = tuple[str, int]


def check_ports(spec: ServiceSpec, others: Iterable[Service]) -> None:
    """`others` are all services but the one that is changed.

    A port in host mode may be several services': then the scheduler sees to it.

    Raises:
        InvalidParameter: naming the service that has the port.
    """
    wanted = spec.endpoint_spec.ports if spec.endpoint_spec else []
    ingress = {_key(port) for port in wanted if port.published_port and not _is_host(port)}
    host = {_key(port) for port in wanted if port.published_port and _is_host(port)}
    if not ingress and not host:
        return
    for service in others:
        for port in _published(service):
            if _is_host(port) and _key(port) in ingress:
                raise _taken(port, service, "a host-published port")
            if not _is_host(port) and _key(port) in ingress | host:
                raise _taken(port, service, "an ingress port")


def _published(service: Service) -> Iterator[PortConfig]:
    """What it asked for, and what it was given."""
    asked = service.spec.endpoint_spec.ports if service.spec.endpoint_spec else []
    given = service.endpoint.ports if service.endpoint else []
    return (port for port in (*asked, *given) if port.published_port)


def _key(port: PortConfig) -> PortKey:
    return port.protocol, port.published_port


def _is_host(port: PortConfig) -> bool:
    return port.publish_mode == "host"


def _taken(port: PortConfig, service: Service, how: str) -> InvalidParameter:
    return invalid(
        f"port '{port.published_port}' is already in use by service '{service.name}' "
        f"({service.id}) as {how}"
    )
