"""What a service and its tasks get: published ports, virtual addresses, places in networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.cluster.allocator.claims import Claims
from services.cluster.allocator.ports import PortBook
from services.cluster.model.objects import (
    ClusterNetwork,
    Endpoint,
    NetworkAttachment,
    Service,
    VirtualIp,
)
from services.cluster.model.snapshot import Snapshot
from services.cluster.model.specs import EndpointSpec
from services.cluster.model.task_spec import NetworkAttachmentConfig, TaskSpec

OVERLAY: Final = "overlay"
_DEFAULT: Final = EndpointSpec()


def is_allocated(service: Service, snapshot: Snapshot) -> bool:
    """Whether a service has what its spec asks for now."""
    endpoint = service.endpoint
    if endpoint is None or endpoint.spec != service.spec.endpoint_spec:
        return False
    has = {vip.network_id for vip in endpoint.virtual_ips}
    return has == set(vip_networks(service, snapshot))


def endpoint_of(
    service: Service, snapshot: Snapshot, claims: Claims, ports: PortBook
) -> Endpoint | str:
    """What a service gets; what it has already it keeps. A text says why it cannot have it.

    The addresses are taken; the ports are not yet.
    """
    spec = service.spec.endpoint_spec or _DEFAULT
    before = service.endpoint or Endpoint()
    given = ports.allocate(service.id, spec.ports, before.ports)
    if isinstance(given, str):
        return given
    had = {vip.network_id: vip for vip in before.virtual_ips}
    vips: list[VirtualIp] = []
    for network_id in vip_networks(service, snapshot):
        vip = had.get(network_id)
        if vip is None:
            taken = _taken(network_id, snapshot, claims)
            if isinstance(taken, str):
                _give_back([one for one in vips if one.network_id not in had], claims)
                return taken
            vip = VirtualIp(network_id=network_id, addr=taken[0])
        vips.append(vip)
    return Endpoint(spec=service.spec.endpoint_spec, ports=given, virtual_ips=vips)


def vip_networks(service: Service, snapshot: Snapshot) -> list[str]:
    """The networks in which a service has a virtual address."""
    spec = service.spec.endpoint_spec or _DEFAULT
    if spec.mode == "dnsrr":
        return []
    configs = attachment_configs(service.spec.task_template, service, snapshot)
    found = []
    for config in configs:
        network = snapshot.networks.get(config.target)
        # One that is not there (yet) is waited for.
        if network is None or network.spec.driver == OVERLAY:
            found.append(config.target)
    return list(dict.fromkeys(found))


def attachment_configs(
    spec: TaskSpec, service: Service | None, snapshot: Snapshot
) -> list[NetworkAttachmentConfig]:
    """The networks of a task, the ingress one first where its service publishes ports there."""
    configs = list(spec.networks or (service.spec.networks if service is not None else []))
    ports = (service.spec.endpoint_spec or _DEFAULT).ports if service is not None else []
    if any(port.publish_mode == "ingress" for port in ports):
        ingress = ingress_of(snapshot)
        target = ingress.id if ingress is not None else "ingress"
        configs.insert(0, NetworkAttachmentConfig(target=target))
    return configs


def ingress_of(snapshot: Snapshot) -> ClusterNetwork | None:
    """The network that carries published ports."""
    return next((one for one in snapshot.networks.values() if one.spec.ingress), None)


def task_attachments(
    configs: Sequence[NetworkAttachmentConfig], snapshot: Snapshot, claims: Claims
) -> list[NetworkAttachment] | str:
    """A task's places in its networks. The addresses are taken. A text says why there are none."""
    attachments: list[NetworkAttachment] = []
    for config in configs:
        network = snapshot.networks.get(config.target)
        addresses: list[str] | str = []
        if network is None or network.spec.driver == OVERLAY:
            addresses = _taken(config.target, snapshot, claims, config.addresses)
        if isinstance(addresses, str):
            for one in attachments:
                for address in one.addresses:
                    claims.books[one.network_id].release(address)
            return addresses
        attachments.append(
            NetworkAttachment(
                network_id=config.target,
                addresses=addresses,
                aliases=config.aliases,
                driver_opts=config.driver_opts,
            )
        )
    return attachments


def _taken(
    network_id: str, snapshot: Snapshot, claims: Claims, asked: Sequence[str] = ()
) -> list[str] | str:
    network, book = snapshot.networks.get(network_id), claims.books.get(network_id)
    if network is None:
        return f"network {network_id} is not there"
    if book is None:
        return f"network {network.spec.name} has no subnet yet"
    if asked:
        wanted = book.take_asked(asked)
        return wanted or f"network {network.spec.name} cannot give {' and '.join(asked)}"
    return book.take() or f"network {network.spec.name} has no address left"


def _give_back(vips: Sequence[VirtualIp], claims: Claims) -> None:
    for vip in vips:
        claims.books[vip.network_id].release(vip.addr)
