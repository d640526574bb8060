"""Networks of swarm scope on the wire, and as the values that networks' filters know.

Source: Engine API, schemas Network, NetworkAttachment; moby, daemon/cluster/convert/network.go.
"""

from __future__ import annotations

from typing import Any

from services.api.types.cluster.wire import meta_to_wire
from services.api.types.networks import network_to_wire
from services.cluster.model.objects import ClusterNetwork, Node
from services.cluster.model.specs import IpamRange, NetworkSpec
from services.networks import Network, NetworkRequest
from services.networks.model import Subnet

VXLAN_IDS = "com.docker.network.driver.overlay.vxlanid_list"


def cluster_network_to_wire(network: ClusterNetwork) -> dict[str, Any]:
    """One element of GET /networks."""
    return {**network_to_wire(as_network(network)), "Ingress": network.spec.ingress}


def peer_to_wire(node: Node) -> dict[str, Any]:
    """Schema PeerInfo. dockerd's names of peers are twelve characters that mean nothing else; here
    they are the beginnings of the nodes' ids."""
    return {"Name": node.id[:12], "IP": node.data_path_addr or node.status.addr}


def as_network(network: ClusterNetwork) -> Network:
    """The network as if it were this engine's."""
    spec = network.spec
    return Network(
        id=network.id,
        name=network.name,
        driver=spec.driver,
        created_at_ns=int(network.created_at.timestamp() * 1e6) * 1000,
        scope="swarm",
        ipv6=spec.ipv6,
        internal=spec.internal,
        attachable=spec.attachable,
        config_from=spec.config_from,
        options={**spec.options, **_driver_state(network)},
        labels=spec.labels,
        subnets=[
            Subnet(subnet=one.subnet, gateway=one.gateway, ip_range=one.ip_range)
            for one in (network.subnets or spec.ipam)
            if one.subnet
        ],
    )


def spec_of(request: NetworkRequest) -> NetworkSpec:
    """What a request to have a network asks of the cluster."""
    return NetworkSpec(
        name=request.name,
        labels=dict(request.labels),
        driver=request.driver or "overlay",
        options=dict(request.options),
        ipv6=bool(request.ipv6),
        internal=request.internal,
        attachable=request.attachable,
        ingress=request.ingress,
        config_from=request.config_from,
        ipam=[
            IpamRange(
                subnet=one.subnet,
                ip_range=one.ip_range,
                gateway=one.gateway,
                auxiliary_addresses=dict(one.auxiliary),
            )
            for one in request.subnets
        ],
    )


def attached_network_to_wire(network: ClusterNetwork) -> dict[str, Any]:
    """A network as a task's place in it shows it."""
    spec = network.spec
    return {
        **meta_to_wire(network),
        "Spec": {
            "Name": spec.name,
            "Labels": spec.labels,
            "DriverConfiguration": {"Name": spec.driver, "Options": spec.options},
            **({"IPv6Enabled": True} if spec.ipv6 else {}),
            **({"Internal": True} if spec.internal else {}),
            **({"Attachable": True} if spec.attachable else {}),
            **({"Ingress": True} if spec.ingress else {}),
            "IPAMOptions": {"Driver": {"Name": "default"}},
            "Scope": "swarm",
        },
        "DriverState": {"Name": spec.driver, "Options": _driver_state(network)},
        "IPAMOptions": {
            "Driver": {"Name": "default"},
            "Configs": [
                {
                    "Subnet": one.subnet,
                    "Gateway": one.gateway,
                    **({"Range": one.ip_range} if one.ip_range else {}),
                }
                for one in network.subnets
            ],
        },
    }


def _driver_state(network: ClusterNetwork) -> dict[str, str]:
    ids = ",".join(str(one.vxlan_id) for one in network.subnets if one.vxlan_id)
    return {VXLAN_IDS: ids} if ids else {}
