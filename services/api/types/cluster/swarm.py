"""The cluster itself on the wire; of its secrets only the join tokens, where they are asked for.

Source: Engine API, schemas Swarm, ClusterInfo, SwarmInfo.
"""

from __future__ import annotations

from typing import Any

from services.api.types.cluster.wire import meta_to_wire, tls_info_to_wire, to_wire
from services.cluster.allocator.subnets import DEFAULT_POOLS
from services.cluster.info import SwarmInfo
from services.cluster.model.objects import Cluster, JoinTokens

TWO_MANAGERS = (
    "WARNING: Running Swarm in a two-manager configuration. This configuration provides\n"
    "         no fault tolerance, and poses a high risk to lose control over the cluster.\n"
    "         Refer to https://docs.docker.com/engine/swarm/admin_guide/ to configure the\n"
    "         Swarm for fault-tolerance."
)


def swarm_to_wire(cluster: Cluster, tokens: JoinTokens) -> dict[str, Any]:
    """The answer of GET /swarm."""
    return {
        **cluster_to_wire(cluster),
        "JoinTokens": {"Worker": tokens.worker, "Manager": tokens.manager},
    }


def cluster_to_wire(cluster: Cluster) -> dict[str, Any]:
    """The cluster without its tokens."""
    return {
        **meta_to_wire(cluster),
        "Spec": to_wire(cluster.spec),
        "TLSInfo": tls_info_to_wire(cluster.root_ca.certificate),
        "RootRotationInProgress": bool(cluster.root_ca.next_certificate),
        "DefaultAddrPool": cluster.default_address_pool or list(DEFAULT_POOLS),
        "SubnetSize": cluster.subnet_size,
        "DataPathPort": cluster.data_path_port,
    }


def swarm_info_to_wire(info: SwarmInfo) -> dict[str, Any]:
    """The `Swarm` of GET /info."""
    wire: dict[str, Any] = {
        "NodeID": info.node_id,
        "NodeAddr": info.node_addr,
        "LocalNodeState": info.state,
        "ControlAvailable": info.control_available,
        "Error": info.error,
        "RemoteManagers": [
            {"NodeID": peer.node_id, "Addr": peer.addr} for peer in info.remote_managers
        ]
        or None,
    }
    if info.nodes:
        wire["Nodes"] = info.nodes
    if info.managers:
        wire["Managers"] = info.managers
    if info.cluster is not None:
        wire["Cluster"] = cluster_to_wire(info.cluster)
    if info.control_available and info.managers == 2:
        wire["Warnings"] = [TWO_MANAGERS]
    return wire
