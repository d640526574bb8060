"""Tasks on the wire.

Source: Engine API, schema Task.
"""

from __future__ import annotations

from typing import Any

import msgspec

from services.api.types.cluster.networks import attached_network_to_wire
from services.api.types.cluster.services import task_spec_to_wire
from services.api.types.cluster.wire import meta_to_wire, time_to_wire, to_wire
from services.cluster.control.tasks import SeenTask
from services.cluster.model.objects import ClusterNetwork, TaskStatus
from services.cluster.model.task_spec import TaskSpec


class TaskWriter:
    """Writes the tasks of one answer. What many of them share is written once."""

    def __init__(self) -> None:
        # By identity; the specs are held here, so that no other can have the same.
        self._specs: dict[int, tuple[TaskSpec, msgspec.Raw]] = {}
        self._networks: dict[str, msgspec.Raw] = {}

    def to_wire(self, seen: SeenTask) -> dict[str, Any]:
        """One task. It has no name of its own there: clients make one up."""
        task = seen.task
        wire: dict[str, Any] = {
            **meta_to_wire(task),
            "Labels": {},
            "Spec": self._spec(task.spec),
            "ServiceID": task.service_id,
            "Status": status_to_wire(task.status),
            "DesiredState": task.desired_state.wire,
        }
        if task.slot:
            wire["Slot"] = task.slot
        if task.node_id:
            wire["NodeID"] = task.node_id
        if attachments := self._attachments(seen):
            wire["NetworksAttachments"] = attachments
        if task.generic_resources:
            wire["GenericResources"] = to_wire(task.generic_resources)
        if task.job_iteration is not None:
            wire["JobIteration"] = {"Index": task.job_iteration}
        return wire

    def _spec(self, spec: TaskSpec) -> msgspec.Raw:
        known = self._specs.get(id(spec))
        if known is None:
            known = spec, msgspec.Raw(msgspec.json.encode(task_spec_to_wire(spec)))
            self._specs[id(spec)] = known
        return known[1]

    def _attachments(self, seen: SeenTask) -> list[dict[str, Any]]:
        networks = {network.id: network for network in seen.networks}
        return [
            {"Network": self._network(networks[one.network_id]), "Addresses": one.addresses}
            for one in seen.task.networks
            if one.network_id in networks
        ]

    def _network(self, network: ClusterNetwork) -> msgspec.Raw:
        known = self._networks.get(network.id)
        if known is None:
            known = msgspec.Raw(msgspec.json.encode(attached_network_to_wire(network)))
            self._networks[network.id] = known
        return known


def status_to_wire(status: TaskStatus) -> dict[str, Any]:
    """How far a task has come."""
    wire: dict[str, Any] = {
        "Timestamp": time_to_wire(status.timestamp),
        "State": status.state.wire,
        "PortStatus": {"Ports": to_wire(status.ports)} if status.ports else {},
    }
    if status.message:
        wire["Message"] = status.message
    if status.err:
        wire["Err"] = status.err
    if status.container is not None:
        wire["ContainerStatus"] = to_wire(status.container)
    return wire
