"""Networks that span nodes."""

from __future__ import annotations

import re

import pytest

from services.cluster.control.networks import ClusterNetworks
from services.cluster.control.tasks import Tasks
from services.cluster.model.objects import NetworkAttachment
from services.cluster.model.specs import EndpointSpec, IpamRange, NetworkSpec, PortConfig
from services.cluster.model.task_spec import NetworkAttachmentConfig, TaskSpec
from services.cluster.model.task_state import TaskState
from services.errors import Conflict, EngineError, Forbidden, InvalidParameter, NotSupported
from tests.services.cluster.objects import (
    container_spec,
    id_of,
    network,
    node,
    service,
    store_of,
    task,
)

INTERNAL = {"com.docker.swarm.internal": ""}
OUTSIDE = IpamRange(subnet="10.1.0.0/24", gateway="10.2.0.1")


@pytest.mark.parametrize(
    ("spec", "error", "text"),
    [
        (NetworkSpec(name="bridge"), Forbidden, "bridge is a pre-defined network and cannot be"),
        (NetworkSpec(name="a b"), InvalidParameter, "name must be valid as a DNS name component"),
        (NetworkSpec(name="front"), Conflict, "network with name front already exists"),
        (NetworkSpec(name="a", ingress=True), Conflict, "ingress network (mesh"),
        (NetworkSpec(name="a", labels=INTERNAL), Forbidden, "cannot be applied by users"),
        (NetworkSpec(name="a", driver="macvlan"), NotSupported, "cannot span nodes"),
        (
            NetworkSpec(name="a", ingress=True, attachable=True),
            InvalidParameter,
            "ingress network cannot be attachable",
        ),
        (
            NetworkSpec(name="a", ipam=[IpamRange(subnet="x")]),
            InvalidParameter,
            "ipam configuration: invalid subnet x",
        ),
        (
            NetworkSpec(name="a", ipam=[OUTSIDE]),
            InvalidParameter,
            "ipam configuration: subnet 10.1.0.0/24 does not contain gateway 10.2.0.1",
        ),
    ],
)
async def test_refusals(spec: NetworkSpec, error: type[EngineError], text: str) -> None:
    """With dockerd's words."""
    networks = ClusterNetworks(store_of(network("front"), network("mesh", ingress=True)))
    with pytest.raises(error, match=re.escape(text)):
        await networks.create(spec)


async def test_what_is_in_use_stays() -> None:
    """A service in it, or a task that still runs after its service; the mesh, while it is used."""
    joined = TaskSpec(
        container_spec=container_spec(),
        networks=[NetworkAttachmentConfig(target=id_of("front"))],
    )
    place = [NetworkAttachment(network_id=id_of("back"))]
    published = EndpointSpec(ports=[PortConfig(target_port=80)])
    web = service("web", task_template=joined, endpoint_spec=published)
    networks = ClusterNetworks(
        store_of(
            network("front"),
            network("back"),
            network("free"),
            network("mesh", ingress=True),
            web,
            task("t1", web, networks=place),
            task(
                "t2",
                web,
                TaskState.SHUTDOWN,
                networks=[NetworkAttachment(network_id=id_of("free"))],
            ),
        )
    )
    for name, text in (
        ("front", "is in use by service web"),
        ("back", "is in use by task t1"),
        ("mesh", "ingress network cannot be removed because service web"),
    ):
        with pytest.raises(InvalidParameter, match=text):
            await networks.remove(name)
    assert await networks.prune(networks.list()) == ["free"]
    assert networks.users(networks.get("front")) == [networks._store.snapshot().services[web.id]]


async def test_a_network_goes_at_once_though_tasks_are_leaving() -> None:
    """Its name is free and no list has it, while nodes have it still, also those that are away."""
    web = service("web")
    place = [NetworkAttachment(network_id=id_of("front"))]
    leaving = task("t1", web, networks=place)  # nobody has told it yet that its service is gone
    store = store_of(network("front"), node("n1"), leaving)
    networks = ClusterNetworks(store)
    await networks.remove("front")
    assert networks.list() == []
    assert list(store.snapshot().leaving_networks) == [id_of("front")]
    (seen,) = Tasks(store).list({})
    assert [one.name for one in seen.networks] == ["front"]
    again = await networks.create(NetworkSpec(name="front"))
    assert networks.get("front").id == again.id != id_of("front")


async def test_a_network_of_nobody_leaves_nothing_behind() -> None:
    """Tasks that have ended do not count, nor do those that were given up."""
    web = service("web")
    place = [NetworkAttachment(network_id=id_of("front"))]
    ended = task("t1", web, TaskState.ORPHANED, networks=place)
    store = store_of(network("front"), ended)
    await ClusterNetworks(store).remove("front")
    assert not store.snapshot().networks
    assert not store.snapshot().leaving_networks
