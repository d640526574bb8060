"""The picture of what `measuring` found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

RULES = ("orchestrator", "allocator", "scheduler", "reaper", "enforcer", "nodes")


def plot(results: Sequence[dict[str, Any]], path: Path) -> None:
    """What a task costs until it runs, by rule, and what a node's failure and memory come to."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    nodes = [one["nodes"] for one in results]
    figure, (costs, failure, memory) = pyplot.subplots(1, 3, figsize=(13, 4))
    shares = [[one["fill_us_per_task"][rule] for one in results] for rule in RULES]
    costs.stackplot(nodes, shares, labels=RULES, alpha=0.85)
    costs.set_title("A task, from its creation until it runs")
    costs.set_ylabel("processor time of the leader, µs")
    costs.legend(loc="lower right", fontsize=8)
    lost = [one["node_failure"]["cpu_s"]["all"] * 1e3 for one in results]
    failure.plot(nodes, lost, "o-", label="a node with 100 tasks fails")
    placed = [one["placing"]["cpu_s"]["all"] * 1e3 / 10 for one in results]
    failure.plot(nodes, placed, "s-", label="1,000 tasks are placed (of 10,000)")
    failure.set_title("What changes cost")
    failure.set_ylabel("processor time of the leader, ms")
    failure.legend(fontsize=8)
    memory.plot(nodes, [one["resident_mb"] for one in results], "o-")
    memory.set_title("Memory, all of it (MB)")
    for axes in (costs, failure, memory):
        axes.set_xlabel("nodes, with 100 tasks each")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
