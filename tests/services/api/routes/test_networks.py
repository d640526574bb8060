"""Networks as clients see them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from services.api.routes.networks import NetworkRoutes
from services.containers import Container
from services.containers.config import EndpointSettings
from services.errors import Forbidden, NotFound
from services.networks import Network, NetworkFilters, NetworkRequest
from services.networks.ipam.addresses import NetworkAddresses
from services.networks.ipam.request import SubnetRequest
from services.networks.model import Subnet
from tests.services.api.client import Api, api_of
from tests.services.api.containers import container, container_id, exited, running
from tests.services.api.openapi import require_definition

BRIDGE = Network(
    id="3" * 64,
    name="bridge",
    driver="bridge",
    options={"com.docker.network.bridge.name": "docker0"},
    subnets=[Subnet(subnet="172.17.0.0/16", gateway="172.17.0.1")],
)
HOST = Network(id="c" * 64, name="host", driver="host", ipv4=False)
NONE = Network(id="d" * 64, name="none", driver="null", ipv4=False)
OWN = Network(
    id="e" * 64,
    name="front",
    driver="bridge",
    created_at_ns=1_700_000_000_123_456_789,
    ipv6=True,
    internal=True,
    labels={"a": "b"},
    subnets=[
        Subnet(
            subnet="10.1.0.0/24",
            ip_range="10.1.0.64/26",
            gateway="10.1.0.1",
            auxiliary={"router": "10.1.0.66"},
        ),
        Subnet(subnet="fd00::/64", gateway="fd00::1"),
    ],
)


class FakeNetworks:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.made: list[NetworkRequest] = []
        self.pruned: list[NetworkFilters] = []

    async def select(self, filters: NetworkFilters) -> list[Network]:
        networks = (BRIDGE, HOST, NONE, OWN)
        return [n for n in networks if filters.choose(n, n is BRIDGE)]

    async def get(self, ref: str) -> Network:
        for network in (BRIDGE, HOST, NONE, OWN):
            if ref == network.name or network.id.startswith(ref):
                return network
        raise NotFound(f"network {ref} not found")

    async def create(self, request: NetworkRequest) -> Network:
        self.made.append(request)
        return OWN

    async def remove(self, ref: str) -> None:
        if (await self.get(ref)).is_predefined:
            raise Forbidden(f"{ref} is a pre-defined network and cannot be removed")

    async def prune(self, filters: NetworkFilters) -> list[str]:
        self.pruned.append(filters)
        return ["front"]

    def addresses(self, network: Network) -> NetworkAddresses:
        return NetworkAddresses(network)


class FakeContainers:
    """Some, and what was asked of them."""

    def __init__(self, containers: Iterable[Container]) -> None:
        self.table = list(containers)
        self.connections = self
        self.calls: list[tuple[Any, ...]] = []

    def find(self, ref: str) -> Container:
        for one in self.table:
            if ref == one.name:
                return one
        raise NotFound(f"No such container: {ref}")

    async def connect(self, subject: Container, ref: str, asked: EndpointSettings) -> None:
        self.calls.append(("connect", subject.name, ref, asked))

    async def disconnect(self, subject: Container, ref: str, *, force: bool) -> None:
        self.calls.append(("disconnect", subject.name, ref, force))


class Served:
    """An API over fakes."""

    def __init__(self, api: Api, networks: FakeNetworks, containers: FakeContainers) -> None:
        self.api, self.networks, self.containers = api, networks, containers

    async def post(self, path: str, body: object, version: str = "") -> Any:
        """A request with a body."""
        encoded = json.dumps(body).encode()
        return await self.api.call(
            "POST", f"{version}{path}", encoded, content_type="application/json"
        )


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[Served]:
    containers = FakeContainers(
        [
            container("a", status=running()),
            container("b", status=exited(networks=running().networks)),
            container("c"),
        ]
    )
    networks = FakeNetworks()
    routes = NetworkRoutes(networks, containers)  # type: ignore[arg-type]
    async with api_of(tmp_path, routes.blueprint()) as api:
        yield Served(api, networks, containers)


async def test_the_list(tmp_path: Path) -> None:
    """All there are, with their subnets."""
    async with serving(tmp_path) as served:
        wire = (await served.api.call("GET", "/networks")).json()
    require_definition().validate("NetworkList", 200, wire)
    assert [(one["Name"], one["Driver"]) for one in wire] == [
        ("bridge", "bridge"),
        ("host", "host"),
        ("none", "null"),
        ("front", "bridge"),
    ]
    assert wire[0]["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]
    assert wire[0]["Created"] == "0001-01-01T00:00:00Z"
    assert "Containers" not in wire[0]
    assert wire[3] == {
        "Name": "front",
        "Id": "e" * 64,
        "Created": "2023-11-14T22:13:20.123456789Z",
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": True,
        "EnableIPv6": True,
        "IPAM": {
            "Driver": "default",
            "Options": None,
            "Config": [
                {
                    "Subnet": "10.1.0.0/24",
                    "IPRange": "10.1.0.64/26",
                    "Gateway": "10.1.0.1",
                    "AuxiliaryAddresses": {"router": "10.1.0.66"},
                },
                {"Subnet": "fd00::/64", "Gateway": "fd00::1"},
            ],
        },
        "Internal": True,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Options": {},
        "Labels": {"a": "b"},
    }


async def test_old_clients_get_the_members_in_the_list(tmp_path: Path) -> None:
    """Before 1.28."""
    async with serving(tmp_path) as served:
        wire = (await served.api.call("GET", "/v1.27/networks")).json()
    assert list(wire[0]["Containers"]) == [container_id("a")]


@pytest.mark.parametrize("ref", ["bridge", "3" * 64, "333"])
async def test_an_inspection(tmp_path: Path, ref: str) -> None:
    """By name, id and beginning; those who run are in it."""
    async with serving(tmp_path) as served:
        wire = (await served.api.call("GET", f"/networks/{ref}")).json()
    require_definition().validate("NetworkInspect", 200, wire)
    assert wire["Containers"] == {
        container_id("a"): {
            "Name": "name-a",
            "EndpointID": "4" * 64,
            "MacAddress": "02:42:ac:11:00:02",
            "IPv4Address": "172.17.0.2/16",
            "IPv6Address": "",
        }
    }


async def test_how_full_a_network_is(tmp_path: Path) -> None:
    """From 1.52 on; large numbers end where dockerd's do."""
    async with serving(tmp_path) as served:
        wire = (await served.api.call("GET", "/networks/front")).json()
        older = (await served.api.call("GET", "/v1.51/networks/front")).json()
    require_definition().validate("NetworkInspect", 200, wire)
    assert wire["Status"]["IPAM"]["Subnets"] == {
        "10.1.0.0/24": {"IPsInUse": 4, "DynamicIPsAvailable": 63},
        "fd00::/64": {"IPsInUse": 2, "DynamicIPsAvailable": 2**64 - 2},
    }
    assert "Status" not in older


@pytest.mark.parametrize("path", ["/networks/nope", "/networks/bridge?scope=swarm"])
async def test_what_is_not_there(tmp_path: Path, path: str) -> None:
    """404, with the name."""
    async with serving(tmp_path) as served:
        answer = await served.api.call("GET", path)
    assert answer.status == 404
    assert answer.message.startswith("network ")


async def test_a_creation(tmp_path: Path) -> None:
    """All members of the request arrive."""
    body = {
        "Name": "front",
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Scope": "local",
        "Internal": True,
        "Attachable": True,
        "EnableIPv6": True,
        "EnableIPv4": False,
        "IPAM": {
            "Driver": "default",
            "Options": {"o": "p"},
            "Config": [
                {
                    "Subnet": "10.1.0.0/24",
                    "IPRange": "10.1.0.64/26",
                    "Gateway": "10.1.0.1",
                    "AuxiliaryAddresses": {"router": "10.1.0.66"},
                }
            ],
        },
        "Options": {"x": "y"},
        "Labels": {"a": "b"},
    }
    async with serving(tmp_path) as served:
        answer = await served.post("/networks/create", body)
        assert (answer.status, answer.json()) == (201, {"Id": "e" * 64, "Warning": ""})
        require_definition().validate("NetworkCreate", 201, answer.json())
        assert served.networks.made == [
            NetworkRequest(
                name="front",
                driver="bridge",
                scope="local",
                internal=True,
                attachable=True,
                ipv4=False,
                ipv6=True,
                ipam_driver="default",
                ipam_options={"o": "p"},
                subnets=(
                    SubnetRequest(
                        subnet="10.1.0.0/24",
                        ip_range="10.1.0.64/26",
                        gateway="10.1.0.1",
                        auxiliary={"router": "10.1.0.66"},
                    ),
                ),
                options={"x": "y"},
                labels={"a": "b"},
            )
        ]
        await served.post("/networks/create", body, "/v1.47")
        assert served.networks.made[1].ipv4 is None  # it could not be off then


@pytest.mark.parametrize("ipam", [None, {}, {"Config": None}, {"Driver": "", "Options": None}])
async def test_little_is_enough(tmp_path: Path, ipam: object) -> None:
    """Null and absent are the same."""
    async with serving(tmp_path) as served:
        await served.post("/networks/create", {"Name": "n", "IPAM": ipam, "Options": None})
        assert served.networks.made == [NetworkRequest(name="n")]


async def test_a_configuration(tmp_path: Path) -> None:
    """By its name."""
    async with serving(tmp_path) as served:
        await served.post("/networks/create", {"Name": "n", "ConfigFrom": {"Network": "c"}})
        await served.post("/networks/create", {"Name": "c", "ConfigOnly": True})
        assert served.networks.made == [
            NetworkRequest(name="n", config_from="c"),
            NetworkRequest(name="c", config_only=True),
        ]


async def test_a_removal(tmp_path: Path) -> None:
    """204 with nothing; refusals as they come."""
    async with serving(tmp_path) as served:
        gone = await served.api.call("DELETE", "/networks/front")
        refused = await served.api.call("DELETE", "/networks/bridge")
        missing = await served.api.call("DELETE", "/networks/nope")
    assert (gone.status, gone.body) == (204, b"")
    assert (refused.status, missing.status) == (403, 404)


async def test_connecting(tmp_path: Path) -> None:
    """The container must be there; what is asked of the network goes along."""
    body = {"Container": "name-a", "EndpointConfig": {"Aliases": ["x"], "GwPriority": 7}}
    async with serving(tmp_path) as served:
        answer = await served.post("/networks/front/connect", body)
        bare = await served.post("/networks/front/connect", {"Container": "name-c"})
        missing = await served.post("/networks/front/connect", {"Container": "nope"})
        assert (answer.status, answer.body, bare.status) == (200, b"", 200)
        assert (missing.status, missing.message) == (404, "No such container: nope")
        assert served.containers.calls == [
            ("connect", "name-a", "front", EndpointSettings(aliases=["x"], gw_priority=7)),
            ("connect", "name-c", "front", EndpointSettings()),
        ]


async def test_disconnecting(tmp_path: Path) -> None:
    """By force, also a container that is gone: nothing of it is left in a network."""
    async with serving(tmp_path) as served:
        answer = await served.post(
            "/networks/front/disconnect", {"Container": "name-a", "Force": True}
        )
        gone = await served.post("/networks/front/disconnect", {"Container": "x", "Force": True})
        missing = await served.post("/networks/front/disconnect", {"Container": "x"})
        assert (answer.status, answer.body) == (200, b"")
        assert (gone.status, gone.message) == (404, "endpoint x not found")
        assert (missing.status, missing.message) == (404, "No such container: x")
        assert served.containers.calls == [("disconnect", "name-a", "front", True)]


async def test_a_prune(tmp_path: Path) -> None:
    """The names of what went."""
    filters = quote(json.dumps({"label": ["a"], "label!": ["b=c"], "until": ["1700000000"]}))
    async with serving(tmp_path) as served:
        wire = (await served.api.call("POST", f"/networks/prune?filters={filters}")).json()
        assert served.networks.pruned == [
            NetworkFilters(
                labels=("a",),
                not_labels=("b=c",),
                is_dangling=True,
                until_ns=1_700_000_000 * 10**9,
            )
        ]
    require_definition().validate("NetworkPrune", 200, wire)
    assert wire == {"NetworksDeleted": ["front"]}


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"name": ["^br"]}, ["bridge"]),
        ({"name": ["("]}, []),
        ({"driver": ["null", "host"]}, ["host", "none"]),
        ({"id": ["ccc"]}, ["host"]),
        ({"type": ["builtin"]}, ["bridge", "host", "none"]),
        ({"type": ["custom"]}, ["front"]),
        ({"type": ["custom", "builtin"]}, ["bridge", "host", "none", "front"]),
        ({"dangling": ["true"]}, ["front"]),
        ({"dangling": ["0"]}, ["bridge", "host", "none"]),
        ({"label": ["a"]}, ["front"]),
        ({"label": ["a=b"]}, ["front"]),
        ({"label": ["a=c"]}, []),
        ({"scope": ["local"]}, ["bridge", "host", "none", "front"]),
        ({"scope": ["swarm"]}, []),
    ],
)
async def test_filters(tmp_path: Path, filters: object, names: list[str]) -> None:
    """Each filter of the API."""
    async with serving(tmp_path) as served:
        answer = await served.api.call("GET", f"/networks?filters={quote(json.dumps(filters))}")
    assert [one["Name"] for one in answer.json()] == names


@pytest.mark.parametrize(
    ("method", "path", "filters"),
    [
        ("GET", "/networks", {"nope": ["x"]}),
        ("GET", "/networks", {"type": ["x"]}),
        ("GET", "/networks", {"dangling": ["x"]}),
        ("GET", "/networks", {"dangling": ["true", "false"]}),
        ("POST", "/networks/prune", {"name": ["x"]}),
        ("POST", "/networks/prune", {"until": ["x"]}),
    ],
)
async def test_bad_filters(tmp_path: Path, method: str, path: str, filters: object) -> None:
    """Unknown names and values are refused."""
    async with serving(tmp_path) as served:
        answer = await served.api.call(method, f"{path}?filters={quote(json.dumps(filters))}")
    assert answer.status == 400


@pytest.mark.parametrize("path", ["/networks/create", "/networks/n/connect"])
async def test_a_body_is_wanted(tmp_path: Path, path: str) -> None:
    """None is the client's mistake."""
    async with serving(tmp_path) as served:
        answer = await served.api.call("POST", path)
    assert answer.status == 400


def test_settings_come_back_as_they_went() -> None:
    """What inspect shows of an endpoint can be sent again."""
    shown = msgspec.to_builtins(EndpointSettings(aliases=["a"], ip_address="10.0.0.1"))
    assert msgspec.convert(shown, EndpointSettings).aliases == ["a"]
