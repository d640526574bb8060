"""Inputs for the tests of the spec: a plain container on a capable host, with changes."""

from __future__ import annotations

from typing import Any

import msgspec

from services.containers.config import ContainerConfig, HostConfig
from services.containers.spec import SpecDefaults, SpecInputs, adapt_host_config
from services.system import CgroupFacts, HostFacts

V1 = HostFacts(cgroup=CgroupFacts(version="1", cpus="0-1", mems="0"), ncpu=2)
V2 = HostFacts(cgroup=CgroupFacts(version="2", cpus="0-1", mems="0"), ncpu=2)
ID = "4e1fbd5e55f026ca490da228634b2fed37c71da88cb26d3cdc6370069bf16428"


def inputs(
    *,
    host: HostConfig | None = None,
    config: ContainerConfig | None = None,
    facts: HostFacts = V1,
    defaults: SpecDefaults | None = None,
    **changes: Any,
) -> SpecInputs:
    """Adapted as the engine does it; `changes` are further fields of SpecInputs."""
    defaults = defaults or SpecDefaults()
    host = host or HostConfig(network_mode="none")
    return SpecInputs(
        container_id=ID,
        args=changes.pop("args", ("sleep", "1000")),
        config=config or ContainerConfig(hostname=ID[:12]),
        host_config=adapt_host_config(host, facts, defaults),
        facts=facts,
        defaults=defaults,
        **changes,
    )


def with_host(**fields: Any) -> HostConfig:
    """A HostConfig with network none and these fields."""
    return msgspec.structs.replace(HostConfig(network_mode="none"), **fields)
