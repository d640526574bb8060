"""Nodes on the wire.

Source: Engine API, schema Node.
"""

from __future__ import annotations

from typing import Any

from services.api.types.cluster.wire import meta_to_wire, tls_info_to_wire, to_wire
from services.cluster.control.nodes import SeenNode
from services.cluster.model.objects import NodeDescription


def node_to_wire(seen: SeenNode, root: str) -> dict[str, Any]:
    """One node; `root` is the certificate that the cluster trusts."""
    node = seen.node
    wire = {
        **meta_to_wire(node),
        "Spec": to_wire(node.spec),
        "Description": {
            **description_to_wire(node.description),
            "TLSInfo": tls_info_to_wire(root),
        },
        "Status": {"State": node.status.state.name.lower()},
    }
    if node.status.message:
        wire["Status"]["Message"] = node.status.message
    if node.status.addr:
        wire["Status"]["Addr"] = node.status.addr
    if node.manager is not None:
        wire["ManagerStatus"] = {
            **({"Leader": True} if seen.is_leader else {}),
            "Reachability": "reachable" if seen.is_reachable else "unreachable",
            "Addr": node.manager.addr,
        }
    return wire


def description_to_wire(description: NodeDescription) -> dict[str, Any]:
    """What a node's agent said of it."""
    engine: dict[str, Any] = {"EngineVersion": description.engine.engine_version}
    if description.engine.labels:
        engine["Labels"] = description.engine.labels
    if description.engine.plugins:
        engine["Plugins"] = [
            {"Type": kind, "Name": name} for kind, name in description.engine.plugins
        ]
    return {
        **({"Hostname": description.hostname} if description.hostname else {}),
        "Platform": to_wire(description.platform),
        "Resources": to_wire(description.resources),
        "Engine": engine,
    }
