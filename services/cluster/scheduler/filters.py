"""What keeps a task from a node, and how that is said.

Source: swarmkit, manager/scheduler/filter.go and pipeline.go: clients show these texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.cluster.model.objects import Node, NodeState
from services.cluster.model.task_spec import Platform
from services.cluster.scheduler import constraints
from services.cluster.scheduler.demand import Demand
from services.cluster.scheduler.loads import NodeLoad

_SPELLINGS: Final = MappingProxyType(
    {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i386": "386", "i686": "386"}
)
_BUILT_IN: Final = "Volume"


@dataclass(frozen=True, slots=True)
class Filter:
    """`passes` says whether a node will do; `one` and `many` what to say of those that do not.

    `is_fixed`: other tasks on the node make no difference.
    """

    passes: Callable[[Demand, NodeLoad], bool]
    one: str
    many: str
    is_fixed: bool

    def explain(self, count: int) -> str:
        """Why this many nodes will not do."""
        return self.one if count == 1 else self.many.format(count)


def _is_ready(_: Demand, load: NodeLoad) -> bool:
    node = load.node
    return node.status.state is NodeState.READY and node.spec.availability == "active"


def _has_resources(demand: Demand, load: NodeLoad) -> bool:
    if not demand.asks_resources:
        return True
    has = load.node.description.resources
    if demand.nano_cpus > has.nano_cpus - load.nano_cpus and demand.nano_cpus:
        return False
    if demand.memory_bytes > has.memory_bytes - load.memory_bytes and demand.memory_bytes:
        return False
    return not demand.generic or load.generic_claims(dict(demand.generic)) is not None


def _has_plugins(demand: Demand, load: NodeLoad) -> bool:
    if not demand.volume_drivers and not demand.log_driver:
        return True
    plugins = load.node.description.engine.plugins
    if not all((_BUILT_IN, name) in plugins for name in demand.volume_drivers):
        return False
    # A node that names no log driver at all has not told: it is tried. Source: swarmkit, filter.go.
    logs = {name for kind, name in plugins if kind == "Log"}
    return not demand.log_driver or not logs or demand.log_driver in logs


def _meets_constraints(demand: Demand, load: NodeLoad) -> bool:
    return constraints.allow(demand.constraints, load.node)


def _has_platform(demand: Demand, load: NodeLoad) -> bool:
    return fits_platform(demand.platforms, load.node)


def _has_ports_free(demand: Demand, load: NodeLoad) -> bool:
    return not any(port in load.ports for port in demand.host_ports)


def _is_below_maximum(demand: Demand, load: NodeLoad) -> bool:
    return not demand.max_replicas or load.services[demand.group[0]] < demand.max_replicas


FILTERS: Final = (
    Filter(_is_ready, "1 node not available for new tasks",
           "{} nodes not available for new tasks", True),
    Filter(_has_resources, "insufficient resources on 1 node",
           "insufficient resources on {} nodes", False),
    Filter(_has_plugins, "missing plugin on 1 node", "missing plugin on {} nodes", True),
    Filter(_meets_constraints, "scheduling constraints not satisfied on 1 node",
           "scheduling constraints not satisfied on {} nodes", True),
    Filter(_has_platform, "unsupported platform on 1 node",
           "unsupported platform on {} nodes", True),
    Filter(_has_ports_free, "host-mode port already in use on 1 node",
           "host-mode port already in use on {} nodes", False),
    Filter(_is_below_maximum, "max replicas per node limit exceed",
           "max replicas per node limit exceed", False),
)  # fmt: skip
_FIXED: Final = tuple(one.passes for one in FILTERS if one.is_fixed)
_CHANGING: Final = tuple(one.passes for one in FILTERS if not one.is_fixed)


def may_ever(demand: Demand, load: NodeLoad) -> bool:
    """Whether a node passes what other tasks on it do not change."""
    return all(passes(demand, load) for passes in _FIXED)


def may_now(demand: Demand, load: NodeLoad) -> bool:
    """Whether there is room on a node."""
    return all(passes(demand, load) for passes in _CHANGING)


def explain(demand: Demand, loads: Iterable[NodeLoad]) -> str:
    """Why no node will do: each counts for the first thing that keeps the task from it."""
    counts: Counter[Filter] = Counter()
    for load in loads:
        failing = next((one for one in FILTERS if not one.passes(demand, load)), None)
        if failing is not None:
            counts[failing] += 1
    reasons = "; ".join(one.explain(count) for one, count in counts.most_common())
    return f"no suitable node ({reasons})" if reasons else "no suitable node"


def fits_platform(platforms: Iterable[Platform], node: Node) -> bool:
    """Whether a node is of one of some platforms; none named fits all."""
    wanted = list(platforms)
    if not wanted:
        return True
    has = node.description.platform
    return any(
        (not one.os or one.os.lower() == has.os.lower())
        and (not one.architecture or _arch(one.architecture) == _arch(has.architecture))
        for one in wanted
    )


def _arch(name: str) -> str:
    return _SPELLINGS.get(name.lower(), name.lower())
