"""Subnets, addresses and ports: given once, kept, and given back."""

from __future__ import annotations

import ipaddress
from collections import Counter

import pytest
from clusterlib.build import scaled, service, template, updated
from clusterlib.world import World
from msgspec.structs import replace

from services.cluster.model.objects import (
    ClusterNetwork,
    LeavingNetwork,
    NetworkAttachment,
    Service,
    Task,
    TaskStatus,
)
from services.cluster.model.snapshot import Delete, Put, Transaction
from services.cluster.model.specs import EndpointSpec, IpamRange, NetworkSpec, PortConfig
from services.cluster.model.task_spec import (
    NetworkAttachmentConfig,
    NetworkAttachmentSpec,
    TaskRestartPolicy,
    TaskSpec,
)
from services.cluster.model.task_state import TaskState


def add_network(world: World, id: str, **spec: object) -> None:
    made = NetworkSpec(name=id, **spec)  # type: ignore[arg-type]
    world.store.put(ClusterNetwork(id=id, created_at=world.now, updated_at=world.now, spec=made))


def small_world(*networks: str) -> World:
    world = World()
    world.add_nodes(3)
    add_network(world, "ingress", ingress=True)
    for name in networks:
        add_network(world, name)
    return world


def publishing(*ports: tuple[int, int]) -> EndpointSpec:
    return EndpointSpec(
        ports=[PortConfig(target_port=target, published_port=at) for target, at in ports]
    )


def stored(world: World, id: str = "web") -> Service:
    return world.store.services[id]


def addresses(world: World, network: str) -> list[str]:
    """All that is given of a network."""
    found = [
        address
        for task in world.store.tasks.values()
        if not task.status.state.is_ended
        for one in task.networks
        if one.network_id == network
        for address in one.addresses
    ]
    for made in world.store.services.values():
        vips = made.endpoint.virtual_ips if made.endpoint else []
        found.extend(vip.addr for vip in vips if vip.network_id == network)
    found.extend(world.store.networks[network].balancer_addrs.values())
    return found


def test_networks_get_the_pools_subnets_in_order() -> None:
    """From 10.0.0.0/24 on, with an id each from 4096 on; the gateway is the first address."""
    world = small_world("a", "b")
    world.run(1)
    given = {id: one.subnets[0] for id, one in world.store.networks.items()}
    assert [(s.subnet, s.gateway, s.vxlan_id) for s in given.values()] == [
        ("10.0.0.0/24", "10.0.0.1", 4096),
        ("10.0.1.0/24", "10.0.1.1", 4097),
        ("10.0.2.0/24", "10.0.2.1", 4098),
    ]
    world.delete(world.store.networks["a"])
    add_network(world, "c")
    world.run(1)
    assert world.store.networks["c"].subnets[0].subnet == "10.0.1.0/24"
    assert world.store.networks["c"].subnets[0].vxlan_id == 4097


def test_what_nodes_may_still_have_is_given_to_nobody() -> None:
    """A network that is leaving keeps its subnet and id; who asks for just these waits."""
    world = small_world("a")
    add_network(world, "b", ipam=[IpamRange(subnet="10.1.0.0/24")])
    world.run(1)
    network = world.store.networks["b"]
    left = LeavingNetwork(id="b", created_at=world.now, updated_at=world.now, network=network)
    inside = [NetworkAttachment(network_id="b")]
    of_it = Task(
        id="t", created_at=world.now, updated_at=world.now, networks=inside, node_id="node1",
        status=TaskStatus(state=TaskState.RUNNING), desired_state=TaskState.REMOVE,
        service_id="gone",
    )  # fmt: skip
    world.agents.cut_off.add("node1")
    world.store.put(of_it)
    world.store.commit(Transaction((Delete(network), Put(left))))
    add_network(world, "again", ipam=[IpamRange(subnet="10.1.0.0/24")])
    add_network(world, "c")
    world.run(5)
    assert world.store.networks["again"].subnets == []
    assert world.store.networks["c"].subnets[0].vxlan_id not in (4096, 4097)
    world.elect()  # whoever leads next knows as much
    world.run(5)
    assert world.store.leaving_networks
    assert world.store.networks["again"].subnets == []
    ended = replace(world.store.tasks["t"], status=TaskStatus(state=TaskState.SHUTDOWN))
    world.store.put(ended)
    world.run(5)
    assert not world.store.leaving_networks
    assert [one.subnet for one in world.store.networks["again"].subnets] == ["10.1.0.0/24"]


def test_pools_and_sizes_of_the_cluster() -> None:
    """Pools are used one after another; when they are used up a network waits for one to go."""
    world = World()
    pools = ["192.168.0.0/25", "172.31.0.0/26"]
    cluster = replace(world.store.cluster, default_address_pool=pools, subnet_size=26)
    world.store.put(cluster)
    for name in "abcd":
        add_network(world, name)
    world.run(5)
    given = [one.subnets[0].subnet if one.subnets else "" for one in world.store.networks.values()]
    assert given == ["192.168.0.0/26", "192.168.0.64/26", "172.31.0.0/26", ""]
    assert world.notes == ["no subnet is left in the default address pools"]
    world.delete(world.store.networks["b"])
    world.run(5)
    assert world.store.networks["d"].subnets[0].subnet == "192.168.0.64/26"


def test_subnets_that_are_asked_for() -> None:
    """They are given unless they overlap; IPv6 comes beside an IPv4 one of the pool."""
    world = World()
    add_network(world, "v6", ipam=[IpamRange(subnet="fd00:1::/64")], ipv6=True)
    wanted = IpamRange(subnet="10.1.0.0/16", gateway="10.1.255.254", ip_range="10.1.8.0/24")
    add_network(world, "own", ipam=[wanted])
    add_network(world, "overlapping", ipam=[IpamRange(subnet="10.1.2.0/24")])
    world.run(5)
    assert [s.subnet for s in world.store.networks["v6"].subnets] == ["10.0.0.0/24", "fd00:1::/64"]
    own = world.store.networks["own"].subnets[0]
    assert (own.subnet, own.gateway, own.ip_range) == (
        "10.1.0.0/16", "10.1.255.254", "10.1.8.0/24",
    )  # fmt: skip
    assert world.store.networks["overlapping"].subnets == []
    assert world.notes == [
        "network overlapping cannot have 10.1.2.0/24: it overlaps with 10.1.0.0/16"
    ]


def test_vxlan_ids_that_are_asked_for() -> None:
    world = World()
    option = "com.docker.network.driver.overlay.vxlanid_list"
    add_network(world, "a", options={option: "4097"})
    add_network(world, "b")
    add_network(world, "c")
    add_network(world, "d", options={option: "4097"})
    world.run(1)
    ids = [s.vxlan_id for n in world.store.networks.values() for s in n.subnets]
    assert ids == [4097, 4096, 4098]
    assert world.notes == ["network d: VXLAN id 4097 is in use"]


def test_every_part_of_a_service_has_an_address_of_its_own() -> None:
    """Virtual address, tasks and nodes' balancers: none is given twice, none is the gateway."""
    world = small_world("net")
    spec = template(networks=["net"])
    world.store.put(service(replicas=5, spec=spec, endpoint=publishing((80, 0))))
    world.run(20)
    assert len(world.running("web")) == 5
    for network, count in (("net", 1 + 5 + 3), ("ingress", 1 + 5 + 3)):
        given = addresses(world, network)
        assert len(given) == len(set(given)) == count
        subnet = world.store.networks[network].subnets[0]
        whole = ipaddress.ip_network(subnet.subnet)
        assert all(ipaddress.ip_interface(one).network == whole for one in given)
        assert f"{subnet.gateway}/24" not in given
    endpoint = stored(world).endpoint
    assert endpoint is not None
    assert all(task.endpoint == endpoint for task in world.running("web"))
    assert [vip.network_id for vip in endpoint.virtual_ips] == ["ingress", "net"]


def test_dnsrr_has_no_virtual_address() -> None:
    world = small_world("net")
    dnsrr = EndpointSpec(mode="dnsrr")
    world.store.put(service(replicas=2, spec=template(networks=["net"]), endpoint=dnsrr))
    world.run(20)
    endpoint = stored(world).endpoint
    assert endpoint is not None
    assert endpoint.virtual_ips == []
    assert all(len(task.networks) == 1 for task in world.running("web"))


def test_aliases_and_options_reach_the_task() -> None:
    world = small_world("net")
    config = NetworkAttachmentConfig(target="net", aliases=["db"], driver_opts={"a": "b"})
    world.store.put(service(spec=replace(template(), networks=[config])))
    world.run(20)
    [attachment] = world.running("web")[0].networks
    assert (attachment.aliases, attachment.driver_opts) == (["db"], {"a": "b"})


def test_a_local_network_needs_no_address() -> None:
    """One of a driver that does not span nodes is named to the agent, and nothing else."""
    world = small_world()
    add_network(world, "host", driver="host")
    world.store.put(service(spec=template(networks=["host"])))
    world.run(20)
    [attachment] = world.running("web")[0].networks
    assert (attachment.network_id, attachment.addresses) == ("host", [])
    endpoint = stored(world).endpoint
    assert endpoint is not None
    assert endpoint.virtual_ips == []


def test_an_update_keeps_what_a_service_has() -> None:
    """Address and chosen port stay while the service does; a network less is an address less."""
    world = small_world("a", "b")
    made = service(replicas=2, spec=template(networks=["a", "b"]), endpoint=publishing((80, 0)))
    world.store.put(made)
    world.run(20)
    before = stored(world)
    assert before.endpoint is not None
    fewer = replace(before.spec, task_template=template(networks=["b"]))
    more = replace(fewer, endpoint_spec=publishing((80, 0), (81, 8081)))
    world.store.put(updated(before, more))
    world.run(60)
    after = stored(world).endpoint
    assert after is not None
    assert [p.published_port for p in after.ports] == [
        before.endpoint.ports[0].published_port,
        8081,
    ]
    had = {vip.network_id: vip for vip in before.endpoint.virtual_ips}
    assert {vip.network_id: vip for vip in after.virtual_ips} == {
        "ingress": had["ingress"], "b": had["b"],
    }  # fmt: skip
    assert len(world.running("web")) == 2
    assert addresses(world, "a") == list(world.store.networks["a"].balancer_addrs.values())


def test_ports_are_chosen_from_the_dynamic_ones() -> None:
    """Each protocol has its own; host ports are not taken from them."""
    world = small_world()
    ports = EndpointSpec(
        ports=[
            PortConfig(target_port=53, protocol="udp"),
            PortConfig(target_port=53, protocol="tcp"),
            PortConfig(target_port=80, published_port=30000),
            PortConfig(target_port=81, publish_mode="host"),
        ]
    )
    world.store.put(service(endpoint=ports))
    world.run(20)
    endpoint = stored(world).endpoint
    assert endpoint is not None
    assert [(p.protocol, p.published_port) for p in endpoint.ports] == [
        ("udp", 30000), ("tcp", 30001), ("tcp", 30000), ("tcp", 0),
    ]  # fmt: skip


def test_a_chosen_port_stays_while_its_service_does() -> None:
    """Also when a lower one is free by then."""
    world = small_world()
    world.store.put(service("first", endpoint=publishing((80, 0))))
    world.run(20)
    world.store.put(service("second", endpoint=publishing((80, 0))))
    world.run(20)
    world.delete(world.store.services["first"])
    world.run(20)
    before = stored(world, "second")
    more = replace(before.spec, endpoint_spec=publishing((80, 0), (81, 0)))
    world.store.put(updated(before, more))
    world.run(20)
    endpoint = stored(world, "second").endpoint
    assert endpoint is not None
    assert [port.published_port for port in endpoint.ports] == [30001, 30000]


def test_a_port_that_is_taken_is_waited_for() -> None:
    """The second service stays NEW, with a note, until the first is gone."""
    world = small_world()
    world.store.put(service("first", endpoint=publishing((80, 8080))))
    world.run(20)
    world.store.put(service("second", endpoint=publishing((80, 8080))))
    world.run(20)
    assert {task.status.state for task in world.tasks("second")} == {TaskState.NEW}
    assert "service second: port 8080/tcp is in use by service first" in world.notes
    world.delete(world.store.services["first"])
    world.run(20)
    assert len(world.running("second")) == 1


def test_a_service_waits_for_its_network() -> None:
    world = small_world()
    world.store.put(service(spec=template(networks=["later"])))
    world.run(20)
    assert world.running("web") == []
    add_network(world, "later")
    world.run(5)
    assert len(world.running("web")) == 1


def test_addresses_come_back_as_late_as_possible() -> None:
    """What is given next is not what was given back last."""
    world = small_world("net")
    world.store.put(service(replicas=4, spec=template(networks=["net"])))
    world.run(20)
    gone = {a for task in world.tasks("web") if task.slot > 1 for a in task.networks[0].addresses}
    world.store.put(scaled(stored(world), 1))
    world.run(20)
    world.store.put(scaled(stored(world), 4))
    world.run(20)
    assert gone.isdisjoint(addresses(world, "net"))


def test_a_full_network_serves_those_who_come_when_others_go() -> None:
    """A /29 has five addresses besides the gateway's: one for the service, one for the node."""
    world = World()
    world.add_nodes(1)
    add_network(world, "tiny", ipam=[IpamRange(subnet="10.9.0.0/29")])
    restart = TaskRestartPolicy(delay=0)
    world.store.put(service(replicas=6, spec=template(networks=["tiny"], restart=restart)))
    world.run(30)
    assert 3 <= len(world.running("web")) <= 4
    assert any("network tiny has no address left" in note for note in world.notes)
    for _ in range(6):
        for task in world.running("web")[:1]:
            ended = replace(task.status, state=TaskState.FAILED, timestamp=world.now)
            world.store.put(replace(task, status=ended))
        world.run(20)
        assert 3 <= len(world.running("web")) <= 4, "what had ended has given back its address"
        given = addresses(world, "tiny")
        assert max(Counter(given).values()) == 1
        assert "10.9.0.1/29" not in given


def test_what_was_not_written_was_not_given() -> None:
    """A /29 just holds service, node and three tasks, whichever write is refused on the way."""
    for write in range(1, 9):
        world = World(refuses=write)
        world.add_nodes(1)
        add_network(world, "tiny", ipam=[IpamRange(subnet="10.9.0.0/29")])
        world.store.put(service(replicas=3, spec=template(networks=["tiny"])))
        world.run(30)
        assert len(world.running("web")) == 3, write
        assert len(set(addresses(world, "tiny"))) == 5


@pytest.mark.parametrize("is_ingress", [True, False])
def test_nodes_have_an_address_where_they_take_part(is_ingress: bool) -> None:
    """In the ingress network all of them do, elsewhere those that run something there."""
    world = small_world("net")
    world.store.put(service(spec=template(networks=["net"])))
    world.run(20)
    [task] = world.running("web")
    network = "ingress" if is_ingress else "net"
    nodes = {"node1", "node2", "node3"} if is_ingress else {task.node_id}
    assert world.store.networks[network].balancer_addrs.keys() == nodes
    world.add_nodes(1, prefix="late")
    world.cut_off("node2")
    world.delete(world.store.nodes["node2"])
    world.run(20)
    after = world.store.networks[network].balancer_addrs
    assert "node2" not in after
    assert ("late1" in after) is is_ingress


def test_containers_in_a_network_have_addresses_each_for_itself() -> None:
    """A task of no service: one that has to wait holds up none of the others."""
    world = small_world("net")
    world.run(1)
    for id, network in (("a", "nowhere"), ("b", "net"), ("c", "net")):
        spec = TaskSpec(
            network_attachment_spec=NetworkAttachmentSpec(container_id=id),
            networks=[NetworkAttachmentConfig(target=network)],
            runtime="attachment",
        )
        made = Task(
            id=id, created_at=world.now, updated_at=world.now, node_id="node1", spec=spec,
            desired_state=TaskState.RUNNING,
        )  # fmt: skip
        world.store.put(made)
    world.run(10)
    states = {id: world.store.tasks[id].status.state for id in "abc"}
    assert states == {"a": TaskState.NEW, "b": TaskState.RUNNING, "c": TaskState.RUNNING}
    given = [world.store.tasks[id].networks[0].addresses for id in "bc"]
    assert given[0] != given[1]
    add_network(world, "nowhere")
    world.run(10)
    assert world.store.tasks["a"].status.state is TaskState.RUNNING
    ended = replace(world.store.tasks["b"].status, state=TaskState.SHUTDOWN)
    world.store.put(replace(world.store.tasks["b"], status=ended))
    world.run(10)
    assert "b" not in world.store.tasks, "nobody keeps the history of what has no service"
