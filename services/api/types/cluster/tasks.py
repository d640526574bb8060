"""Tasks on the wire.

Source: Engine API, schema Task.
"""

from __future__ import annotations

from typing import Any

from services.api.types.cluster.networks import attachment_to_wire
from services.api.types.cluster.services import task_spec_to_wire
from services.api.types.cluster.wire import meta_to_wire, time_to_wire, to_wire
from services.cluster.control.tasks import SeenTask
from services.cluster.model.objects import TaskStatus


def task_to_wire(seen: SeenTask) -> dict[str, Any]:
    """One task. It has no name of its own there: clients make one up."""
    task = seen.task
    wire: dict[str, Any] = {
        **meta_to_wire(task),
        "Labels": {},
        "Spec": task_spec_to_wire(task.spec),
        "ServiceID": task.service_id,
        "Status": status_to_wire(task.status),
        "DesiredState": task.desired_state.wire,
    }
    if task.slot:
        wire["Slot"] = task.slot
    if task.node_id:
        wire["NodeID"] = task.node_id
    networks = {network.id: network for network in seen.networks}
    attachments = [
        attachment_to_wire(networks[one.network_id], one.addresses)
        for one in task.networks
        if one.network_id in networks
    ]
    if attachments:
        wire["NetworksAttachments"] = attachments
    if task.generic_resources:
        wire["GenericResources"] = to_wire(task.generic_resources)
    if task.job_iteration is not None:
        wire["JobIteration"] = {"Index": task.job_iteration}
    return wire


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
