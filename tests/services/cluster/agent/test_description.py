"""`description`: what a node says of itself."""

from __future__ import annotations

import pytest

from services.cluster.agent.description import describe_node, parse_generic_resources
from services.cluster.model.task_spec import (
    DiscreteGenericResource,
    GenericResource,
    NamedGenericResource,
)
from services.errors import InvalidParameter
from services.system import HostFacts


def test_a_node() -> None:
    """As dockerd's: the host, its resources, the engine with its labels and plugins, sorted."""
    facts = HostFacts(hostname="h", ncpu=3, memory_total_bytes=5)
    node = describe_node(
        facts,
        engine_version="1.2",
        labels=("a=1", "none", "a=2"),
        log_drivers=("local", "json-file"),
    )
    assert (node.hostname, node.platform.architecture, node.platform.os) == ("h", "x86_64", "linux")
    assert (node.resources.nano_cpus, node.resources.memory_bytes) == (3_000_000_000, 5)
    assert (node.engine.engine_version, node.engine.labels) == ("1.2", {"a": "2"})
    assert node.engine.plugins == [
        ("Log", "json-file"),
        ("Log", "local"),
        ("Network", "bridge"),
        ("Network", "host"),
        ("Network", "ipvlan"),
        ("Network", "macvlan"),
        ("Network", "null"),
        ("Network", "overlay"),
        ("Volume", "local"),
    ]


def test_generic_resources() -> None:
    """Named ones, and a number of those without names."""
    assert parse_generic_resources(["gpu=a,gpu=b", "ssd=3"]) == [
        GenericResource(named_resource_spec=NamedGenericResource(kind="gpu", value="a")),
        GenericResource(named_resource_spec=NamedGenericResource(kind="gpu", value="b")),
        GenericResource(discrete_resource_spec=DiscreteGenericResource(kind="ssd", value=3)),
    ]


@pytest.mark.parametrize("text", ["gpu", "gpu=", "=a", "gpu=a,gpu=3"])
def test_no_generic_resources(text: str) -> None:
    """Refused at the daemon's start."""
    with pytest.raises(InvalidParameter):
        parse_generic_resources([text])
