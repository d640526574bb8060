"""The predefined networks as clients see them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Interface
from pathlib import Path
from urllib.parse import quote

import pytest

from services.api.routes.networks import NetworkRoutes
from services.api.types.networks import BridgeOnHost
from tests.services.api.client import Api, api_of
from tests.services.api.containers import container, container_id, exited, running
from tests.services.api.openapi import require_definition

BRIDGE = BridgeOnHost(
    name="docker0", address=IPv4Interface("172.17.0.1/16"), mtu=1500, masquerade=True
)


class Ids:
    def network_id(self, name: str) -> str:
        return {"bridge": "b" * 64, "host": "c" * 64, "none": "d" * 64}[name]


@asynccontextmanager
async def serving(tmp_path: Path, bridge: BridgeOnHost | None = BRIDGE) -> AsyncIterator[Api]:
    containers = [
        container("a", status=running()),
        container("b", status=exited(networks=running().networks)),
        container("c"),
    ]
    routes = NetworkRoutes(Ids(), bridge=lambda: bridge, containers=containers)
    async with api_of(tmp_path, routes.blueprint()) as api:
        yield api


async def test_the_list(tmp_path: Path) -> None:
    """All there are; the bridge with its subnet."""
    async with serving(tmp_path) as api:
        wire = (await api.call("GET", "/networks")).json()
    require_definition().validate("NetworkList", 200, wire)
    assert [(one["Name"], one["Driver"]) for one in wire] == [
        ("bridge", "bridge"),
        ("host", "host"),
        ("none", "null"),
    ]
    assert wire[0]["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]


async def test_without_a_bridge(tmp_path: Path) -> None:
    """There is none to be shown, nor found."""
    async with serving(tmp_path, None) as api:
        wire = (await api.call("GET", "/networks")).json()
        missing = await api.call("GET", "/networks/bridge")
    assert [one["Name"] for one in wire] == ["host", "none"]
    assert (missing.status, missing.message) == (404, "network bridge not found")


@pytest.mark.parametrize("ref", ["bridge", "b" * 64, "bbb"])
async def test_an_inspection(tmp_path: Path, ref: str) -> None:
    """By name, id and beginning; those who run are in it."""
    async with serving(tmp_path) as api:
        wire = (await api.call("GET", f"/networks/{ref}")).json()
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


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"name": ["^br"]}, ["bridge"]),
        ({"name": ["("]}, []),
        ({"driver": ["null", "host"]}, ["host", "none"]),
        ({"id": ["ccc"]}, ["host"]),
        ({"type": ["builtin"]}, ["bridge", "host", "none"]),
        ({"type": ["custom"]}, []),
        ({"dangling": ["true"]}, []),
        ({"label": ["a"]}, []),
        ({"scope": ["local"]}, ["bridge", "host", "none"]),
    ],
)
async def test_filters(tmp_path: Path, filters: object, names: list[str]) -> None:
    """Each filter of the API."""
    async with serving(tmp_path) as api:
        answer = await api.call("GET", f"/networks?filters={quote(json.dumps(filters))}")
    assert [one["Name"] for one in answer.json()] == names


@pytest.mark.parametrize("filters", [{"nope": ["x"]}, {"type": ["x"]}])
async def test_bad_filters(tmp_path: Path, filters: object) -> None:
    """Unknown names and values are refused."""
    async with serving(tmp_path) as api:
        answer = await api.call("GET", f"/networks?filters={quote(json.dumps(filters))}")
    assert answer.status == 400
