"""All that a leader runs, each rule by the name that its supervised child has."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from services.cluster.allocator.allocator import Allocator
from services.cluster.allocator.network_keys import NetworkKeys
from services.cluster.model.snapshot import Decision, Diff, Snapshot
from services.cluster.orchestrator.enforcer import Enforcer
from services.cluster.orchestrator.node_watcher import NodeWatcher
from services.cluster.orchestrator.orchestrator import Orchestrator
from services.cluster.orchestrator.reaper import Reaper
from services.cluster.scheduler.scheduler import Scheduler


class Rule(Protocol):
    """A function from what the cluster is to what is to be written.

    `diff` is all that changed since the rule was asked last, its own writes too; the first one is
    whole. A rule may be asked from any thread, but by one at a time. What it wants is not done
    until a diff says so: ask again after a commit and after a conflict alike.
    """

    def decide(self, snapshot: Snapshot, diff: Diff, now: datetime) -> Decision:
        """What is to be written now."""


def leader_rules() -> dict[str, Rule]:
    """New rules, which remember nothing: for a leader that has just been elected."""
    return {
        "nodes": NodeWatcher(),
        "enforcer": Enforcer(),
        "orchestrator": Orchestrator(),
        "allocator": Allocator(),
        "network-keys": NetworkKeys(),
        "scheduler": Scheduler(),
        "reaper": Reaper(),
    }
