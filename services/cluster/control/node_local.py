"""Networks that each node has of its own, which services may name as well: host and bridge.

The cluster knows one object for each, so that tasks can refer to it; it is made with the first
service that asks. No list shows it, since each node lists its own.

Source: swarmkit, manager/allocator/networkallocator (predefined networks).
"""

from __future__ import annotations

from typing import Final

from services.cluster.control.changes import commit
from services.cluster.control.ports import ControlStore
from services.cluster.model.objects import ClusterNetwork
from services.cluster.model.snapshot import Put, Snapshot
from services.cluster.model.specs import NetworkSpec
from services.cluster.model.wire import new_id, utc_now
from services.cluster.store.contract import NameTaken
from services.errors import NotFound

NAMES: Final = ("bridge", "host")
LABEL: Final = "com.docker.swarm.predefined"


def is_node_local(network: ClusterNetwork) -> bool:
    """Whether the object stands for a network of each node."""
    return LABEL in network.spec.labels


def as_spanning(snapshot: Snapshot, ref: str) -> ClusterNetwork | None:
    """What stands for one of these networks, by name or id, or will stand for it once it is used.

    What is not there yet goes by its name.
    """
    found = snapshot.networks.get(ref) or _find(snapshot, ref)
    if found is not None and is_node_local(found):
        return found
    return _made(ref, ref) if ref in NAMES else None


async def node_local(store: ControlStore, name: str) -> ClusterNetwork:
    """The object that stands for the network called `name`. Raises Unavailable."""
    found = _find(store.snapshot(), name)
    if found is not None:
        return found
    made = _made(new_id(), name)
    try:
        await commit(store, Put(made))
    except NameTaken:  # by another manager, at the same time
        made_by_another = _find(store.snapshot(), name)
        if made_by_another is None:
            raise NotFound(f"network {name} not found") from None
        return made_by_another
    return made


def _made(id_: str, name: str) -> ClusterNetwork:
    now = utc_now()
    spec = NetworkSpec(name=name, driver=name, labels={LABEL: "true"})
    return ClusterNetwork(id=id_, created_at=now, updated_at=now, spec=spec)


def _find(snapshot: Snapshot, name: str) -> ClusterNetwork | None:
    networks = snapshot.networks.values()
    return next((one for one in networks if one.name == name and is_node_local(one)), None)
