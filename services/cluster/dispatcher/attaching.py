"""Containers that were started by hand, as tasks of no service: so they get addresses and names.

Source: swarmkit, manager/resourceapi/allocator.go.
"""

from __future__ import annotations

from services.cluster.dispatcher.values import AttachmentWish
from services.cluster.model.objects import ClusterNetwork, Task, TaskStatus
from services.cluster.model.snapshot import Put, Snapshot, Transaction
from services.cluster.model.task_spec import (
    NetworkAttachmentConfig,
    NetworkAttachmentSpec,
    TaskSpec,
)
from services.cluster.model.task_state import TaskState
from services.cluster.model.wire import new_id, utc_now
from services.cluster.store.contract import ClusterStore, UseOfNothing
from services.errors import Forbidden, InvalidParameter, NotFound

ATTACHMENT = "attachment"
"""The runtime of such tasks."""


async def attach(store: ClusterStore, node_id: str, wish: AttachmentWish) -> str:
    """Make a task of a node's container; its id. The allocator gives it its address.

    Raises:
        NotFound, InvalidParameter: no network, or no single one, has that name.
        Forbidden: only services may be in it; dockerd's text.
        Unavailable: the store.
    """
    network = find_network(store.snapshot(), wish.network)
    if not network.spec.attachable or network.spec.ingress:
        raise Forbidden(
            f"Could not attach to network {wish.network}: rpc error: code = PermissionDenied "
            f"desc = network {network.name} not manually attachable"
        )
    now = utc_now()
    place = NetworkAttachmentConfig(
        target=network.id,
        aliases=list(wish.names),
        addresses=list(wish.addresses),
        driver_opts=wish.driver_opts,
    )
    task = Task(
        id=new_id(),
        created_at=now,
        updated_at=now,
        node_id=node_id,
        spec=TaskSpec(
            network_attachment_spec=NetworkAttachmentSpec(container_id=wish.container_id),
            runtime=ATTACHMENT,
            networks=[place],
        ),
        status=TaskStatus(state=TaskState.NEW, timestamp=now, message="created"),
        desired_state=TaskState.RUNNING,
    )
    try:
        await store.commit(Transaction((Put(task),), uses=(network,)))
    except UseOfNothing as error:
        raise NotFound(f"network {wish.network} not found") from error
    return task.id


def find_network(snapshot: Snapshot, ref: str) -> ClusterNetwork:
    """By id, name or a beginning of its id. Raises NotFound and InvalidParameter."""
    networks = snapshot.networks.values()
    for network in networks:
        if ref in (network.id, network.name):
            return network
    found = [network for network in networks if ref and network.id.startswith(ref)]
    if len(found) > 1:
        raise InvalidParameter(f"network {ref} is ambiguous ({len(found)} matches found on ID)")
    if not found:
        raise NotFound(f"network {ref} not found")
    return found[0]
