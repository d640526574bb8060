"""From requests to networks: what is decided, and what is refused, in dockerd's words."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest

from services.errors import EngineError, Forbidden, InvalidParameter, NotFound
from services.networks import model
from services.networks.ipam.pools import DEFAULT_POOLS, Pool
from services.networks.ipam.request import SubnetRequest
from services.networks.model import Network, Stage, Subnet
from services.networks.planning.plan import plan_network
from services.networks.planning.request import NetworkRequest, Surroundings

ID = "0123456789ab" + "c" * 52
ULA = Pool(IPv6Network("fd12:3456:789a::/48"), 64)
DEFAULT = Network(
    id="d" * 64,
    name="bridge",
    driver="bridge",
    link="docker0",
    subnets=[Subnet(subnet="172.17.0.0/16", gateway="172.17.0.1")],
)


def plan(name: str = "n", around: dict[str, Any] | None = None, **fields: Any) -> Network:
    subnets = tuple(
        SubnetRequest(**one) if isinstance(one, dict) else SubnetRequest(subnet=one)
        for one in fields.pop("subnets", ())
    )
    surroundings = Surroundings(
        **{
            "present": [DEFAULT],
            "pools": (*DEFAULT_POOLS, ULA),
            "routes": [],
            "default_options": {},
            **(around or {}),
        }
    )
    request = NetworkRequest(name=name, subnets=subnets, **fields)
    return plan_network(request, surroundings, network_id=ID, now_ns=7)


def shown(network: Network) -> list[tuple[str, str]]:
    return [(subnet.subnet, subnet.gateway) for subnet in network.subnets]


def test_nothing_but_a_name() -> None:
    """A bridge named after the id, on the first free subnet; on disk before it is made."""
    network = plan()
    assert (network.driver, network.link, network.owns_link) == ("bridge", "br-0123456789ab", True)
    assert (network.stage, network.created_at_ns) == (Stage.MAKING, 7)
    assert shown(network) == [("172.18.0.0/16", "172.18.0.1")]
    assert network.subnets[0].is_chosen


def test_routes_of_the_host_are_left_alone() -> None:
    """Unless the user names such a subnet."""
    routes = [IPv4Network("172.18.0.0/24")]
    assert shown(plan(around={"routes": routes})) == [("172.19.0.0/16", "172.19.0.1")]
    asked = plan(around={"routes": routes}, subnets=["172.18.0.0/16"])
    assert shown(asked) == [("172.18.0.0/16", "172.18.0.1")]


def test_ipv6_comes_from_the_engines_own_pool() -> None:
    """Beside IPv4, or alone."""
    both = plan(ipv6=True)
    assert shown(both)[1] == ("fd12:3456:789a::/64", "fd12:3456:789a::1")
    alone = plan(ipv6=True, ipv4=False)
    assert shown(alone) == [("fd12:3456:789a::/64", "fd12:3456:789a::1")]


def test_a_named_subnet() -> None:
    """Range, gateway and auxiliary addresses as they were given."""
    one: dict[str, Any] = {
        "subnet": "10.1.0.0/16",
        "ip_range": "10.1.2.0/24",
        "gateway": "10.1.0.9",
        "auxiliary": {"a": "10.1.2.1"},
    }
    (subnet,) = plan(subnets=[one]).subnets
    assert subnet == Subnet(**one)


def test_a_gateway_is_the_first_free_address_of_the_range() -> None:
    """As dockerd has it; what others have is passed over."""
    one = {
        "subnet": "10.1.0.0/16",
        "ip_range": "10.1.2.0/24",
        "auxiliary": {"a": "10.1.2.0", "b": "10.1.2.1"},
    }
    assert shown(plan(subnets=[one])) == [("10.1.0.0/16", "10.1.2.2")]


@pytest.mark.parametrize(
    ("subnets", "text"),
    [
        (["10.1.0.0"], "invalid network config:\ninvalid subnet 10.1.0.0: invalid CIDR block"),
        ([""], "invalid subnet : invalid CIDR block notation"),
        (["10.1.0.1/24"], "invalid subnet 10.1.0.1/24: it should be 10.1.0.0/24"),
        ([{"subnet": "10.1.0.0/24", "ip_range": "10.0.0.0/8"}], "is bigger than its parent"),
        ([{"subnet": "10.1.0.0/24", "ip_range": "10.2.0.0/28"}], "doesn't contain ip-range"),
        ([{"subnet": "10.1.0.0/24", "ip_range": "10.1.0.3/28"}], "it should be 10.1.0.0/28"),
        ([{"subnet": "10.1.0.0/24", "ip_range": "fd00::/64"}], "parent subnet is an IPv4 block"),
        ([{"subnet": "10.1.0.0/24", "ip_range": "x"}], "invalid ip-range x: invalid CIDR"),
        ([{"subnet": "10.1.0.0/24", "gateway": "10.2.0.1"}], "doesn't contain this address"),
        ([{"subnet": "10.1.0.0/24", "gateway": "x"}], "invalid gateway x: invalid address"),
        ([{"subnet": "10.1.0.0/24", "gateway": "fd00::1"}], "parent subnet is an IPv4 block"),
        (
            [{"subnet": "10.1.0.0/24", "auxiliary": {"a": "10.2.0.1"}}],
            "invalid auxiliary address a: parent subnet 10.1.0.0/24 doesn't contain",
        ),
        (["10.1.0.0/24", "10.2.0.0/24"], "bridge driver doesn't support multiple subnets"),
    ],
)
def test_impossible_subnets(subnets: list[Any], text: str) -> None:
    """The client's mistake."""
    with pytest.raises(InvalidParameter) as refused:
        plan(subnets=subnets)
    assert text in str(refused.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """A line for each."""
    with pytest.raises(InvalidParameter) as refused:
        plan(subnets=["x", {"subnet": "10.1.0.1/24", "gateway": "y"}])
    assert len(str(refused.value).splitlines()) == 4


def test_subnets_do_not_overlap() -> None:
    """Other networks', also the default bridge's; those of configurations are no networks."""
    with pytest.raises(Forbidden, match="invalid pool request: Pool overlaps with other one"):
        plan(subnets=["172.17.8.0/24"])
    other = Network(
        id="e" * 64,
        name="c",
        driver="null",
        config_only=True,
        subnets=[Subnet(subnet="10.1.0.0/24")],
    )
    plan(subnets=["10.1.0.0/24"], around={"present": [other]})


@pytest.mark.parametrize(
    ("subnet", "gateway"),
    [
        ("10.1.0.0/24", "10.1.0.0"),
        ("10.1.0.0/24", "10.1.0.255"),
        ("10.1.0.0/30", "10.1.0.3"),
        ("fd00:7::/64", "fd00:7::"),
    ],
)
@pytest.mark.parametrize("driver", ["bridge", "macvlan"])
def test_a_gateway_has_an_address_of_its_own(subnet: str, gateway: str, driver: str) -> None:
    """Neither the network's nor all stations': dockerd's status and text."""
    asked = [{"subnet": subnet, "gateway": gateway}]
    text = f"failed to allocate gateway ({gateway}): Address already in use"
    with pytest.raises(EngineError, match=re.escape(text)) as refused:
        plan(driver=driver, subnets=asked, ipv6=True)
    assert type(refused.value) is EngineError  # 500
    with pytest.raises(EngineError, match=re.escape(f"(a:{gateway}): Address already in use")):
        plan(driver=driver, subnets=[{"subnet": subnet, "auxiliary": {"a": gateway}}], ipv6=True)


@pytest.mark.parametrize(
    ("subnet", "gateway"),
    [("10.1.0.0/31", "10.1.0.0"), ("10.1.0.0/31", "10.1.0.1"), ("fd00:7::/126", "fd00:7::3")],
)
def test_a_link_between_two_has_no_address_for_all(subnet: str, gateway: str) -> None:
    """Nor has any of IPv6: they can be a gateway's."""
    asked = [{"subnet": subnet, "gateway": gateway}]
    assert (subnet, gateway) in shown(plan(subnets=asked, ipv6=":" in subnet))


@pytest.mark.parametrize("name", ["bridge", "host", "none", "default", "container:x"])
def test_predefined_names(name: str) -> None:
    """Nobody else's."""
    with pytest.raises(Forbidden) as refused:
        plan(name)
    assert str(refused.value) == f"operation is not permitted on predefined {name} network "


@pytest.mark.parametrize("name", ["", "  "])
def test_a_network_has_a_name(name: str) -> None:
    """White space is none."""
    with pytest.raises(InvalidParameter, match="name is empty"):
        plan(name)


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"driver": "host"}, Forbidden, 'only one instance of "host" network is allowed'),
        ({"driver": "null"}, Forbidden, 'only one instance of "null" network is allowed'),
        ({"driver": "overlay"}, Forbidden, "This node is not a swarm manager"),
        ({"driver": "x"}, NotFound, 'plugin "x" not found'),
        ({"ipam_driver": "x"}, NotFound, 'plugin "x" not found'),
        ({"scope": "swarm"}, Forbidden, "cannot create a swarm scoped network"),
        ({"scope": "x"}, InvalidParameter, "invalid scope: x"),
        ({"ingress": True}, Forbidden, "Ingress network can only be global scope network"),
        (
            {"options": {model.OPTION_IPV6: "x"}},
            InvalidParameter,
            'driver-opt "com.docker.network.enable_ipv6" is not a valid bool',
        ),
        (
            {"options": {model.GATEWAY_MODE_IPV4: "isolated"}},
            InvalidParameter,
            "gateway mode 'isolated' can only be used for an internal network",
        ),
        ({"config_only": True, "internal": True}, Forbidden, "can only contain network specific"),
        (
            {"config_only": True, "config_from": "c"},
            Forbidden,
            "a configuration network cannot depend on another configuration network",
        ),
        ({"config_from": "c"}, NotFound, 'configuration network "c" does not exist'),
        (
            {"config_from": "c", "labels": {"a": "b"}},
            Forbidden,
            "user specified configurations are not supported if the network depends on",
        ),
        (
            {"subnets": ["fe80::/60"], "ipv6": True},
            InvalidParameter,
            "'fe80::/60' clashes with the Link-Local prefix 'fe80::/64'",
        ),
        ({"subnets": ["ff02::/64"], "ipv6": True}, InvalidParameter, "multicast subnet"),
    ],
)
def test_refusals(fields: dict[str, Any], error: type[EngineError], text: str) -> None:
    """Each with dockerd's class and text."""
    with pytest.raises(error) as refused:
        plan(**fields)
    assert type(refused.value) is error
    assert text in str(refused.value)


def test_the_daemons_default_options() -> None:
    """For the driver that they are for, where the request does not say otherwise."""
    defaults = {"bridge": {model.MTU: "1400", model.ENABLE_ICC: "false"}, "macvlan": {"x": "y"}}
    options = plan(around={"default_options": defaults}, options={model.ENABLE_ICC: "true"}).options
    assert options == {model.MTU: "1400", model.ENABLE_ICC: "true"}


def test_an_option_switches_ipv6_on() -> None:
    """What the request says goes before it, and takes it out of sight."""
    assert plan(options={model.OPTION_IPV6: "1"}).ipv6
    network = plan(options={model.OPTION_IPV6: "1"}, ipv6=False)
    assert (network.ipv6, network.options) == (False, {})


def test_a_bridge_has_one_network() -> None:
    """Two of one name would be one."""
    with pytest.raises(Forbidden, match="networks have same bridge name"):
        plan(options={model.BRIDGE_NAME: "docker0"})


def test_a_link_that_is_there_is_not_ours() -> None:
    """It stays when the network goes."""
    network = plan(options={model.BRIDGE_NAME: "br0"}, around={"links": {"br0"}})
    assert (network.link, network.owns_link) == ("br0", False)


def test_an_isolated_network_has_no_gateway() -> None:
    """Nor does the host have an address in it."""
    options = {model.GATEWAY_MODE_IPV4: "isolated"}
    network = plan(options=options, internal=True, ipv6=True)
    assert [gateway for _, gateway in shown(network)] == ["", "fd12:3456:789a::1"]


def test_a_configuration_is_taken_over() -> None:
    """Subnets, options, labels; the networks that use it have their own addresses."""
    source = plan(
        "c",
        config_only=True,
        subnets=["10.1.0.0/24"],
        options={model.MTU: "1400"},
        labels={"a": "b"},
    )
    assert (source.driver, source.config_only, source.link) == ("null", True, "")
    network = plan(config_from="c", internal=True, around={"present": [DEFAULT, source]})
    assert shown(network) == [("10.1.0.0/24", "10.1.0.1")]
    assert (network.options, network.labels) == ({model.MTU: "1400"}, {"a": "b"})
    assert (network.config_from, network.internal) == ("c", True)


# -- macvlan ----------------------------------------------------------------------------------


def macvlan(**fields: Any) -> Network:
    fields.setdefault("options", {"parent": "eth0"})
    return plan(driver="macvlan", **fields)


def test_a_macvlan_network() -> None:
    """Its parent is the host's; a VLAN of one is made, and then ours."""
    network = macvlan(around={"links": {"eth0"}}, subnets=["10.1.0.0/24", "10.2.0.0/24"])
    assert (network.link, network.owns_link) == ("eth0", False)
    assert shown(network) == [("10.1.0.0/24", "10.1.0.1"), ("10.2.0.0/24", "10.2.0.1")]
    assert macvlan(options={"parent": "eth0.7"}, around={"links": {"eth0"}}).owns_link


def test_without_a_parent_it_leads_nowhere() -> None:
    """So there is no gateway, and the parent is a link of our own."""
    network = macvlan(options={})
    assert (network.link, network.owns_link) == ("dm-0123456789ab", True)
    assert shown(network) == [("172.18.0.0/16", "")]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"parent": "lo"}, "loopback interface is not a valid macvlan parent link"),
        ({"macvlan_mode": "x"}, "requested macvlan mode 'x' is not valid"),
        ({"parent": "a/b"}, "invalid macvlan parent link"),
    ],
)
def test_impossible_parents(options: dict[str, str], text: str) -> None:
    """The client's mistake."""
    with pytest.raises(InvalidParameter, match=text):
        macvlan(options=options)


def test_passthru_takes_the_whole_parent() -> None:
    """Whichever of the two came first."""
    shared = macvlan(around={"links": {"eth0"}})
    with pytest.raises(EngineError, match="cannot use mode passthru"):
        macvlan(
            options={"parent": "eth0", "macvlan_mode": "passthru"},
            around={"present": [shared], "links": {"eth0"}},
        )
    whole = macvlan(
        options={"parent": "eth0", "macvlan_mode": "passthru"}, around={"links": {"eth0"}}
    )
    with pytest.raises(EngineError, match="in mode passthru"):
        macvlan(around={"present": [whole], "links": {"eth0"}})


def test_a_vlan_that_was_made_for_one_is_shared_by_all() -> None:
    """The last of them takes it away."""
    first = macvlan(options={"parent": "eth0.7"}, around={"links": {"eth0"}})
    second = macvlan(
        options={"parent": "eth0.7"},
        around={"present": [first], "links": {"eth0", "eth0.7"}},
    )
    assert second.owns_link
