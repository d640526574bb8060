"""What a node's agent says of its node, as dockerd's.

Source: moby, daemon/cluster/executor/container/executor.go, Describe; daemon/info.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from services.cluster.model.objects import EngineDescription, NodeDescription
from services.cluster.model.task_spec import (
    DiscreteGenericResource,
    GenericResource,
    NamedGenericResource,
    Platform,
    Resources,
)
from services.errors import InvalidParameter
from services.system import HostFacts

LOCAL_NETWORKS: Final = ("bridge", "host", "ipvlan", "macvlan", "null")


def describe_node(
    facts: HostFacts,
    *,
    engine_version: str,
    labels: Sequence[str],
    log_drivers: Iterable[str],
    network_drivers: Iterable[str] = LOCAL_NETWORKS,
    generic_resources: Sequence[GenericResource] = (),
) -> NodeDescription:
    """The node as it is. `labels` are the daemon's, as `name=value`."""
    plugins = [
        *(("Network", name) for name in {"overlay", *network_drivers}),
        *(("Log", name) for name in set(log_drivers)),
        ("Volume", "local"),
    ]
    return NodeDescription(
        hostname=facts.hostname,
        platform=Platform(architecture=facts.architecture, os="linux"),
        resources=Resources(
            nano_cpus=facts.ncpu * 10**9,
            memory_bytes=facts.memory_total_bytes,
            generic_resources=list(generic_resources),
        ),
        engine=EngineDescription(
            engine_version=engine_version,
            labels=_labels(labels),
            plugins=sorted(plugins),
        ),
    )


def _labels(labels: Sequence[str]) -> dict[str, str]:
    """The last of a name counts; one without a value is none."""
    return {name: value for name, mark, value in (t.partition("=") for t in labels) if mark}


def parse_generic_resources(texts: Sequence[str]) -> list[GenericResource]:
    """From the daemon's `node-generic-resources`: `gpu=UUID1`, `ssd=3`; a kind is of one sort.

    Source: swarmkit, api/genericresource/parse.go.

    Raises:
        InvalidParameter: it is not that.
    """
    found: dict[str, list[str]] = {}
    for text in ",".join(texts).split(","):
        if not text.strip():
            continue
        kind, mark, value = text.strip().partition("=")
        if not mark or not kind or not value:
            raise InvalidParameter(f"invalid generic resource: {text}")
        found.setdefault(kind, []).append(value)
    resources: list[GenericResource] = []
    for kind, values in found.items():
        resources += _of_kind(kind, values)
    return resources


def _of_kind(kind: str, values: list[str]) -> list[GenericResource]:
    if len(values) == 1 and values[0].isdigit():
        discrete = DiscreteGenericResource(kind=kind, value=int(values[0]))
        return [GenericResource(discrete_resource_spec=discrete)]
    if any(value.isdigit() for value in values):
        raise InvalidParameter(f"mixed discrete and named resources in expression '{kind}'")
    return [
        GenericResource(named_resource_spec=NamedGenericResource(kind=kind, value=value))
        for value in dict.fromkeys(values)
    ]
