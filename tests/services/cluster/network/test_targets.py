"""What follows from what managers say: names, addresses, ports."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address

import msgspec
import pytest

from services.cluster.dispatcher.values import Backend
from services.cluster.network.plan import plan_node
from services.cluster.network.state import NodeNetworkState, neighbours
from services.cluster.network.targets import IngressPort, names, port_targets, service_targets
from services.networks.dns import NameBook, NamedEndpoint
from services.networks.overlay.values import Neighbour
from tests.services.cluster.network.views import (
    backend,
    cluster_network,
    peer,
    service,
    view,
)

NETWORK = cluster_network(third=7)
TWO = (backend("web.1.x", "10.99.7.5/24"), backend("web.2.y", "10.99.7.6", "n1"))


def asked(book: NameBook, name: str) -> list[str] | None:
    found = book.addresses("client", name)
    return None if found is None else [str(address) for address in found]


def book_of(*services: object, containers: tuple[Backend, ...] = ()) -> NameBook:
    """A name book as a client in the network sees it."""
    told = msgspec.structs.replace(view(NETWORK, *services), containers=containers)  # type: ignore[arg-type]
    book = NameBook()
    for endpoint in names(told).values():
        book.put(NETWORK.id, endpoint)
    client = NamedEndpoint(
        container_id="client", network="ov", names=("client",), addresses=(IPv4Address("1.2.3.4"),)
    )
    book.put(NETWORK.id, client)
    return book


def test_a_service_is_called_by_its_name() -> None:
    """That is its own address; its tasks are asked for besides, one by one or all."""
    book = book_of(service("web", *TWO, vip="10.99.7.100/24", aliases=("www",)))
    assert asked(book, "web") == asked(book, "www") == asked(book, "WEB.ov") == ["10.99.7.100"]
    assert asked(book, "tasks.web") == asked(book, "tasks.www") == ["10.99.7.5", "10.99.7.6"]
    assert asked(book, "web.2.y") == ["10.99.7.6"]
    assert asked(book, "tasks.web.ov") == ["10.99.7.5", "10.99.7.6"]
    assert book.name_of("client", IPv4Address("10.99.7.100")) == "web.ov"
    assert book.name_of("client", IPv4Address("10.99.7.6")) == "web.2.y.ov"


def test_without_an_address_of_its_own_it_is_its_tasks() -> None:
    """And nobody while there are none."""
    assert asked(book_of(service("web", *TWO)), "web") == ["10.99.7.5", "10.99.7.6"]
    assert asked(book_of(service("web")), "web") is None
    assert asked(book_of(service("web", vip="10.99.7.100")), "web") == ["10.99.7.100"]
    assert asked(book_of(service("web", vip="10.99.7.100")), "tasks.web") is None


def test_a_container_started_by_hand_has_names() -> None:
    """Its own and its aliases."""
    by_hand = Backend(
        task_id="t", name="db", address="10.99.7.9", node_id="n2", aliases=("base", "db")
    )
    book = book_of(containers=(by_hand,))
    assert asked(book, "base") == asked(book, "db") == ["10.99.7.9"]


def test_nobody_has_a_name_in_the_ingress_network() -> None:
    """It is there for ports alone, and services have no addresses of their own there."""
    ingress = cluster_network("ingress", third=8, ingress=True)
    told = view(ingress, service("web", *TWO, vip="10.99.8.100", ports=(("tcp", 80, 8080),)))
    assert names(told) == {}
    state = NodeNetworkState(node_id="n1", data_path_addr="10.0.0.1", networks=(told,))
    plan = plan_node(state).networks[ingress.id]
    assert plan.services == {}
    assert plan.ports == {IngressPort("tcp", 80): ("10.99.7.5 . 8080", "10.99.7.6 . 8080")}


def test_who_is_behind_which_node() -> None:
    """Other nodes' addresses; the node's own are not behind anything."""
    told = view(
        NETWORK,
        peers=(
            peer("n1", "10.0.0.1", "10.99.7.2"),
            peer("n2", "10.0.0.2", "10.99.7.3", "10.99.7.4/24"),
            peer("n3", "", "10.99.7.9"),
        ),
    )
    state = NodeNetworkState(node_id="n1", data_path_addr="10.0.0.1", networks=(told,))
    assert neighbours(state, told) == {
        Neighbour("10.99.7.3", "02:42:0a:63:07:03", "10.0.0.2"),
        Neighbour("10.99.7.4", "02:42:0a:63:07:04", "10.0.0.2"),
    }


def test_where_a_service_and_its_ports_lead() -> None:
    """By address to its tasks; of two services that want a port the first one has it."""
    first = service("a", TWO[0], vip="10.99.7.100", ports=(("tcp", 80, 8080), ("udp", 53, 53)))
    second = service("b", TWO[1], vip="10.99.7.101", ports=(("tcp", 80, 9090),))
    told = view(NETWORK, second, first)
    assert service_targets(told) == {"10.99.7.100": ("10.99.7.5",), "10.99.7.101": ("10.99.7.6",)}
    assert port_targets(told) == {
        IngressPort("tcp", 80): ("10.99.7.5 . 8080",),
        IngressPort("udp", 53): ("10.99.7.5 . 53",),
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"driver": "macvlan"}, "networks of driver macvlan cannot span nodes"),
    ],
)
def test_what_cannot_be_had_is_said(change: dict[str, object], sentence: str) -> None:
    """By a sentence that names the network."""
    told = view(cluster_network("odd", third=7, **change))  # type: ignore[arg-type]
    state = NodeNetworkState(node_id="n1", data_path_addr="10.0.0.1", networks=(told,))
    (plan,) = plan_node(state).networks.values()
    assert sentence in plan.problem
    assert "odd" in plan.problem


def test_what_has_not_changed_is_not_computed_again() -> None:
    """As long as the node is the same, and a view the very same."""
    one, other = view(NETWORK, service("web", *TWO)), view(cluster_network("other", third=9))
    state = NodeNetworkState(node_id="n1", data_path_addr="10.0.0.1", networks=(one, other))
    before = plan_node(state)
    changed = dataclasses.replace(state, networks=(view(NETWORK), other))
    after = plan_node(changed, before)
    assert after.networks[other.network.id] is before.networks[other.network.id]
    assert after.networks[NETWORK.id].services == {}
    assert after.networks[NETWORK.id].names == {}
    moved = plan_node(dataclasses.replace(changed, data_path_addr="10.0.0.9"), after)
    assert moved.networks[other.network.id] is not after.networks[other.network.id]


def test_what_is_no_address_is_refused() -> None:
    """By a sentence with the network's name; the others are had."""
    told = view(NETWORK, service("web", backend("web.1.x", "nonsense")))
    other = view(cluster_network("other", third=9))
    state = NodeNetworkState(node_id="n1", data_path_addr="10.0.0.1", networks=(told, other))
    plans = plan_node(state).networks
    assert "network ov cannot be understood" in plans[NETWORK.id].problem
    assert plans[other.network.id].problem == ""


def test_a_node_without_an_address_for_others() -> None:
    """Neither none nor one of IPv6 will do."""
    state = NodeNetworkState(node_id="n1", data_path_addr="", networks=(view(NETWORK),))
    assert "no address" in plan_node(state).networks[NETWORK.id].problem
    state = dataclasses.replace(state, data_path_addr="fd00::1")
    assert "IPv6" in plan_node(state).networks[NETWORK.id].problem
