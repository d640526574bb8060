"""Which networks a create request asks for, and what is recorded of them."""

from __future__ import annotations

from typing import Any

import pytest

from services.containers.config import (
    ContainerConfig,
    EndpointIPAMConfig,
    EndpointSettings,
    HostConfig,
    NetworkingConfig,
)
from services.containers.networking.endpoint_labels import labels_of, recorded_endpoints
from services.containers.networking.settings import (
    check_endpoint,
    check_networking,
    dns_names,
    endpoints_of,
    settings_by_network,
    wanted_endpoints,
)
from services.errors import InvalidParameter, NotFound
from services.networks import Endpoint, Network
from services.networks.model import Subnet
from tests.services.api.containers import container

OWN = EndpointSettings(mac_address="02:42:ac:11:00:09")
FRONT = Network(
    id="f" * 64,
    name="front",
    driver="bridge",
    subnets=[Subnet(subnet="10.1.0.0/24"), Subnet(subnet="fd00:1::/64")],
)
BACK = Network(
    id="b" * 64,
    name="back",
    driver="bridge",
    subnets=[Subnet(subnet="10.2.0.0/24", is_chosen=True)],
)
BRIDGE = Network(id="d" * 64, name="bridge", driver="bridge")


class Known:
    """The networks there are."""

    def find(self, ref: str) -> Network:
        for network in (FRONT, BACK, BRIDGE):
            if ref and (ref == network.name or network.id.startswith(ref)):
                return network
        raise NotFound(f"network {ref} not found")


def asked(**endpoints: EndpointSettings | None) -> NetworkingConfig:
    return NetworkingConfig(endpoints_config=endpoints)


def test_nothing_asked_is_the_modes_network() -> None:
    """With settings of its own; by its name, however the mode calls it."""
    nothing = NetworkingConfig()
    assert check_networking(nothing, "bridge", Known()) == {"bridge": EndpointSettings()}
    assert check_networking(nothing, "ffff", Known()) == {"front": EndpointSettings()}
    assert check_networking(nothing, "container:x", Known()) == {}


def test_the_settings_of_a_network() -> None:
    """As given; null is nothing special."""
    assert check_networking(asked(bridge=OWN), "bridge", Known()) == {"bridge": OWN}
    empty = asked(bridge=None)
    assert check_networking(empty, "bridge", Known()) == {"bridge": EndpointSettings()}


def test_default_is_the_modes_network() -> None:
    """What clients call it."""
    assert check_networking(asked(default=OWN), "bridge", Known()) == {"bridge": OWN}


def test_several_networks() -> None:
    """Each by its name; one that is not there yet may be by the start."""
    both = NetworkingConfig(endpoints_config={"f" * 64: OWN, "back": None, "later": None})
    assert check_networking(both, "front", Known()) == {
        "front": OWN,
        "back": EndpointSettings(),
        "later": EndpointSettings(),
    }


def ipam(**fields: Any) -> EndpointSettings:
    return EndpointSettings(ipam_config=EndpointIPAMConfig(**fields))


def options(**fields: str) -> EndpointSettings:
    prefix = "com.docker.network.endpoint"
    return EndpointSettings(driver_opts={f"{prefix}.{key}": text for key, text in fields.items()})


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("bridge", ipam(ipv4_address="10.0.0.9"), "user specified IP address is supported on user"),
        ("bridge", EndpointSettings(aliases=["a"]), "network-scoped alias is supported only for"),
        ("front", ipam(ipv4_address="x"), "invalid IPv4 address: x"),
        ("front", ipam(ipv4_address="0.0.0.0"), "invalid IPv4 address: 0.0.0.0"),
        ("front", ipam(ipv6_address="10.1.0.9"), "invalid IPv6 address: 10.1.0.9"),
        ("front", ipam(link_local_ips=["x"]), "invalid link-local IP address: x"),
        (
            "front",
            ipam(ipv4_address="10.2.0.9"),
            "no configured subnet or ip-range contain the IP address 10.2.0.9",
        ),
        (
            "back",
            ipam(ipv4_address="10.2.0.9"),
            "user specified IP address is supported only when connecting to networks with user "
            "configured subnets",
        ),
        ("front", EndpointSettings(mac_address="x"), "invalid MAC address x"),
        ("front", options(sysctls="net.ipv4.conf.eth0.a=1"), "unrecognised network interface"),
        ("front", options(sysctls="kernel.x=1"), "unrecognised network interface sysctl 'kernel"),
        ("front", options(sysctls="net.ipv4.conf.IFNAME.a/../../b=1"), "unrecognised network"),
        ("front", options(sysctls="net.ipv4.conf.IFNAME.a"), "unrecognised network interface"),
        ("front", options(ifname="a/b"), "invalid interface name: a/b"),
        ("front", options(ifname="lo"), "invalid interface name: lo"),
        ("front", EndpointSettings(links=["a:b:c"]), "bad format for links: a:b:c"),
    ],
)
def test_settings_that_cannot_be(name: str, settings: EndpointSettings, text: str) -> None:
    """dockerd's words, whatever the network."""
    with pytest.raises(InvalidParameter) as refused:
        check_endpoint(name, settings, Known().find(name))
    assert text in str(refused.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """A line for each."""
    settings = EndpointSettings(
        ipam_config=EndpointIPAMConfig(ipv4_address="x", ipv6_address="y"), aliases=["a"]
    )
    with pytest.raises(InvalidParameter) as refused:
        check_endpoint("bridge", settings, BRIDGE)
    assert str(refused.value).startswith("invalid endpoint settings:\n")
    assert len(str(refused.value).splitlines()) == 5


def test_settings_that_can_be() -> None:
    """Nothing is said against them."""
    check_endpoint("front", ipam(ipv4_address="10.1.0.9", ipv6_address="fd00:1::9"), FRONT)
    check_endpoint("later", ipam(ipv4_address="10.1.0.9"), None)
    both = "net.ipv6.conf.ifname.a=1,net.ipv4.x.IFNAME.b=2"
    check_endpoint("front", options(sysctls=both), FRONT)
    check_endpoint("front", options(ifname="lan0"), FRONT)


def test_the_modes_network_comes_first() -> None:
    """Its link is eth0; the rest come by name. What was asked of each goes along."""
    settings = EndpointSettings(
        gw_priority=3,
        driver_opts={
            "com.docker.network.endpoint.ifname": "lan0",
            "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.a=1",
        },
    )
    subject = container(
        networks={"zz": EndpointSettings(), "back": settings, "front": OWN},
        host_config=HostConfig(network_mode="f" * 64),
    )
    requests = wanted_endpoints(subject.definition, Known())
    assert [request.network for request in requests] == ["front", "back", "zz"]
    assert requests[0].mac_address == OWN.mac_address
    assert (requests[1].gateway_priority, requests[1].interface) == (3, "lan0")
    assert requests[1].sysctls == ("net.ipv4.conf.IFNAME.a=1",)


def test_without_networking_there_is_none() -> None:
    """`NetworkDisabled`; one that has left every network has no links either."""
    disabled = container(config=ContainerConfig(network_disabled=True), networks={})
    assert [r.network for r in wanted_endpoints(disabled.definition, Known())] == ["none"]
    assert wanted_endpoints(container(networks={}).definition, Known()) == []


ENDPOINT = Endpoint(
    network="front",
    network_id="f" * 64,
    endpoint_id="e" * 64,
    driver="macvlan",
    address="10.1.0.2",
    prefix_length=24,
    gateway="10.1.0.1",
    address6="fd00:1::2",
    prefix_length6=64,
    gateway6="fd00:1::1",
    mac_address="02:42:0a:01:00:02",
    interface="eth3",
    gateway_priority=4,
)


def test_an_endpoint_outlives_its_record() -> None:
    """Row and labels of containerd tell all that is needed to find its link again."""
    wanted = {"front": EndpointSettings(gw_priority=4, aliases=["a"])}
    definition = container(networks=wanted).definition
    settings, places = settings_by_network(definition, [ENDPOINT])
    assert settings["front"].aliases == ["a"]
    assert endpoints_of(settings, places) == [ENDPOINT]
    assert recorded_endpoints({"x": "y", **labels_of([ENDPOINT])}, wanted) == (settings, places)


def test_a_label_is_short() -> None:
    """containerd takes 4,096 bytes for one, with its name."""
    for label, text in labels_of([ENDPOINT] * 30).items():
        assert len(label) + len(text) < 2048


def test_names_in_a_network() -> None:
    """Its own first; then aliases, the short id, the host name; each once."""
    subject = container("a", "web", config=ContainerConfig(hostname="h"))
    names = dns_names(subject.definition, EndpointSettings(aliases=["x", "web"]))
    assert names == ["web", "x", "a00000000000", "h"]
